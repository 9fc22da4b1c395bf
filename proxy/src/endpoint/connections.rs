//! The idle connections of one thread, by the endpoint's address. Only that thread uses them, so the lock is never
//! waited for.
//!
//! A connection comes back when its response has ended, and goes out again once it says that it is ready: not before
//! the request's body has been sent too, and never after either side has closed it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task, time::Instant};

use super::connect::{DialError, Sender, dial};
use crate::{limits, metrics::Metrics};

/// The idle connections of a thread.
#[derive(Debug)]
pub(crate) struct Connections {
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Connections {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { idle: Mutex::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection used last of those that are ready; the others then age and close.
    pub(crate) async fn check_out(&self, address: SocketAddr) -> Option<Sender> {
        loop {
            let Idle { sender, since } = self.take(address)?;
            if since.elapsed() < limits::ENDPOINT_FRESH {
                return Some(sender);
            }
            // A busy thread may not have seen yet that the endpoint has closed it: let what the system knows come in
            // first.
            task::yield_now().await;
            if !sender.is_closed() {
                return Some(sender);
            }
        }
    }

    fn take(&self, address: SocketAddr) -> Option<Idle> {
        let now = Instant::now();
        let mut idle = self.lock();
        let stack = idle.get_mut(&address)?;
        let mut index = stack.len();
        while index > 0 {
            index -= 1;
            let found = &stack[index];
            if found.sender.is_closed() || now - found.since >= limits::ENDPOINT_IDLE {
                stack.remove(index);
            } else if found.sender.is_ready() {
                return Some(stack.remove(index));
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn dial(&self, address: SocketAddr, timeout: Duration) -> Result<Sender, DialError> {
        dial(address, timeout, &self.metrics).await
    }

    /// Takes a connection whose response has ended.
    pub(crate) fn check_in(&self, address: SocketAddr, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let stack = idle.entry(address).or_default();
        if stack.len() < limits::ENDPOINT_IDLE_CONNECTIONS {
            stack.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, stack| {
            stack.retain(|idle| !idle.sender.is_closed() && now - idle.since < limits::ENDPOINT_IDLE);
            !stack.is_empty()
        });
    }
}
