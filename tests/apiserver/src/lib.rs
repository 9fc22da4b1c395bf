//! A real API server for tests: etcd and kube-apiserver on the loopback, and nothing else. No controllers run, so what
//! a test does not write is not there.
//!
//! ```text
//! shared()          one server for all tests that run at the same time, each in a namespace of its own
//! Server::start()   a server of a test's own, which it may stop, start and starve
//! ```
//! Both give `None` where the programs are missing and cannot be built, unless CI=true.

mod binaries;
mod process;
mod server;
pub mod wait;

use std::sync::{Arc, Weak};

pub use server::Server;
use tokio::sync::Mutex;

/// The server that tests share, as long as one of them holds it.
///
/// # Panics
/// Where it cannot be started.
pub async fn shared() -> Option<Arc<Server>> {
    static SERVER: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());
    let mut shared = SERVER.lock().await;
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start().await?);
    *shared = Arc::downgrade(&server);
    Some(server)
}
