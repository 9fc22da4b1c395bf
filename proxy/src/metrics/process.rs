//! Figures about this process, from the kernel; left out where it does not tell.

use std::{fs, time::Duration};

use prometheus::proto::{MetricFamily, MetricType};
use rustix::time::{ClockId, clock_gettime};

use super::family::family;

pub(super) fn gather() -> Vec<MetricFamily> {
    let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok();
    let status = fs::read_to_string("/proc/self/status").ok();
    let resident = status.as_deref().and_then(resident_bytes);
    // The folder's own descriptor is among them.
    let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1));
    let shown = [
        (
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            MetricType::COUNTER,
            cpu.map(|cpu| cpu.as_secs_f64()),
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            MetricType::GAUGE,
            resident.map(super::family::float),
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            MetricType::GAUGE,
            files.map(|files| super::family::float(files as u64)),
        ),
    ];
    shown
        .into_iter()
        .filter_map(|(name, help, kind, value)| Some(family(name, help, kind, [(vec![], value?)])))
        .collect()
}

/// Memory that this process has, if the kernel tells.
pub(crate) fn resident() -> Option<u64> {
    resident_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Finds `VmRSS:  1234 kB`, where kB are 1024 bytes (proc_pid_status(5)).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_status() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
