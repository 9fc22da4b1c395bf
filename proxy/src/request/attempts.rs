//! A request's way to an endpoint: a place there, for which it may have to wait, and another endpoint if the first is of no use.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use evenkeel_balance::{EndpointId, Key, Outcome, Query, Status};
use http::StatusCode;
use smallvec::SmallVec;

use super::{
    Wish,
    body::Exchange,
    error::{Origin, RequestError},
    forward::{self, Answer, Failed, Parcel},
    load,
    queue::{Place, Refusal},
    retry,
};
use crate::{clock, connection::Connection, limits, respond, snapshot::Pool};

/// A request that looks for an endpoint.
struct Search<'a> {
    connection: &'a Connection,
    wish: &'a Wish,
    /// As of the snapshot that the request came with; while it waits, of the newest.
    pool: Arc<Pool>,
    /// Endpoints that it has been sent to, by `Pick::index`.
    tried: SmallVec<[usize; limits::ATTEMPTS]>,
}

/// A place at an endpoint.
struct Found {
    address: SocketAddr,
    index: usize,
    place: Place,
}

/// Sends a request to an endpoint, and to another if nothing of it could be sent.
pub(super) async fn attempts(
    connection: &Connection,
    pool: &Arc<Pool>,
    wish: &Wish,
    mut parcel: Box<Parcel>,
) -> Result<(Answer, Exchange), RequestError> {
    let mut search = Search { connection, wish, pool: Arc::clone(pool), tried: SmallVec::new() };
    if let Some(algorithm) = wish.algorithm {
        pool.metrics.overrides.add(algorithm.as_str());
    }
    let mut found = search.first().await?;
    loop {
        let (address, index) = (found.address, found.index);
        let sent = Instant::now();
        match forward::send(&connection.worker.endpoints, address, search.pool.timeouts, parcel).await {
            Ok(answer) => return search.answered(found, answer, sent),
            Err(Failed { error, parcel: unsent }) => {
                if error.origin() == Origin::Endpoint {
                    found.place.guard.set_outcome(Outcome::new(Status::Failed, clock::now(), sent.elapsed()));
                }
                drop(found);
                search.tried.push(index);
                let again = unsent.filter(|_| retry::allowed(&error, search.tried.len()));
                let next = again.and_then(|unsent| Some((unsent, search.look()?)));
                let Some((unsent, another)) = next else { return Err(error) };
                search.pool.metrics.retries.add(respond::reason(&error));
                tracing::debug!(%error, endpoint = %another.address, "sent to another endpoint");
                (parcel, found) = (unsent, another);
            }
        }
    }
}

impl Search<'_> {
    /// The first endpoint, for which the request may wait.
    async fn first(&mut self) -> Result<Found, RequestError> {
        let queue = Arc::clone(&self.pool.queue);
        let Some(bounds) = self.pool.bounds else { return self.look().ok_or(RequestError::NoEndpoint) };
        // Nobody goes before those that wait.
        if queue.waiting() == 0
            && let Some(found) = self.look()
        {
            return Ok(found);
        }
        if !self.pool.choice(self.wish.algorithm).balancer.is_full(&self.tried) {
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
        if let Some(newest) = snapshot.pools.get(&self.pool.uid) {
            self.pool = Arc::clone(newest);
        }
    }

    /// An endpoint that has a place now.
    fn look(&self) -> Option<Found> {
        let (pool, wish) = (&self.pool, self.wish);
        let query = Query {
            client: Some(self.connection.peer.ip()),
            key: wish.key.as_deref().map(Key::Bytes),
            affinity: wish.session.as_ref().map(EndpointId::as_str),
            tried: &self.tried,
            max_in_flight: pool.bounds.map(|bounds| bounds.max_in_flight),
            ..Query::at(clock::now(), self.connection.worker.index)
        };
        let pick = pool.choice(wish.algorithm).balancer.pick(&query, &mut rand::rng())?;
        let queue = pool.bounds.map(|_| &pool.queue);
        Some(Found {
            address: pick.endpoint.address,
            index: pick.index,
            place: Place::new(pick.guard, queue),
        })
    }

    /// The endpoint has answered: what is ours of that is taken out.
    fn answered(
        &self,
        mut found: Found,
        mut answer: Answer,
        sent: Instant,
    ) -> Result<(Answer, Exchange), RequestError> {
        let (pool, latency, address) = (&self.pool, sent.elapsed(), found.address);
        let choice = pool.choice(self.wish.algorithm);
        pool.metrics.endpoint_answered(&choice.measured[found.index], latency);
        let status = answer.response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            found.place.guard.set_outcome(Outcome::new(Status::Failed, clock::now(), latency));
            return Err(RequestError::UnexpectedUpgrade { address });
        }
        answer.response.extensions_mut().clear();
        let headers = answer.response.headers_mut();
        let load = if pool.reads_load { load::take(headers, &pool.metrics) } else { None };
        if let Some(affinity) = &pool.affinity
            && let Some(endpoint) = choice.balancer.endpoints().nth(found.index)
            && self.session_begins_at(&endpoint.id)
            && let Err(error) = affinity.begin(&endpoint.id, headers)
        {
            tracing::error!(%error, "the affinity cookie is no header");
        }
        let retry_after = load::retry_after(status, headers);
        let connections = Arc::clone(&self.connection.worker.endpoints);
        let place = found.place;
        Ok((answer, Exchange { address, place, connections, status, latency, retry_after, load }))
    }

    /// Whether the client is to come back to this endpoint. One whose own is only full for the moment keeps that.
    fn session_begins_at(&self, endpoint: &EndpointId) -> bool {
        let Some(session) = &self.wish.session else { return true };
        let is_full = |bounds: crate::snapshot::Bounds| {
            let own = self.pool.endpoints.iter().find(|of| of.id == session.as_str());
            own.is_some_and(|own| own.state.in_flight() >= u64::from(bounds.max_in_flight))
        };
        session != endpoint && !self.pool.bounds.is_some_and(is_full)
    }
}
