//! Every limit of the config channel at this end; that of a body is the protocol's own.

use std::time::Duration;

/// How long a booting proxy waits for a controller before it takes what it had last.
pub(crate) const BOOT_PATIENCE: Duration = Duration::from_secs(5);
/// For one controller to answer a pull.
pub(crate) const PULL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two rounds of pulls: at first, and at most.
pub(crate) const PULL_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Controllers asked at once.
pub(crate) const MAX_CONTROLLERS: usize = 16;
/// Bodies held at once, of which one is being carried out.
pub(crate) const MAX_BODIES: usize = 2;
/// Between two writes of the last good state, at least.
pub(crate) const STORE_EVERY: Duration = Duration::from_secs(1);
/// Between two stamps of the last contact.
pub(crate) const STAMP_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts at pools that the request path has refused.
pub(crate) const RETRY_REFUSED_EVERY: Duration = Duration::from_secs(10);
/// Age at which the last good state is ignored, from the last contact that confirmed it.
pub(crate) const LAST_GOOD_LIFE: Duration = Duration::from_secs(24 * 3600);
