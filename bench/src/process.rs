//! What a process, and the whole machine, have used so far, as the kernel of this machine tells.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use rustix::param::clock_ticks_per_second;

/// The main process of a container that runs on this machine.
#[derive(Debug)]
pub(crate) struct Process(PathBuf);

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Bytes of memory, now.
    pub(crate) resident: u64,
    /// Bytes of memory, at most.
    pub(crate) peak: u64,
    /// Processor time of all its threads, in user and kernel mode.
    pub(crate) cpu: Duration,
}

impl Process {
    /// That of the first container of a pod: cgroups are named after containers.
    ///
    /// # Errors
    /// If it does not run on this machine.
    pub(crate) fn of(pod: &Pod) -> anyhow::Result<Self> {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let id =
            statuses.into_iter().flatten().next().and_then(|container| container.container_id.as_deref());
        let (_, id) = id.and_then(|id| id.split_once("://")).context("the container does not run")?;
        let runs = |folder: &PathBuf| {
            fs::read_to_string(folder.join("cgroup")).is_ok_and(|groups| groups.contains(id))
        };
        let mut folders = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
        let found = folders.find(runs).map(Self);
        found.with_context(|| format!("{} is no process of this machine", pod.name_any()))
    }

    /// # Errors
    /// If it has ended.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let read = |name: &str| {
            fs::read_to_string(self.0.join(name)).with_context(|| format!("{} has ended", self.0.display()))
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let bytes = |name| kibibytes(&status, name).map(|kibibytes| kibibytes * 1024);
        let cpu = cpu_ticks(&stat).context("not as proc_pid_stat(5) says")?;
        Ok(Usage {
            resident: bytes("VmRSS:").context("no VmRSS")?,
            peak: bytes("VmHWM:").context("no VmHWM")?,
            cpu: Duration::from_secs(cpu) / u32::try_from(clock_ticks_per_second())?,
        })
    }
}

/// Finds `VmRSS:  1234 kB`, where kB are 1024 bytes (proc_pid_status(5)).
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// utime and stime, the 14th and 15th field. The second one, the program's name in brackets, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_whitespace().skip(11);
    let mut next = || times.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Processor time of the processes of this machine that run now, by the name of the program.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn by_program() -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        // Not a process, or one that has ended.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        if let (Some(name), Some(ticks)) = (program(&stat), cpu_ticks(&stat)) {
            let time = Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second())?;
            *times.entry(name.to_owned()).or_default() += time;
        }
    }
    Ok(times)
}

fn program(stat: &str) -> Option<&str> {
    let (_, rest) = stat.split_once('(')?;
    Some(rest.rsplit_once(')')?.0)
}

/// Ticks that the machine's processors have had since it started: those with work, and all.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn machine() -> anyhow::Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    busy_and_all(&stat).context("not as proc_stat(5) says")
}

/// user, nice, system, idle, iowait, irq, softirq, steal: all but the fourth and fifth are work.
fn busy_and_all(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line.split_whitespace().take(8).map(|ticks| ticks.parse().ok()).collect();
    let ticks = ticks?;
    let (all, idle) = (ticks.iter().sum::<u64>(), ticks.get(3..5)?.iter().sum::<u64>());
    Some((all - idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_kernel_are_read() {
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!((kibibytes(status, "VmRSS:"), kibibytes(status, "VmSwap:")), (Some(2048), None));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 5 0 1 2 3";
        assert_eq!((program(stat), cpu_ticks(stat)), (Some("a) b"), Some(300)));
        assert_eq!(busy_and_all("cpu  10 1 20 300 40 2 3 4 5 6\ncpu0 1 1"), Some((40, 380)));
    }
}
