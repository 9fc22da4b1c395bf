//! Every limit of publishing.

use std::time::Duration;

use evenkeel_api::channel::MAX_SNAPSHOT_BYTES;

/// Between two pushes to a proxy, at least.
pub(crate) const COALESCE: Duration = Duration::from_millis(50);
/// Between two heartbeats.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// For one request; less than what a Lease outlives the leadership by (5 s).
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// Before a failed push is repeated: at first, and at most.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Largest answer: a snapshot as received, and the versions in use beside it.
pub(crate) const MAX_ANSWER_BYTES: usize = 2 * MAX_SNAPSHOT_BYTES;
