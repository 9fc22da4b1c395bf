//! An endpoint that runs in process, for tests.

use std::future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::behaviour::Behaviour;
use crate::endpoint::{Endpoint, Identity};
use crate::name::Name;
use crate::server::{Listeners, serve};

/// An endpoint and the task that serves it. Dropping it ends both at once, whatever is open.
#[derive(Debug)]
pub struct Running {
    endpoint: Endpoint,
    addr: SocketAddr,
    shutdown: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Serves on an ephemeral port of 127.0.0.1. Its randomness has a fixed seed.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(name: Name, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint =
            Endpoint::new(Identity { name, seed: Some(0) }, behaviour).map_err(io::Error::other)?;
        Self::on(Listeners { public: listener, admin: None }, endpoint)
    }

    /// Serves on listeners of the caller's.
    ///
    /// # Errors
    /// Where the public listener has no address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn on(listeners: Listeners, endpoint: Endpoint) -> io::Result<Self> {
        let addr = listeners.public.local_addr()?;
        let (shutdown, asked) = oneshot::channel();
        let asked = async {
            match asked.await {
                Ok(grace) => grace,
                // Dropped without being asked: the task is aborted.
                Err(_) => future::pending().await,
            }
        };
        let task = tokio::spawn(serve(listeners, endpoint.clone(), asked));
        Ok(Self { endpoint, addr, shutdown: Some(shutdown), task })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint, for its behaviour and figures.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes the listeners and answers what is open, for at most `grace`.
    ///
    /// # Errors
    /// Where it had not come to serve at all.
    pub async fn shut_down(mut self, grace: Duration) -> io::Result<()> {
        if let Some(shutdown) = self.shutdown.take()
            && shutdown.send(grace).is_err()
        {
            tracing::debug!("asked to shut down after the end");
        }
        (&mut self.task).await.map_err(io::Error::other)?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
