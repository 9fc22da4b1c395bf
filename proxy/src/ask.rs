//! A question of the proxy's own to an endpoint, apart from requests: one GET over a connection of its own, which ends
//! with it.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What is asked.
pub(crate) type Question = Request<Empty<Bytes>>;

/// A GET of `path`, in the name of `agent`.
///
/// # Errors
/// If `path` is none; the schema lets no such path through.
pub(crate) fn get(path: &str, address: SocketAddr, agent: HeaderValue) -> http::Result<Question> {
    Request::get(path.parse::<Uri>()?)
        .header(HOST, address.to_string())
        .header(USER_AGENT, agent)
        .header(CONNECTION, CLOSE)
        .body(Empty::new())
}

/// What `take` makes of the answer.
///
/// # Errors
/// If there is no answer, or `take` says so.
pub(crate) async fn ask<T, E: From<hyper::Error>>(
    stream: TcpStream,
    question: Question,
    take: impl AsyncFnOnce(Response<Incoming>) -> Result<T, E>,
) -> Result<T, E> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    beside(async { take(sender.send_request(question).await?).await }, connection).await
}

/// The result of `exchange`, while `connection` is driven in the same task, and ends with it.
async fn beside<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        result = &mut exchange => return result,
        _ = &mut connection => {}
    }
    exchange.await
}
