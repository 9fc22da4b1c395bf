//! The life of a request, with all its branches. It takes one snapshot and keeps it, unless it has to wait for an
//! endpoint.

pub(crate) mod account;
pub(crate) mod affinity;
mod attempts;
pub(crate) mod body;
pub(crate) mod budget;
mod client;
pub(crate) mod error;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod key;
mod load;
mod overriding;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod sampling;

use std::{net::IpAddr, sync::Arc, time::Instant};

use evenkeel_api::object::AlgorithmType;
use evenkeel_balance::{EndpointId, Key, Query};
use http::{Method, Request, Response, Uri, Version, request};
use hyper::body::Incoming;

use self::{
    account::Account,
    affinity::Session,
    body::{Ending, Exchange, Forwarded, RequestBody, ResponseBody},
    error::RequestError,
    forward::{Answer, Parcel},
    headers::{Host, Journey, Reach},
    key::KeyBytes,
};
use crate::{
    clock,
    connection::Connection,
    limits, respond,
    snapshot::{Pool, Snapshot},
};

/// Answers a request, whatever comes.
pub(crate) async fn serve(connection: Arc<Connection>, request: Request<Incoming>) -> Response<ResponseBody> {
    let started = Instant::now();
    let mut under_way = connection.activity.begin();
    let snapshot = connection.worker.shared.snapshot.load_full();
    let (head, body) = request.into_parts();
    let asked = Asked { method: head.method.clone(), version: head.version, target: head.uri.clone() };
    let mut response = match admit(&connection, &snapshot, &head) {
        Err(error) => {
            under_way.answered();
            respond::refuse(&connection, None, &asked, &error, None)
        }
        Ok((host, pool)) => {
            let account = Account::begin(&pool, started);
            connection.activity.set_write_stall(pool.timeouts.stream_idle);
            carry(&connection, &pool, host, head, body, &asked, Ending::new(account, under_way)).await
        }
    };
    if connection.ends() && asked.version < Version::HTTP_2 {
        respond::close(&mut response);
    }
    response
}

/// What is said of a request when it is refused.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    version: Version,
    target: Uri,
}

impl Asked {
    /// Without the query, which may hold what is nobody's business.
    pub(crate) fn path(&self) -> &str {
        self.target.path()
    }
}

/// The pool of a request that is in order.
fn admit(
    connection: &Connection,
    snapshot: &Snapshot,
    head: &request::Parts,
) -> Result<(Host, Arc<Pool>), RequestError> {
    if head.version == Version::HTTP_2 && headers::is_too_large(&head.headers) {
        let (max_fields, max_bytes) = (limits::HTTP2_FIELDS, limits::HTTP2_HEAD_BYTES);
        return Err(RequestError::HeadTooLarge { max_fields, max_bytes });
    }
    let host = Host::of(&head.uri, head.version, &head.headers)?;
    if connection.worker.shared.overload.refuses_requests() {
        return Err(RequestError::Overloaded);
    }
    let entrance = connection.listener.entrance;
    let pool = snapshot.routes.find(entrance, host.name()).ok_or(match entrance {
        route::Entrance::Shared => RequestError::UnknownHost,
        route::Entrance::Port(_) => RequestError::ListenerClosed,
    })?;
    Ok((host, Arc::clone(pool)))
}

/// Brings a request to an endpoint of its pool, or refuses it.
async fn carry(
    connection: &Connection,
    pool: &Arc<Pool>,
    host: Host,
    mut head: request::Parts,
    body: Incoming,
    asked: &Asked,
    ending: Ending,
) -> Response<ResponseBody> {
    let checked = check(pool, &mut head).and_then(|reach| match reach {
        Reach::Here => Ok(None),
        Reach::On => Wish::of(pool, &mut head, &host, connection.peer.ip()).map(Some),
    });
    let wish = match checked {
        Err(error) => return respond::refuse(connection, Some(pool), asked, &error, Some(ending)),
        Ok(None) => return respond::options(ending),
        Ok(Some(wish)) => wish,
    };
    let trusted = &pool.document.trusted_cidrs;
    let journey = Journey { peer: connection.peer, trusted, host, passage: &pool.passage };
    let named = headers::outgoing(&mut head, journey);
    let body = RequestBody::new(body, named, pool.timeouts.stream_idle);
    match attempts::attempts(connection, pool, &wish, Box::new(Parcel::new(head, body))).await {
        Ok((answer, exchange)) => pass_on(pool, asked, answer, exchange, ending),
        Err(error) => respond::refuse(connection, Some(pool), asked, &error, Some(ending)),
    }
}

/// What of a request decides to which endpoint it goes.
pub(crate) struct Wish {
    client: IpAddr,
    pub(crate) key: Option<KeyBytes>,
    /// Its session; none where the pool has none.
    pub(crate) session: Session,
    /// The algorithm that it names.
    pub(crate) algorithm: Option<AlgorithmType>,
}

impl Wish {
    /// Takes out of the head what is not to be passed on.
    pub(crate) fn of(
        pool: &Pool,
        head: &mut request::Parts,
        host: &Host,
        peer: IpAddr,
    ) -> Result<Self, RequestError> {
        let client = client::address(&head.headers, peer, &pool.document.trusted_cidrs);
        let overrides = pool.overrides.as_ref();
        let algorithm = overrides.map(|overrides| overriding::named(overrides, head)).transpose()?.flatten();
        Ok(Self {
            client,
            key: pool.keys(algorithm).and_then(|keys| key::hash_key(keys, head, host, client)),
            session: pool.affinity.as_ref().map_or(Session::New, |it| it.session(&head.headers)),
            algorithm,
        })
    }

    /// What it asks of a pool's balancer.
    pub(crate) fn query<'a>(&'a self, pool: &Pool, tried: &'a [usize], thread: usize) -> Query<'a> {
        Query {
            client: Some(self.client),
            key: self.key.as_deref().map(Key::Bytes),
            affinity: self.session.endpoint().map(EndpointId::as_str),
            tried,
            max_in_flight: pool.bounds.map(|bounds| bounds.max_in_flight),
            ..Query::at(clock::now(), thread)
        }
    }
}

/// Whether a request may go on to an endpoint.
fn check(pool: &Pool, head: &mut request::Parts) -> Result<Reach, RequestError> {
    if head.method == Method::CONNECT {
        return Err(RequestError::Connect);
    }
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > limits::TARGET_BYTES) {
        return Err(RequestError::TargetTooLong { max_bytes: limits::TARGET_BYTES });
    }
    if pool.passage.leads_back(&head.headers) {
        return Err(RequestError::Loop);
    }
    match headers::reach(&head.method, &mut head.headers) {
        Reach::Here if head.method == Method::TRACE => Err(RequestError::TraceEnds),
        reach => Ok(reach),
    }
}

/// Makes an endpoint's response the client's.
fn pass_on(
    pool: &Pool,
    asked: &Asked,
    answer: Answer,
    exchange: Exchange,
    mut ending: Ending,
) -> Response<ResponseBody> {
    let (mut head, body) = answer.response.into_parts();
    let named = headers::incoming(&mut head.headers, &pool.passage);
    head.version = Version::HTTP_11;
    ending.answered(head.status.as_u16());
    let idle = pool.timeouts.stream_idle;
    let body = Forwarded::new(body, named, exchange, answer.sender, ending, idle);
    Response::from_parts(head, ResponseBody::forwarded(body, asked.version, idle))
}
