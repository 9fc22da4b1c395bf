//! The time that balancing is told: monotone, since this process first asked.

use std::{sync::LazyLock, time::Instant};

use evenkeel_balance::Time;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now.
pub(crate) fn now() -> Time {
    Time::ZERO.after(EPOCH.elapsed())
}
