//! One check of one endpoint, over a connection of its own.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use evenkeel_api::object::{ActiveHealthCheck, ActiveHealthCheckType, HttpHealthCheck};
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{CONNECTION, HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

use super::Plan;
use crate::limits;

const AGENT: HeaderValue = HeaderValue::from_static("evenkeel-health-check");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("no response over HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the check cannot be sent: {0}")]
    Request(#[from] http::Error),
}

/// Checks an endpoint once.
pub(super) async fn probe(plan: &Plan) -> Result<(), CheckError> {
    let timeout = plan.check.as_ref().map_or(limits::DISK_CHECK, |check| check.timeout.into());
    let checked = async {
        let port = plan.check.as_ref().and_then(|check| check.port).unwrap_or(plan.address.port());
        let address = SocketAddr::new(plan.address.ip(), port);
        let stream = TcpStream::connect(address).await.map_err(CheckError::Connect)?;
        match &plan.check {
            Some(ActiveHealthCheck { type_: ActiveHealthCheckType::Http, http, .. }) => {
                ask(stream, address, &http.clone().unwrap_or_default()).await
            }
            _ => Ok(()),
        }
    };
    // An elapsed time-out knows nothing more.
    time::timeout(timeout, checked).await.unwrap_or(Err(CheckError::Timeout(timeout)))
}

async fn ask(stream: TcpStream, address: SocketAddr, check: &HttpHealthCheck) -> Result<(), CheckError> {
    let uri: Uri = check.path.parse().map_err(http::Error::from)?;
    let request = Request::get(uri)
        .header(HOST, address.to_string())
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, CLOSE)
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        if !check.expected_statuses.iter().any(|range| takes(range, status)) {
            return Err(CheckError::Status(response.status()));
        }
        let mut body = response.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame?.data_ref().map_or(0, Bytes::len);
            if read > limits::CHECK_BODY_BYTES {
                break;
            }
        }
        Ok(())
    };
    beside(exchange, connection).await
}

/// Whether `200` or `200-299` takes a status. The schema lets nothing else through.
fn takes(range: &str, status: u16) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let bound = |text: &str| text.parse::<u16>().ok();
    bound(from).zip(bound(to)).is_some_and(|(from, to)| (from..=to).contains(&status))
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
