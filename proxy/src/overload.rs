//! Memory that runs out. Near the limit of its container the process refuses first what is asked anew, then who comes
//! anew, rather than be killed with all that it carries.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use tokio::time::{self, MissedTickBehavior};

use crate::{limits, metrics};

/// Where a container finds its own limit: with cgroup v2, and v1.
const FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// What v1 says where there is no limit is a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// How close the process is to its limit of memory.
#[derive(Debug, Default)]
pub(crate) struct Overload(AtomicU8);

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Pressure {
    Nothing,
    Requests,
    Connections,
}

impl Overload {
    /// Requests are to be refused.
    pub(crate) fn refuses_requests(&self) -> bool {
        self.0.load(Relaxed) >= Pressure::Requests as u8
    }

    /// Connections are to be refused.
    pub(crate) fn refuses_connections(&self) -> bool {
        self.0.load(Relaxed) >= Pressure::Connections as u8
    }
}

/// Looks at the memory of this process for ever, where it has a limit: `limit` bytes, or what its container has.
pub(crate) async fn watch(overload: Arc<Overload>, limit: Option<u64>) {
    let Some(limit) = limit.or_else(|| FILES.iter().find_map(|file| parse(&fs::read_to_string(file).ok()?)))
    else {
        return;
    };
    let mut ticks = time::interval(limits::MEMORY_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Pressure::Nothing;
    loop {
        ticks.tick().await;
        let Some(resident) = metrics::process::resident() else { return };
        let pressure = judge(resident, limit);
        overload.0.store(pressure as u8, Relaxed);
        if pressure > before {
            tracing::error!(resident, limit, refused = ?pressure, "memory runs out: raise the limit, or add proxies");
        } else if pressure < before {
            tracing::info!(resident, limit, refused = ?pressure, "memory is free again");
        }
        before = pressure;
    }
}

fn judge(resident: u64, limit: u64) -> Pressure {
    let is_above = |percent: u64| resident.saturating_mul(100) >= limit.saturating_mul(percent);
    if is_above(limits::MEMORY_CONNECTIONS_PERCENT) {
        Pressure::Connections
    } else if is_above(limits::MEMORY_REQUESTS_PERCENT) {
        Pressure::Requests
    } else {
        Pressure::Nothing
    }
}

/// `None` for `max`, and for what v1 says in place of it.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_refused_first_then_connections() {
        let found = [0, 949, 950, 979, 980, 2000].map(|resident| judge(resident, 1000));
        use Pressure::{Connections, Nothing, Requests};
        assert_eq!(found, [Nothing, Nothing, Requests, Requests, Connections, Connections]);
        let overload = Overload::default();
        assert!(!overload.refuses_requests());
        overload.0.store(Requests as u8, Relaxed);
        assert!(overload.refuses_requests() && !overload.refuses_connections());
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let texts = ["max\n", "134217728\n", "9223372036854771712\n", ""];
        assert_eq!(texts.map(parse), [None, Some(134_217_728), None, None]);
    }
}
