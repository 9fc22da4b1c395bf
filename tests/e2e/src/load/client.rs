//! One request of the load, from its connection to its checked answer.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{HOST, HeaderMap},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{Plan, counts::Cause};

type Connection = SendRequest<Full<Bytes>>;

/// What a request is like; follows from its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    number: u64,
    is_post: bool,
    is_kept: bool,
}

impl Shot {
    pub(super) const fn of(number: u64) -> Self {
        Self { number, is_post: number % 2 == 1, is_kept: (number / 2).is_multiple_of(2) }
    }

    pub(super) const fn name(self) -> &'static str {
        match (self.is_post, self.is_kept) {
            (true, true) => "POST, kept connection",
            (true, false) => "POST, new connection",
            (false, true) => "GET, kept connection",
            (false, false) => "GET, new connection",
        }
    }

    /// From a few bytes to some packets.
    fn body(self) -> Bytes {
        let length = [16, 900, 6000][usize::from(self.number.to_le_bytes()[0]) % 3];
        let text = format!("body of request {} ", self.number);
        text.bytes().cycle().take(length).collect::<Vec<_>>().into()
    }

    fn request(self, plan: &Plan) -> Result<Request<Full<Bytes>>, Cause> {
        let (method, path, body) = match self.is_post {
            true => (Method::POST, "/echo", self.body()),
            false => (Method::GET, "/api/data", Bytes::new()),
        };
        let request = Request::builder().method(method).uri(path).header(HOST, plan.address.to_string());
        request.body(Full::new(body)).map_err(Cause::transport)
    }
}

/// Who answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) endpoint: String,
    /// Whom the proxy took for the client, where the endpoint tells.
    pub(super) client: Option<String>,
}

/// Sends requests over kept connections and new ones.
pub(super) struct Client {
    plan: Plan,
    kept: Mutex<VecDeque<Connection>>,
    reopened: AtomicU64,
}

impl Client {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan, kept: Mutex::default(), reopened: AtomicU64::default() }
    }

    /// Requests that a closed connection gave back unsent.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened.load(Relaxed)
    }

    /// Sends a request and checks its answer.
    pub(super) async fn shoot(&self, shot: Shot) -> Result<Answer, Cause> {
        timeout(self.plan.timeout, self.exchange(shot)).await.unwrap_or(Err(Cause::TimedOut))
    }

    async fn exchange(&self, shot: Shot) -> Result<Answer, Cause> {
        let (mut connection, response) = self.send(shot).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Cause::transport)?.to_bytes();
        if shot.is_kept && connection.ready().await.is_ok() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push_back(connection);
        }
        let text = |name: &str| text(&head.headers, name);
        if head.status != 200 {
            let said = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
            return Err(Cause::Answer {
                status: head.status.as_u16(),
                reason: text("x-evenkeel-reason"),
                said,
            });
        }
        let client = if shot.is_post { Some(check_echo(&shot.body(), &body)?) } else { None };
        let endpoint = text("x-evenkeel-demo");
        (!endpoint.is_empty())
            .then_some(Answer { endpoint, client })
            .ok_or_else(|| Cause::Wrong("no endpoint is named".into()))
    }

    async fn send(&self, shot: Shot) -> Result<(Connection, Response<Incoming>), Cause> {
        let mut request = shot.request(&self.plan)?;
        while let Some(mut connection) = self.take_kept(shot) {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => {
                        self.reopened.fetch_add(1, Relaxed);
                        request = unsent;
                    }
                    None => return Err(Cause::transport(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(Cause::transport)?;
        Ok((connection, response))
    }

    fn take_kept(&self, shot: Shot) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if shot.is_kept { kept.pop_front() } else { None }
    }

    async fn connect(&self) -> Result<Connection, Cause> {
        let stream = TcpStream::connect(self.plan.address).await.map_err(Cause::connect)?;
        stream.set_nodelay(true).map_err(Cause::connect)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(Cause::transport)?;
        tokio::spawn(driver);
        Ok(connection)
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// Gives the client's address as the endpoint got it.
fn check_echo(sent: &[u8], answer: &[u8]) -> Result<String, Cause> {
    let echo: serde_json::Value =
        serde_json::from_slice(answer).map_err(|error| Cause::Wrong(format!("not JSON: {error}")))?;
    let is_same = echo["body"].as_str().is_some_and(|body| body.as_bytes() == sent);
    let client = echo["headers"]["x-forwarded-for"][0].as_str().unwrap_or_default().to_owned();
    is_same.then_some(client).ok_or_else(|| Cause::Wrong("another body came back".to_owned()))
}
