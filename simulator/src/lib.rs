//! A pool in simulated time: seeded, deterministic, by the code that the proxy balances with.
//!
//! A [`Scenario`] says what endpoints there are, what requests come, what happens, and what must hold; [`run_all`]
//! plays it with every algorithm that takes part, and [`judge`] compares. Nothing here decides where a request goes:
//! that is `balance`'s.

mod arrivals;
mod engine;
mod entrant;
mod histogram;
mod judge;
mod metrics;
mod moves;
mod number;
mod outside;
mod proxy;
mod queue;
mod race;
pub mod report;
mod requests;
mod run;
pub mod scenario;
mod server;
mod service;
mod span;
mod weather;

pub use arrivals::Arrivals;
pub use entrant::{Entrant, Plain, TableName};
pub use histogram::Histogram;
pub use judge::{Verdict, judge};
pub use metrics::{Figures, Run, Window};
pub use run::{Results, Row, run_all, run_one};
pub use scenario::{Problem, Scenario};
pub use service::Service;
pub use span::Span;
