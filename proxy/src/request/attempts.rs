//! A request's way to an endpoint: a place there, for which it may have to wait, and another endpoint if the first is
//! of no use.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use evenkeel_balance::{Guard, Outcome, Pick, Status};
use http::StatusCode;
use http_body::Body as _;
use smallvec::SmallVec;

use super::{
    Wish,
    affinity::{Course, Session},
    body::{Exchange, Turn, Upload},
    error::{Origin, RequestError},
    forward::{self, Answer, Failed, Parcel},
    load,
    queue::{Place, Refusal},
    sampling::{self, Sampling},
};
use crate::{clock, connection::Connection, respond, snapshot::Pool};

/// A request that looks for an endpoint.
struct Search<'a> {
    connection: &'a Connection,
    wish: &'a Wish,
    /// As of the snapshot that the request came with.
    came: &'a Arc<Pool>,
    /// As of a newer one, if it had to wait.
    newest: Option<Arc<Pool>>,
    /// Endpoints that it has been sent to, by `Pick::index`.
    tried: SmallVec<[usize; 4]>,
    retries: usize,
}

/// A place at an endpoint.
struct Found {
    address: SocketAddr,
    index: usize,
    place: Place,
    /// Of the request's session, where the pool has sessions.
    course: Option<Course>,
}

/// An endpoint that has not answered yet. If the client goes away before it does, it is learned how long that was.
struct Wait<'a> {
    guard: &'a mut Guard,
    sent: Instant,
    upload: Option<Arc<Upload>>,
    over: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let since = match self.upload.as_ref().map(|upload| upload.turn()) {
            None => self.sent,
            Some(Turn::Answering(since)) => since.into_std().max(self.sent),
            // It was not the endpoint's turn, or not to answer.
            Some(Turn::Client | Turn::Taking(_)) => return,
        };
        self.guard.set_outcome(Outcome::new(Status::Cancelled, clock::now(), since.elapsed()));
    }
}

/// Sends a request to an endpoint, and to others as far as its pool has them tried.
pub(super) async fn attempts(
    connection: &Connection,
    pool: &Arc<Pool>,
    wish: &Wish,
    parcel: Box<Parcel>,
) -> Result<(Answer, Exchange), RequestError> {
    let (tried, retries) = (SmallVec::new(), 0);
    let mut search = Search { connection, wish, came: pool, newest: None, tried, retries };
    if let Some(algorithm) = wish.algorithm {
        pool.metrics.overrides.add(algorithm.as_str());
    }
    pool.retry.requested();
    sampling::ask(&connection.worker, pool);
    let result = search.run(parcel).await;
    if search.retries > 0 {
        let answered =
            result.as_ref().is_ok_and(|(_, exchange)| !search.pool().retry.refuses(exchange.status));
        pool.metrics.retried.add(if answered { "answered" } else { "failed" });
    }
    result
}

