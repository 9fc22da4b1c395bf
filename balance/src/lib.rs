//! Which endpoint takes a request: the whole of that question, and nothing else.
//!
//! Pure: no I/O, no sockets, no async, no clock, no global randomness; the caller passes time and randomness in. A
//! [`Balancer`] is immutable and built anew when endpoints, weights, health or the algorithm change. What is learned lives in
//! a [`PoolState`], keyed by the identity of the endpoints, and outlives every `Balancer` built over it. What changes
//! slowly is a [`Tuner`]'s, of which each pool has one, off the hot path.
//!
//! A pick has two levels: first a backend, by its share of the traffic, then an endpoint of it, by the algorithm.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use evenkeel_balance::{Algorithm, Backend, Endpoint, Outcome, PoolSpec, PoolState, Query, Status, Time, Tuner};
//! use rand::{SeedableRng as _, rngs::SmallRng};
//!
//! let mut rng = SmallRng::seed_from_u64(1);
//! let address = "10.0.0.1:80".parse()?;
//! let backend = Backend { key: "shop".into(), weight: 1, endpoints: vec![Endpoint::new("a", address)] };
//! let spec = PoolSpec::new(Algorithm::LeastRequest { choices: 16 }, vec![backend]);
//!
//! // Once for each pool, and at each change of it.
//! let mut tuner = Tuner::new(spec, Arc::new(PoolState::new(1, &mut rng)), Time::ZERO);
//! let mut balancer = tuner.balancer();
//!
//! // For each request, on any thread.
//! let mut pick = balancer.pick(&Query::at(Time::ZERO, 0), &mut rng).ok_or("no endpoint")?;
//! let latency = Duration::from_millis(3);
//! pick.guard.set_outcome(Outcome::new(Status::Answered(200), Time::ZERO.after(latency), latency));
//! drop(pick);
//!
//! // Every 100 ms to 1 s.
//! if let Some(changed) = tuner.tick(Time::from_nanos(1_000_000_000), &mut rng) {
//!     balancer = changed;
//! }
//! # drop(balancer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod alias;
mod balancer;
mod endpoint;
mod explain;
mod hash;
pub mod orca;
mod pick;
mod plan;
mod select;
mod shares;
mod spec;
mod state;
mod sync;
mod time;
mod tuner;

pub use algorithm::{
    Adaptive, AdaptiveSignal, Algorithm, Auto, ConsistentHash, LeastResponseTime, Prequal, Signals,
    SourceIpHash, Table, UsageSource, WeightedByLoad,
};
pub use balancer::{Balancer, ProbeAnswer};
pub use endpoint::{Backend, Endpoint, EndpointId};
pub use explain::{Candidate, Explanation, Fate};
pub use hash::HashFunction;
pub use pick::{Guard, Key, Outcome, Pick, Query, Status};
pub use plan::Absence;
pub use select::{Fallback, Score};
pub use spec::{Ejection, FailurePercentage, Locality, Place, PoolSpec, SlowStart, SuccessRate};
pub use state::{EndpointState, LatencyEstimate, PoolState};
pub use time::Time;
pub use tuner::{
    AutoReport, Ejected, EjectionReason, EndpointReport, Evidence, Standing, Tuner, TunerReport, Usage,
};
