//! The demo endpoint: something to balance over, whose speed and faults can be set.
//!
//! `make demo`, the tests on raw sockets and the tests on a cluster all send their traffic to it. It
//! answers a few fixed paths, names itself in every response so that clients can count shares, and is
//! made slow, broken or dead by flags or, at run time, over `/admin/behaviour`.
//!
//! Other crates' tests run it in process: [`Running::start`] listens on an ephemeral port of loopback,
//! and dropping what it returns ends it.
//!
//! Deliberately absent: TLS, name resolution (the binary is linked statically) and anything kept on disk.

// What it is told to do.
pub mod behaviour;
pub mod name;

// How a request is made slow, queued, or expensive.
mod burn;
mod gate;
mod latency;

// What it is: the state that all connections share.
mod endpoint;
mod metrics;
mod process;

// From a socket to a response.
mod door;
mod request;
mod respond;
mod running;
mod server;
mod stream;

// The program.
pub mod app;
pub mod args;

pub use behaviour::{Behaviour, Concurrency, Connections, Errors, Health, Latency, Share};
pub use door::bind;
pub use endpoint::{Endpoint, Identity};
pub use name::Name;
pub use running::Running;
pub use server::{Listeners, serve};
