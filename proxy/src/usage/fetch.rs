//! One page of one endpoint.

use std::{io, string::FromUtf8Error, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::ACCEPT};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{net::TcpStream, time};

use super::{Plan, Reading, page::Invalid};
use crate::{ask, limits};

const AGENT: HeaderValue = HeaderValue::from_static("evenkeel-metrics");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4");

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("no page within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("larger than {} bytes", limits::PAGE_BYTES)]
    TooLarge,
    #[error("no response over HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the page cannot be asked for: {0}")]
    Request(#[from] http::Error),
    #[error("not text: {0}")]
    Text(#[from] FromUtf8Error),
    #[error("not in order: {0}")]
    Invalid(#[from] Invalid),
}

impl PageError {
    pub(super) const fn reading(&self) -> Reading {
        match self {
            Self::Connect(_) | Self::Http(_) | Self::Request(_) => Reading::Failed,
            Self::Timeout(_) => Reading::Late,
            Self::TooLarge => Reading::TooLarge,
            Self::Status(_) | Self::Text(_) | Self::Invalid(_) => Reading::Invalid,
        }
    }
}

/// Reads the page once.
pub(super) async fn page(plan: &Plan) -> Result<String, PageError> {
    let fetched = async {
        let stream = TcpStream::connect(plan.address).await.map_err(PageError::Connect)?;
        let mut question = ask::get(&plan.path, plan.address, AGENT)?;
        question.headers_mut().insert(ACCEPT, TEXT);
        ask::ask(stream, question, async |response: Response<Incoming>| whole(response).await).await
    };
    // An elapsed time-out knows nothing more.
    time::timeout(plan.timeout, fetched).await.unwrap_or(Err(PageError::Timeout(plan.timeout)))
}

async fn whole(response: Response<Incoming>) -> Result<String, PageError> {
    if response.status() != StatusCode::OK {
        return Err(PageError::Status(response.status()));
    }
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        read.extend_from_slice(frame?.data_ref().map_or(&[], Bytes::as_ref));
        if read.len() > limits::PAGE_BYTES {
            return Err(PageError::TooLarge);
        }
    }
    Ok(String::from_utf8(read)?)
}
