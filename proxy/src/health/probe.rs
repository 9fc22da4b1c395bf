//! One check of one endpoint, over a connection of its own.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use evenkeel_api::object::{ActiveHealthCheck, ActiveHealthCheckType, HttpHealthCheck};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{net::TcpStream, time};

use super::Plan;
use crate::{ask, limits};

const AGENT: HeaderValue = HeaderValue::from_static("evenkeel-health-check");

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
                ask_http(stream, address, &http.clone().unwrap_or_default()).await
            }
            _ => Ok(()),
        }
    };
    // An elapsed time-out knows nothing more.
    time::timeout(timeout, checked).await.unwrap_or(Err(CheckError::Timeout(timeout)))
}

async fn ask_http(stream: TcpStream, address: SocketAddr, check: &HttpHealthCheck) -> Result<(), CheckError> {
    let question = ask::get(&check.path, address, AGENT)?;
    ask::ask(stream, question, async |response: Response<Incoming>| {
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
    })
    .await
}

/// Whether `200` or `200-299` takes a status. The schema lets nothing else through.
fn takes(range: &str, status: u16) -> bool {
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let bound = |text: &str| text.parse::<u16>().ok();
    bound(from).zip(bound(to)).is_some_and(|(from, to)| (from..=to).contains(&status))
}
