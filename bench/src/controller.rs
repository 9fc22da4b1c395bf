//! The controller that leads: its memory, and the processor time that changes of endpoints cost it, with all proxies of
//! the cluster connected. Objects are written to the cluster's API server, one change after the other at a constant
//! rate.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::ensure;
use evenkeel_e2e::{cluster::Cluster, leader::leader, proxies::Figures};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    backend::{self, Backend, NAMESPACE},
    process::{Process, Usage},
    settled,
};

/// How long nothing happens, for the cost of that.
const IDLE: Duration = Duration::from_secs(20);

/// How much of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Changes, each of one endpoint.
    #[arg(long, default_value_t = 1_000)]
    changes: usize,
    /// Changes a second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Pools.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=250))]
    pools: u8,
    /// Endpoints of each pool.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=250))]
    endpoints: u8,
}

/// Measures and prints.
///
/// # Errors
/// If it cannot be measured: a pool does not become ready, another controller comes to lead.
pub(crate) async fn run(cluster: &Cluster, args: &Args) -> anyhow::Result<()> {
    settled::revision(cluster).await?;
    let (pod, epoch) = leader(cluster).await?;
    let leader_of = Leader { process: Process::of(&pod)?, pod };
    let empty = leader_of.look().await?;
    let measured = measure(cluster, args, &leader_of, empty).await;
    cluster.remove_namespace(NAMESPACE).await?;
    measured?;
    ensure!(leader(cluster).await?.1 == epoch, "the leadership changed meanwhile: measure again");
    Ok(())
}

/// The controller that leads.
struct Leader {
    pod: Pod,
    process: Process,
}

/// What it has used and done so far.
#[derive(Clone, Copy)]
struct Look {
    usage: Usage,
    /// Seconds in which it decided what to do.
    deciding: f64,
    decisions: f64,
    pushes: f64,
    statuses: f64,
}

impl Leader {
    async fn look(&self) -> anyhow::Result<Look> {
        let usage = self.process.usage()?;
        let figures = Figures::of(&self.pod).await?;
        Ok(Look {
            usage,
            deciding: figures.sum("evenkeel_controller_reconcile_duration_seconds_sum", &[]),
            decisions: figures.sum("evenkeel_controller_reconcile_duration_seconds_count", &[]),
            pushes: figures.sum("evenkeel_config_push_total", &[]),
            statuses: figures.sum("evenkeel_controller_writes_total", &["kind=\"status\""]),
        })
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
async fn measure(cluster: &Cluster, args: &Args, leader: &Leader, empty: Look) -> anyhow::Result<()> {
    let backends: Vec<_> = (0..args.pools).map(|number| backend(number, args.endpoints)).collect();
    cluster.apply(&backend::manifest(&backends, |_| true)).await?;
    cluster.kubectl(&format!("-n {NAMESPACE} wait bp --all --for=condition=Ready --timeout=120s")).await?;
    settled::revision(cluster).await?;
    let full = leader.look().await?;
    sleep(IDLE).await;
    let idle = leader.look().await?;
    changes(cluster, args, &backends).await?;
    settled::revision(cluster).await?;
    let changed = leader.look().await?;

    let proxies = cluster.pods_of("proxy").await?.len();
    println!(
        "{}, which leads: {} pools of {} endpoints each, {proxies} proxies",
        leader.pod.name_any(),
        args.pools,
        args.endpoints
    );
    println!(
        "{:<44}{:>8}{:>10}{:>8}{:>13}{:>11}{:>8}{:>10}",
        "", "MiB", "peak MiB", "CPU s", "deciding s", "decisions", "pushes", "statuses"
    );
    println!("{}", row("installed, no pools", empty, empty));
    println!("{}", row("all pools and endpoints made and ready", empty, full));
    println!("{}", row(&format!("nothing happens for {} s", IDLE.as_secs()), full, idle));
    let what = format!("{} changes of an endpoint, {} a second", args.changes, args.rate);
    println!("{}", row(&what, idle, changed));
    Ok(())
}

/// Memory at the end of a phase, and what was used and done in it.
fn row(what: &str, from: Look, to: Look) -> String {
    format!(
        "{what:<44}{:>8.1}{:>10.1}{:>8.2}{:>13.2}{:>11.0}{:>8.0}{:>10.0}",
        mebibytes(to.usage.resident),
        mebibytes(to.usage.peak),
        (to.usage.cpu - from.usage.cpu).as_secs_f64(),
        to.deciding - from.deciding,
        to.decisions - from.decisions,
        to.pushes - from.pushes,
        to.statuses - from.statuses,
    )
}

/// Nothing listens at the addresses, and nothing is sent to them.
fn backend(number: u8, endpoints: u8) -> Backend {
    Backend {
        name: format!("pool-{number}"),
        port: 8080,
        addresses: (1..=endpoints).map(|last| Ipv4Addr::new(198, 18, number, last)).collect(),
        is_headless: false,
    }
}

/// In each round an endpoint of every pool goes, and in the next one it comes back.
async fn changes(cluster: &Cluster, args: &Args, backends: &[Backend]) -> anyhow::Result<()> {
    let slices = cluster.slices(NAMESPACE);
    let mut ticks = interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (number, backend) in backends.iter().cycle().take(args.changes).enumerate() {
        ticks.tick().await;
        let round = number / backends.len();
        let victim = (round / 2) % usize::from(args.endpoints);
        let is_ready = |endpoint| endpoint != victim || round % 2 == 1;
        let patch = Patch::Merge(json!({"endpoints": backend.endpoints(is_ready)}));
        slices.patch(&backend.name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}
