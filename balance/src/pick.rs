//! A request's question, its answer, and the guard that ends the accounting.

use std::{net::IpAddr, sync::Arc};

use crate::{Endpoint, EndpointState};

/// What a pick may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The thread that asks, from 0.
    pub worker: usize,
    /// Address of the client.
    pub client: IpAddr,
    /// Endpoints that this request has been sent to before, by [`Pick::index`]: they are not picked again.
    pub tried: &'a [usize],
}

/// The endpoint picked.
#[derive(Debug)]
pub struct Pick<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// Key of its backend.
    pub backend: &'a str,
    /// The endpoint's place in this balancer.
    pub index: usize,
    /// To be kept until the response has ended.
    pub guard: Guard,
}

/// How a request ended, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with a status below 500, to the end.
    Success,
    /// No connection, no response, a broken one, or a status of 500 and above.
    Failure,
    /// The client went away first; says nothing of the endpoint.
    Cancelled,
}

/// A request in flight. To be moved to where the response ends; its drop ends the accounting, once.
#[derive(Debug)]
pub struct Guard {
    state: Arc<EndpointState>,
    outcome: Outcome,
}

impl Guard {
    pub(crate) fn new(state: &Arc<EndpointState>) -> Self {
        state.begin();
        Self { state: Arc::clone(state), outcome: Outcome::Cancelled }
    }

    /// Says how the request ended; without it, it was cancelled. The last word counts.
    pub const fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.state.end(self.outcome == Outcome::Failure);
    }
}
