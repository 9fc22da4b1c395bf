//! Figures about this process and thread, from the kernel.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time used by all threads of this process.
pub(crate) fn cpu_time() -> Duration {
    elapsed(ClockId::ProcessCPUTime)
}

/// CPU time used by the calling thread.
pub(crate) fn thread_cpu_time() -> Duration {
    elapsed(ClockId::ThreadCPUTime)
}

/// Resident memory in bytes; `None` where `/proc` does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn elapsed(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// Finds `VmRSS:  1234 kB`, where kB are 1024 bytes (proc_pid_status(5)).
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_status() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        assert_eq!(parse_resident("Name:\tx\n"), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 65_536));
    }

    #[test]
    fn clocks_move() {
        let (thread, process) = (thread_cpu_time(), cpu_time());
        while thread_cpu_time() == thread {}
        assert!(cpu_time() > process);
    }
}
