//! Asks controllers for the state, whichever answers first.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use bytes::Bytes;
use evenkeel_api::channel::{MAX_SNAPSHOT_BYTES, SNAPSHOT_PATH, SnapshotDocument};
use evenkeel_tls::{Client, ClientError, Identity, Role};
use futures::{FutureExt, future::select_ok};
use hickory_resolver::TokioResolver;
use http::{Request, StatusCode};
use tokio::time::timeout;

use super::limits::{MAX_CONTROLLERS, PULL_TIMEOUT};

/// Where controllers are: `https://host:port`, without a path; the port is 9443 if not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerUrl {
    host: String,
    port: u16,
}

/// Why an address of the controllers is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not an address of controllers: write https://host:port, such as https://evenkeel-controller.evenkeel-system.svc:9443"
)]
pub struct ControllerUrlError;

impl FromStr for ControllerUrl {
    type Err = ControllerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: http::Uri = text.parse().map_err(|_invalid| ControllerUrlError)?;
        let host = url.host().unwrap_or_default();
        let bare = url.scheme_str() == Some("https") && url.path() == "/" && url.query().is_none();
        if !bare || host.is_empty() {
            return Err(ControllerUrlError);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port_u16().unwrap_or(9443) })
    }
}

/// Why there is no state from the controllers.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The name cannot be resolved.
    #[error("cannot resolve {0}: {1}")]
    Resolve(String, Box<hickory_resolver::net::NetError>),
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// No controller answers.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Too slow.
    #[error("no answer from {0} within {secs} s", secs = PULL_TIMEOUT.as_secs())]
    TimedOut(SocketAddr),
    /// A controller that cannot tell: 503 until it has seen everything.
    #[error("{0} answers {1}")]
    Status(SocketAddr, StatusCode),
    /// Not a snapshot.
    #[error("{0} answers what is no snapshot: {1}")]
    Unreadable(SocketAddr, serde_json::Error),
}

/// Asks the controllers. By a resolver of its own: a static program has no other.
pub struct Puller {
    url: ControllerUrl,
    identity: Arc<Identity>,
}

impl Puller {
    /// Asks the controllers at `url`.
    #[must_use]
    pub const fn new(url: ControllerUrl, identity: Arc<Identity>) -> Self {
        Self { url, identity }
    }

    /// The first answer of any address.
    ///
    /// # Errors
    /// If none has one: the last one's error.
    pub async fn pull(&self) -> Result<SnapshotDocument, PullError> {
        let addresses = self.resolve().await?;
        if addresses.is_empty() {
            return Err(PullError::NoAddress(self.url.host.clone()));
        }
        let asked = addresses.into_iter().take(MAX_CONTROLLERS).map(|address| self.ask(address).boxed());
        Ok(select_ok(asked).await?.0)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, PullError> {
        let ControllerUrl { host, port } = &self.url;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, *port)]);
        }
        let failed = |error| PullError::Resolve(host.clone(), Box::new(error));
        // Made anew each time, which is rare, so that a changed resolv.conf counts.
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(failed)?;
        let found = resolver.lookup_ip(host.as_str()).await.map_err(failed)?;
        Ok(found.iter().map(|address| SocketAddr::new(address, *port)).collect())
    }

    async fn ask(&self, address: SocketAddr) -> Result<SnapshotDocument, PullError> {
        let client = Client::new(self.identity.clone(), Role::Controller, address);
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = http::Uri::from_static(SNAPSHOT_PATH);
        let answer = timeout(PULL_TIMEOUT, client.send(request, MAX_SNAPSHOT_BYTES))
            .await
            .map_err(|_elapsed| PullError::TimedOut(address))??;
        if answer.status() != StatusCode::OK {
            return Err(PullError::Status(address, answer.status()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| PullError::Unreadable(address, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expect: Result<(&str, u16), ControllerUrlError>) {
        let expect = expect.map(|(host, port)| ControllerUrl { host: host.to_owned(), port });
        assert_eq!(url.parse::<ControllerUrl>(), expect, "{url}");
    }

    #[test]
    fn an_address_of_controllers_is_a_host_and_a_port() {
        check("https://c.ns.svc:9443", Ok(("c.ns.svc", 9443)));
        check("https://c.ns.svc", Ok(("c.ns.svc", 9443)));
        check("https://[::1]:1/", Ok(("::1", 1)));
        for bad in ["http://c:1", "c:1", "https://c/path", "https://c?x", "https://", ""] {
            check(bad, Err(ControllerUrlError));
        }
    }
}
