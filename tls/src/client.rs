//! One peer, one connection kept alive, one request at a time.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{net::TcpStream, sync::Mutex, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    Identity, Role,
    limits::HANDSHAKE_TIMEOUT,
    server::{BodyError, read_body},
};

/// Sends requests to the holder of a role at an address. Dropping an answer half-way drops the connection with it.
#[derive(Debug)]
pub struct Client {
    identity: Arc<Identity>,
    expected: Role,
    address: SocketAddr,
    idle: Mutex<Option<Connection>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// No connection in time.
    #[error("cannot connect to {0} within {secs} s", secs = HANDSHAKE_TIMEOUT.as_secs())]
    ConnectTimeout(SocketAddr),
    /// The handshake failed, by our word or the peer's: another CA, another role than expected.
    #[error("{address} is not taken for {expected}, or takes us for none of its install: {source}")]
    Handshake {
        /// The peer.
        address: SocketAddr,
        /// The name of the role expected.
        expected: String,
        /// What rustls says.
        source: io::Error,
    },
    /// The expected role is no DNS name.
    #[error("{0} is no DNS name; class and install must be DNS labels")]
    Name(String),
    /// The peer does not answer as HTTP wants it; if it refuses our certificate, this is where it shows.
    #[error("no answer from {0}: {1}")]
    Http(SocketAddr, hyper::Error),
    /// The answer's body does not arrive.
    #[error("half an answer from {0}: {1}")]
    Body(SocketAddr, BodyError),
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What it was opened with: a connection of an identity that is gone is not used again.
    config: Arc<ClientConfig>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// A client of whoever holds `expected` at `address`.
    #[must_use]
    pub fn new(identity: Arc<Identity>, expected: Role, address: SocketAddr) -> Self {
        Self { identity, expected, address, idle: Mutex::new(None) }
    }

    /// Sends `request`, whose target is a path, and reads the answer of at most `limit` bytes. A connection that was
    /// closed while idle is opened anew; so only send what may arrive twice.
    ///
    /// There is no time-out but that of the handshake: wrap it in one.
    ///
    /// # Errors
    /// If no whole answer arrives.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, ClientError> {
        if let Ok(host) = HeaderValue::try_from(self.name()) {
            request.headers_mut().insert(HOST, host);
        }
        let mut idle = self.idle.lock().await;
        let config = self.identity.client_config();
        if let Some(mut connection) = idle.take()
            && Arc::ptr_eq(&connection.config, &config)
            && connection.sender.ready().await.is_ok()
            && let Ok(answer) = self.exchange(&mut connection, request.clone(), limit).await
        {
            *idle = Some(connection);
            return Ok(answer);
        }
        let mut connection = self.connect(config).await?;
        let answer = self.exchange(&mut connection, request, limit).await?;
        *idle = Some(connection);
        Ok(answer)
    }

    fn name(&self) -> String {
        self.expected.dns_name(self.identity.install())
    }

    async fn connect(&self, config: Arc<ClientConfig>) -> Result<Connection, ClientError> {
        timeout(HANDSHAKE_TIMEOUT, self.handshake(config))
            .await
            .map_err(|_elapsed| ClientError::ConnectTimeout(self.address))?
    }

    async fn handshake(&self, config: Arc<ClientConfig>) -> Result<Connection, ClientError> {
        let address = self.address;
        let name = self
            .expected
            .server_name(self.identity.install())
            .ok_or_else(|| ClientError::Name(self.name()))?;
        let stream =
            TcpStream::connect(address).await.map_err(|error| ClientError::Connect(address, error))?;
        stream.set_nodelay(true).map_err(|error| ClientError::Connect(address, error))?;
        let stream = TlsConnector::from(config.clone())
            .connect(name, stream)
            .await
            .map_err(|source| ClientError::Handshake { address, expected: self.name(), source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Http(address, error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, peer = %address, "connection ended");
            }
        });
        Ok(Connection { sender, config, driver })
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Request<Bytes>,
        limit: usize,
    ) -> Result<Response<Bytes>, ClientError> {
        let answer = connection
            .sender
            .send_request(request.map(Full::new))
            .await
            .map_err(|error| ClientError::Http(self.address, error))?;
        let (parts, body) = answer.into_parts();
        let body = read_body(body, limit).await.map_err(|error| ClientError::Body(self.address, error))?;
        Ok(Response::from_parts(parts, body))
    }
}
