//! The data plane: carries the traffic of pools to their endpoints.
//!
//! A request's way: [`listener`] accepts, `connection` finds the protocol, `request` holds all that can become of it,
//! `endpoint` connects, and `respond` is the only place where an error becomes a response. [`plane`] is the one mutator
//! of what requests see, a snapshot swapped whole.
//!
//! [`control`] is the proxy's end of the config channel.
//!
//! Deliberately absent: whatever picks an endpoint (that is `evenkeel_balance`'s).

// A request's way.
mod connection;
mod endpoint;
pub mod listener;
mod request;
pub mod respond;

// What requests see, and what changes it.
mod ask;
mod health;
pub mod plane;
mod snapshot;
mod usage;

// How configuration comes in.
pub mod control;
pub mod last_good;

// What is told of all that.
pub mod admin;
pub mod explain;
pub mod metrics;
pub mod readiness;

// The process.
pub mod app;
mod clock;
pub mod drain;
mod limits;
mod overload;
mod proxy;
mod room;
mod worker;

#[cfg(test)]
mod testing;

pub use drain::Drain;
pub use metrics::Metrics;
pub use plane::{Origin, Plane, SharedPort};
pub use proxy::{Proxy, ProxyConfig, StartError, Stuck};
pub use readiness::{NotReady, Readiness};
