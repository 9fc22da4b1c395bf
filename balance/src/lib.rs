//! Which endpoint takes a request: the whole of that question, and nothing else.
//!
//! Pure: no I/O, no sockets, no async, no clock, no global randomness; the caller passes time and randomness in. A
//! [`Balancer`] is immutable and built anew when endpoints, weights, health or the algorithm change. What is learned lives in
//! a [`PoolState`], keyed by the identity of the endpoints, and outlives every `Balancer` built over it.
//!
//! A pick has two levels: first a backend, by its share of the traffic, then an endpoint of it, by the algorithm.

mod balancer;
mod endpoint;
mod hash;
mod pick;
mod select;
mod shares;
mod state;

pub use balancer::{Algorithm, Balancer, PoolSpec};
pub use endpoint::{Backend, Endpoint, EndpointId};
pub use pick::{Guard, Outcome, Pick, Query};
pub use state::{EndpointState, PoolState};
