//! Publishing: one task per proxy keeps it at the newest version of its class.
//!
//! A task has one request in flight and never a queue: what is sent next is whatever is newest then. The first change
//! goes at once, later ones are gathered for [`limits::COALESCE`]. A heartbeat reads back what the proxy has; if it is
//! not what it acknowledged, it gets the whole. Nothing is sent without a [`Permit`], which is how a leadership that
//! has ended falls silent. Deliberately absent: what is in a version, and what an answer means to the status.

mod limits;

pub mod body;
mod call;
mod metrics;
mod publisher;
mod session;
mod transport;
mod versions;

pub use call::CallError;
pub use metrics::PublishMetrics;
pub use publisher::Publisher;
pub use transport::{Dial, MutualTls, Transport, TransportError};
pub use versions::Versions;

/// Whether anything may be sent now.
pub trait Permit: Send + Sync {
    /// False once the leadership is over, by the monotonic clock. Asked before every request; one that is on its way
    /// then may arrive up to [`limits::REQUEST_TIMEOUT`] later, for which the Lease leaves room.
    fn holds(&self) -> bool;
}

impl<F: Fn() -> bool + Send + Sync> Permit for F {
    fn holds(&self) -> bool {
        self()
    }
}

#[cfg(test)]
mod tests;
