//! The time that balancing is told: monotone, and counted from a day before this process first asked, so that it can be
//! told of what was before.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use evenkeel_balance::Time;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now.
pub(crate) fn now() -> Time {
    Time::ZERO.after(DAY + EPOCH.elapsed())
}

/// A moment of this process.
pub(crate) fn of(moment: Instant) -> Time {
    Time::ZERO.after(DAY + moment.saturating_duration_since(*EPOCH))
}

/// Time until a moment of the time of day, which another machine may have told; none if that has passed.
pub(crate) fn until(moment: SystemTime) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default()
}

/// A moment of the time of day, which another machine may have told: what lies ahead is now, what lies far back a day
/// ago.
pub(crate) fn at(moment: SystemTime) -> Time {
    let ago = SystemTime::now().duration_since(moment).unwrap_or_default();
    Time::ZERO.after((DAY + EPOCH.elapsed()).saturating_sub(ago))
}
