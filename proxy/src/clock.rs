//! The time that balancing is told: monotone, and far enough from its beginning that what was before this process has a time.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use evenkeel_balance::Time;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// When this process first asked: a century after the beginning.
const EPOCH: Time = Time::from_nanos(100 * 366 * 24 * 3600 * 1_000_000_000);

/// Now.
pub(crate) fn now() -> Time {
    EPOCH.after(START.elapsed())
}

/// The moment so many seconds after the Unix epoch; now, if that lies ahead.
pub(crate) fn at_unix(seconds: i64) -> Time {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let age = SystemTime::now().duration_since(moment).unwrap_or_default();
    Time::from_nanos(now().as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
}
