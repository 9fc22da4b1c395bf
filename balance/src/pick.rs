//! A request's question, its answer, and the guard that ends the accounting.

use std::{net::IpAddr, time::Duration};

use crate::{
    Endpoint, Time,
    orca::LoadReport,
    state::{Held, Mark, Shared},
};

/// What a pick may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Now. It may lie before an earlier one: see [`Time`].
    pub now: Time,
    /// The thread that asks, from 0. Two threads may share a number, at some cost.
    pub worker: usize,
    /// Address of the client, for [`SourceIpHash`](crate::SourceIpHash). Without it that algorithm picks at random.
    pub client: Option<IpAddr>,
    /// What [`ConsistentHash`](crate::ConsistentHash) hashes. Without it that algorithm picks at random.
    pub key: Option<Key<'a>>,
    /// Identity of the endpoint that served this session before. It is picked if it still may serve: as long as it is
    /// not unhealthy, ejected or tried, even if it drains or terminates.
    pub affinity: Option<&'a str>,
    /// Endpoints that this request has been sent to before, by [`Pick::index`] of the same balancer: they are not
    /// picked again.
    pub tried: &'a [usize],
    /// Endpoints with so many requests in flight are passed over, even by sessions.
    pub max_in_flight: Option<u32>,
}

impl Query<'_> {
    /// A question that knows nothing of the request.
    #[must_use]
    pub const fn at(now: Time, worker: usize) -> Self {
        Self { now, worker, client: None, key: None, affinity: None, tried: &[], max_in_flight: None }
    }

    /// Whether an endpoint with so many in flight may take no more requests.
    pub(crate) fn finds_full(&self, in_flight: impl FnOnce() -> u64) -> bool {
        self.max_in_flight.is_some_and(|max| in_flight() >= u64::from(max))
    }
}

/// A request's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// To be hashed by the algorithm's function.
    Bytes(&'a [u8]),
    /// Hashed already, all 64 bits evenly spread.
    Hash(u64),
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
    /// The endpoint of the request's session was full, so that another one was picked: the session stays where it is.
    pub passed_over: bool,
    /// To be kept until the response has ended.
    pub guard: Guard,
}

/// How a request ended, as far as its endpoint is concerned.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What came of it.
    pub status: Status,
    /// When it ended.
    pub now: Time,
    /// From the sending of the request to the head of the response, or as [`Status::Cancelled`] has it. Of no account
    /// with
    /// [`Status::Failed`].
    pub latency: Duration,
    /// What the answer's `Retry-After` says.
    pub retry_after: Option<Duration>,
    /// What the endpoint reported of its load.
    pub load: Option<Box<LoadReport>>,
}

impl Outcome {
    /// An outcome without words on load or retries.
    #[must_use]
    pub const fn new(status: Status, now: Time, latency: Duration) -> Self {
        Self { status, now, latency, retry_after: None, load: None }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The endpoint answered to the end, with this HTTP status (for other protocols, what it corresponds to).
    Answered(u16),
    /// No connection, no answer, or a broken one.
    Failed,
    /// The client went away first. If the endpoint had not begun to answer, the latency is how long it had been silent:
    /// that can raise what is known of its response time, and never lower it, so that one that hangs does not look the
    /// better the sooner clients give up.
    Cancelled,
}

/// What a status means to what is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its latency counts.
    Good,
    /// 4xx: no error of the endpoint, but its latency says nothing of what an answer takes.
    Neutral,
    /// 429: no failure to what ejects, where it ends a row of errors; but slow to what goes by response time, a trial
    /// that failed, and a failure to Auto's model.
    Overloaded,
    /// 5xx other than a gateway's.
    ServerError,
    /// 502, 503, 504, or no answer.
    GatewayError,
    Cancelled,
}

impl Status {
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::Cancelled => Verdict::Cancelled,
            Self::Failed | Self::Answered(502..=504) => Verdict::GatewayError,
            Self::Answered(429) => Verdict::Overloaded,
            Self::Answered(400..=499) => Verdict::Neutral,
            Self::Answered(500..) => Verdict::ServerError,
            Self::Answered(_) => Verdict::Good,
        }
    }
}

/// A request in flight. To be moved to where the response ends; its drop ends the accounting, once.
#[derive(Debug)]
pub struct Guard {
    state: Held,
    worker: usize,
    /// It counts in the pool's total.
    counted: bool,
    /// This request is the one by which the endpoint is tried after an ejection.
    trial: bool,
    outcome: Option<Outcome>,
    tapped: Mark,
}

impl Guard {
    /// The guard of a request that has begun.
    #[inline(always)]
    pub(crate) fn new(state: Held, pool: &Shared, query: &Query<'_>, trial: bool) -> Self {
        let worker = query.worker;
        let counted = pool.total.begin(worker);
        let tapped = pool.tap.begin(worker, query.now, || (state.number(), state.load_now()));
        Self { state, worker, counted, trial, outcome: None, tapped }
    }

    /// Says that the endpoint begins to answer now, with this status: a trial after an ejection is over, however long
    /// the answer takes.
    pub fn answered(&mut self, status: u16, now: Time) {
        self.state.pool().tap.answered(self.tapped, self.worker, now);
        if std::mem::take(&mut self.trial) {
            self.state.trial_ended(Status::Answered(status).verdict());
        }
    }

    /// Tells whom it concerns that the request ends.
    fn tell(&mut self) {
        let verdict = self.outcome.as_ref().map_or(Verdict::Cancelled, |outcome| outcome.status.verdict());
        let (state, pool) = (&*self.state, self.state.pool());
        if let Some(outcome) = &self.outcome {
            state.learn(outcome, verdict, self.state.load());
        }
        pool.tap.end(self.tapped, self.worker, self.outcome.as_ref(), verdict);
        if self.trial {
            state.trial_ended(verdict);
        }
        if self.counted {
            pool.total.end(self.worker);
        }
    }

    /// Says how the request ended; without it, it was cancelled. The last word counts, at the drop.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if self.outcome.is_some() || self.trial || self.counted || self.tapped != Mark::NONE {
            self.tell();
        }
        self.state.end();
    }
}
