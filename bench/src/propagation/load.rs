//! A constant load on each proxy, and the first answer that shows a change.
//!
//! A proxy's load comes over a few kept connections, so that all its threads take part. Each sends at its times whether
//! the others wait or not; one that was held up catches up, so that the rate is kept.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{interval_at, timeout},
};

use super::endpoints::{Group, group_of};

/// Connections to each proxy.
const CONNECTIONS: u32 = 8;
/// Time for a request, its connection included.
const PATIENCE: Duration = Duration::from_secs(5);

type Connection = SendRequest<Empty<Bytes>>;

/// A proxy, as its load sees it. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    address: SocketAddr,
    state: Mutex<State>,
    /// When the change that is waited for showed first.
    turned: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// The group that is waited for, and since when.
    expected: Option<(Group, Instant)>,
}

/// What came of the load on a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Good answers.
    pub(super) answers: u64,
    /// Requests without one.
    pub(super) failed: u64,
    /// Why the first of them failed.
    pub(super) failure: Option<String>,
    /// Requests that were sent after a change had shown, and that went by the state before it.
    pub(super) stray: u64,
}

impl Proxy {
    pub(super) fn new(name: String, address: SocketAddr) -> Self {
        let turned = watch::Sender::new(None);
        Self(Arc::new(Inner { name, address, state: Mutex::default(), turned }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// From now on looks out for an answer of `group`, to a request that is sent from now on.
    pub(super) fn expect(&self, group: Group) {
        // Under one lock, lest an answer by the old state comes between them and is taken for the first by the new one.
        let mut state = self.state();
        state.expected = Some((group, Instant::now()));
        self.0.turned.send_replace(None);
    }

    /// When the first answer came that was expected.
    pub(super) async fn turned(&self) -> anyhow::Result<Instant> {
        let mut turned = self.0.turned.subscribe();
        let found = *turned.wait_for(Option::is_some).await?;
        found.context("nothing is expected")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, sent: Instant, answered: Instant, group: Group) {
        let mut state = self.state();
        state.counts.answers += 1;
        let Some((expected, since)) = state.expected else { return };
        let first = *self.0.turned.borrow();
        match first {
            None if group == expected && sent >= since => _ = self.0.turned.send_replace(Some(answered)),
            Some(first) if group != expected && sent > first => state.counts.stray += 1,
            _ => {}
        }
    }

    fn failed(&self, error: &anyhow::Error) {
        let mut state = self.state();
        state.counts.failed += 1;
        state.counts.failure.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Sends a request every `every`, for ever.
    async fn drive(self, delay: Duration, every: Duration) {
        let mut ticks = interval_at((Instant::now() + delay).into(), every);
        let mut connection = None;
        loop {
            ticks.tick().await;
            let sent = Instant::now();
            match timeout(PATIENCE, self.exchange(&mut connection)).await.context("no answer in time") {
                Ok(Ok(group)) => self.answered(sent, Instant::now(), group),
                Ok(Err(error)) | Err(error) => {
                    connection = None;
                    self.failed(&error);
                }
            }
        }
    }

    async fn exchange(&self, kept: &mut Option<Connection>) -> anyhow::Result<Group> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => connect(self.0.address).await?,
        };
        connection.ready().await?;
        let request = Request::get("/").header(HOST, "bench").body(Empty::new())?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(head.status == 200, "{}: {}", head.status, String::from_utf8_lossy(&body));
        *kept = Some(connection);
        group_of(&body).context("an answer of somebody else")
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(connection)
}

/// Loads each proxy with `rate` requests a second, until the answer is dropped.
pub(super) fn start(proxies: &[Proxy], rate: u32) -> JoinSet<()> {
    let every = Duration::from_secs(1) * CONNECTIONS / rate;
    let mut load = JoinSet::new();
    for proxy in proxies {
        for number in 0..CONNECTIONS {
            load.spawn(proxy.clone().drive(every * number / CONNECTIONS, every));
        }
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_answer_by_the_new_state_counts_and_later_ones_by_the_old_are_told() {
        let proxy = Proxy::new("a".to_owned(), ([127, 0, 0, 1], 1).into());
        let before = Instant::now();
        proxy.expect(Group::B);
        let at = |milliseconds| Instant::now() + Duration::from_millis(milliseconds);
        proxy.answered(before, at(0), Group::B); // of the change before the last
        proxy.answered(at(1), at(2), Group::A);
        let first = at(9);
        proxy.answered(at(3), first, Group::B);
        proxy.answered(at(4), at(10), Group::A); // under way when it turned
        assert_eq!(proxy.turned().await.unwrap(), first);
        assert_eq!((proxy.counts().answers, proxy.counts().stray), (4, 0));
        proxy.answered(at(11), at(12), Group::A);
        proxy.answered(at(11), at(12), Group::B);
        assert_eq!((proxy.turned().await.unwrap(), proxy.counts().stray), (first, 1));
    }
}