impl Search<'_> {
    fn pool(&self) -> &Arc<Pool> {
        self.newest.as_ref().unwrap_or(self.came)
    }

    async fn run(&mut self, mut parcel: Box<Parcel>) -> Result<(Answer, Exchange), RequestError> {
        let mut found = self.first().await?;
        let connections = &self.connection.worker.endpoints;
        loop {
            let spare = if self.pool().retry.keeps(self.retries) { parcel.copy() } else { None };
            let (address, sent) = (found.address, Instant::now());
            self.tried.push(found.index);
            let upload = parcel.upload();
            let mut wait = Wait { guard: &mut found.place.guard, sent, upload, over: false };
            let result = forward::send(connections, address, self.pool().timeouts, parcel).await;
            wait.over = true;
            drop(wait);
            match result {
                Ok(answer) => {
                    let refused = self.pool().retry.refuses(answer.response.status());
                    let Some((again, another)) = self.another(spare.filter(|_| refused)) else {
                        return self.deliver(found, answer, sent);
                    };
                    self.retried("status", &another);
                    self.give_up(found, answer, sent);
                    (parcel, found) = (again, another);
                }
                Err(Failed { error, parcel: unsent }) => {
                    if error.origin() == Origin::Endpoint {
                        let now = clock::now();
                        found.place.guard.set_outcome(Outcome::new(Status::Failed, now, sent.elapsed()));
                        self.pool().choice(self.wish.algorithm).measured[found.index].recent.failed(now);
                    }
                    drop(found);
                    let again = unsent.or(spare).filter(|_| self.pool().retry.allows(&error, self.retries));
                    let Some((again, another)) = self.another(again) else { return Err(error) };
                    self.retried(respond::reason(&error), &another);
                    (parcel, found) = (again, another);
                }
            }
        }
    }

    /// Another endpoint for a request that may be sent again, if there is one, and the budget has it. It does not wait
    /// for one.
    fn another(&self, again: Option<Box<Parcel>>) -> Option<(Box<Parcel>, Found)> {
        let again = again?;
        if !self.pool().retry.take() {
            self.pool().metrics.retries_refused.fetch_add(1, Relaxed);
            return None;
        }
        let found = self.look();
        if found.is_none() {
            self.pool().retry.give_back();
        }
        Some((again, found?))
    }

    fn retried(&mut self, reason: &'static str, another: &Found) {
        self.retries += 1;
        self.pool().metrics.retries.add(reason);
        tracing::debug!(reason, endpoint = %another.address, "sent to another endpoint");
    }

    /// The client is to get another answer than this.
    fn give_up(&self, found: Found, answer: Answer, sent: Instant) {
        let Ok((answer, mut exchange)) = self.answered(found, answer, sent) else { return };
        exchange.ended(Status::Answered(exchange.status.as_u16()));
        if answer.response.body().is_end_stream() {
            exchange.connections.check_in(exchange.address, answer.sender);
        }
    }

    /// The first endpoint, for which the request may wait.
    async fn first(&mut self) -> Result<Found, RequestError> {
        let Some(bounds) = self.pool().bounds else { return self.look().ok_or(RequestError::NoEndpoint) };
        let queue = Arc::clone(&self.pool().queue);
        // Nobody goes before those that wait.
        if queue.waiting() == 0
            && let Some(found) = self.look()
        {
            return Ok(found);
        }
        if !self.pool().choice(self.wish.algorithm).balancer.has_untried(&self.tried) {
            return Err(RequestError::NoEndpoint);
        }
        let Some(rules) = bounds.queue else { return Err(RequestError::EndpointsFull) };
        let waited = queue.wait(rules, || {
            self.renew();
            self.look()
        });
        waited.await.map_err(|refusal| match refusal {
            Refusal::Full => RequestError::QueueFull { size: rules.size },
            Refusal::Timeout => RequestError::QueueTimeout(rules.timeout),
        })
    }

    /// Endpoints may have come while it waited; where the pool has gone, it keeps the one that it knows.
    fn renew(&mut self) {
        let snapshot = self.connection.worker.shared.snapshot.load();
        if let Some(newest) = snapshot.pools.get(&self.pool().uid) {
            self.newest = Some(Arc::clone(newest));
        }
    }

    /// An endpoint that has a place now.
    fn look(&self) -> Option<Found> {
        let (pool, wish) = (self.pool(), self.wish);
        let query = wish.query(pool, &self.tried, self.connection.worker.index);
        let choice = pool.choice(wish.algorithm);
        let pick = choice.balancer.pick(&query, &mut rand::rng())?;
        let queue = pool.bounds.map(|_| &pool.queue);
        Some(Found {
            address: pick.endpoint.address,
            index: pick.index,
            course: pool.affinity.as_ref().map(|_| self.course(&pick)),
            place: Place::new(pick.guard, queue),
        })
    }

    /// As of the pick: by the time of the answer, a session's endpoint may have become full or have room again.
    fn course(&self, pick: &Pick<'_>) -> Course {
        match &self.wish.session {
            Session::New => Course::Begun,
            Session::At(endpoint) if *endpoint == pick.endpoint.id => Course::Kept,
            Session::At(_) if pick.passed_over => Course::PassedOver,
            Session::At(_) | Session::Gone => Course::Moved,
        }
    }

    /// The client is to get this answer, and is told where its session is from now on.
    fn deliver(
        &self,
        found: Found,
        answer: Answer,
        sent: Instant,
    ) -> Result<(Answer, Exchange), RequestError> {
        let (index, course) = (found.index, found.course);
        let (mut answer, exchange) = self.answered(found, answer, sent)?;
        let pool = self.pool();
        if let Some(course) = course {
            pool.metrics.sessions.add(course as usize);
        }
        if let (Some(affinity), Some(Course::Begun | Course::Moved)) = (&pool.affinity, course)
            && let Some(endpoint) = pool.choice(self.wish.algorithm).balancer.endpoint(index)
            && let Err(error) = affinity.begin(&endpoint.id, answer.response.headers_mut())
        {
            tracing::error!(%error, "the affinity cookie is no header");
        }
        Ok((answer, exchange))
    }

    /// The endpoint has answered: what is ours of that is taken out.
    fn answered(
        &self,
        mut found: Found,
        mut answer: Answer,
        sent: Instant,
    ) -> Result<(Answer, Exchange), RequestError> {
        let (pool, answered, address) = (self.pool(), Instant::now(), found.address);
        // While the client still sends, the endpoint cannot be slow.
        let asked = answer.last_sent.map_or(sent, |last_sent| last_sent.max(sent));
        let latency = answered.saturating_duration_since(asked);
        let choice = pool.choice(self.wish.algorithm);
        let status = answer.response.status();
        found.place.guard.answered(status.as_u16(), clock::of(answered));
        let (measured, is_failure) = (&choice.measured[found.index], status.is_server_error());
        pool.metrics.endpoint_answered(measured, latency, is_failure, clock::of(answered));
        if status == StatusCode::SWITCHING_PROTOCOLS {
            found.place.guard.set_outcome(Outcome::new(Status::Failed, clock::now(), latency));
            return Err(RequestError::UnexpectedUpgrade { address });
        }
        answer.response.extensions_mut().clear();
        let headers = answer.response.headers_mut();
        let load = load::take(headers, pool.keeps_reports, &pool.metrics);
        let sampled = matches!(pool.sampling, Some(Sampling::Reports(_))).then(|| Arc::clone(measured));
        if let (Some(report), Some(endpoint)) = (&load, &sampled) {
            sampling::learn(endpoint, report);
        }
        let retry_after = load::retry_after(status, headers);
        let connections = Arc::clone(&self.connection.worker.endpoints);
        let place = found.place;
        let exchange = Exchange { address, place, connections, status, latency, retry_after, load, sampled };
        Ok((answer, exchange))
    }
}
