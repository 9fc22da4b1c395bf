//! Propagation: from an independent watcher's receipt of a change of an EndpointSlice to the first request that the
//! slowest proxy routes by it, under a constant load on each proxy.
//!
//! Endpoints, load and watcher are in this process, so that one clock times all. The endpoints are in two groups of
//! which one is ready, and each change swaps them: the next request by the new state is one that the other group
//! answers. The time taken is that of the answer's arrival at the client, which is later than the proxy's choice and so
//! never flatters it.

mod endpoints;
mod load;
mod watch;

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use evenkeel_api::object::BalancerPool;
use evenkeel_e2e::{
    cluster::{Cluster, SYSTEM, address},
    wait,
};
use futures::future::try_join_all;
use k8s_openapi::{api::discovery::v1::EndpointSlice, apimachinery::pkg::util::intstr::IntOrString};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    backend::{self, Backend, NAMESPACE},
    distribution::Distribution,
    process, settled,
};
use endpoints::{Group, addresses};
use load::Proxy;
use watch::Receipt;

/// Name of the Service, the slice and the pool.
const NAME: &str = "propagation";
/// How long a change may take until every proxy has shown it, and anything else that must come.
const SOON: Duration = Duration::from_secs(30);
/// Milliseconds between two changes: longer than the controller gathers changes for, and not in step with anything.
const PAUSE_MS: Range<u64> = 250..550;
/// Programs shown that took the most processor time.
const PROGRAMS: usize = 8;
/// Answers of each proxy before the first change.
const WARM: u64 = 2_000;

/// How much of it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Changes.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Endpoints that are ready at any time; as many are not.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=250))]
    endpoints: u8,
    /// Requests a second on each proxy.
    #[arg(long, default_value_t = 1_100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// The endpoints' Service has no ClusterIP, so that kube-proxy has nothing to do with the changes.
    #[arg(long)]
    headless: bool,
}

/// Measures and prints.
///
/// # Errors
/// If it cannot be measured: a proxy does not follow, the load fails or falls short.
pub(crate) async fn run(cluster: &Cluster, args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    let groups = [Group::A, Group::B].map(|group| addresses(group, args.endpoints));
    let backend = Backend {
        name: NAME.to_owned(),
        port: listener.local_addr()?.port(),
        addresses: groups.concat(),
        is_headless: args.headless,
    };
    tokio::spawn(endpoints::serve(listener));
    let manifest = backend::manifest(std::slice::from_ref(&backend), is_ready(Group::A, args.endpoints));
    cluster.apply(&manifest).await?;
    let measured = measure(cluster, args, &backend).await;
    cluster.remove_namespace(NAMESPACE).await?;
    measured
}

fn is_ready(group: Group, endpoints: u8) -> impl Fn(usize) -> bool {
    move |number| (number < usize::from(endpoints)) == (group == Group::A)
}

/// Times of one change.
struct Sample {
    written: Instant,
    received: Instant,
    /// The first answer by it, of each proxy.
    first: Vec<Instant>,
}

async fn measure(cluster: &Cluster, args: &Args, backend: &Backend) -> anyhow::Result<()> {
    let args_wait = format!("-n {NAMESPACE} wait bp/{NAME} --for=condition=Ready --timeout=60s");
    cluster.kubectl(&args_wait).await?;
    settled::revision(cluster).await?;
    let proxies = proxies(cluster).await?;
    let load = load::start(&proxies, args.rate);
    let mut receipts = watch::start(NAMESPACE, NAME)?;
    receive(&mut receipts, None).await?;
    wait::until("the load to begin", SOON, || async {
        ensure!(proxies.iter().all(|proxy| proxy.counts().answers >= WARM), "it has not");
        Ok(())
    })
    .await?;

    let (before, machine, programs) = (counts(&proxies), process::machine()?, process::by_program()?);
    let start = Instant::now();
    let samples = changes(cluster, args, backend, &proxies, &mut receipts).await?;
    let (after, elapsed, then) = (counts(&proxies), start.elapsed(), process::machine()?);
    drop(load);
    report(args, &samples);
    let busy = ratio(then.0 - machine.0, then.1 - machine.1);
    report_load(&proxies, &before, &after, elapsed, busy);
    report_programs(&programs, &process::by_program()?, elapsed);
    let slowest = after.iter().zip(&before).map(|(after, before)| after.answers - before.answers).min();
    ensure!(
        per_second(slowest.unwrap_or_default(), elapsed) >= 1000.0 || args.rate < 1000,
        "the load fell short of 1,000 requests/s"
    );
    ensure!(after.iter().all(|counts| counts.failed == 0), "requests failed");
    Ok(())
}

/// The proxies, at the port of the pool.
async fn proxies(cluster: &Cluster) -> anyhow::Result<Vec<Proxy>> {
    let pools: Api<BalancerPool> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let told = pools.get(NAME).await?.status.and_then(|status| status.address).context("no address yet")?;
    let service = told.service.split('.').next().unwrap_or_default();
    let spec = cluster.services(SYSTEM).get(service).await?.spec.context("no spec")?;
    let port = spec.ports.into_iter().flatten().find_map(|port| match port.target_port? {
        IntOrString::Int(number) => u16::try_from(number).ok(),
        IntOrString::String(_) => None,
    });
    let port = port.with_context(|| format!("{service} has no port"))?;
    let pods = cluster.pods_of("proxy").await?;
    pods.iter().map(|pod| Ok(Proxy::new(pod.name_any(), (address(pod)?, port).into()))).collect()
}

async fn changes(
    cluster: &Cluster,
    args: &Args,
    backend: &Backend,
    proxies: &[Proxy],
    receipts: &mut mpsc::Receiver<anyhow::Result<Receipt>>,
) -> anyhow::Result<Vec<Sample>> {
    let slices: Api<EndpointSlice> = cluster.slices(NAMESPACE);
    let mut samples = Vec::with_capacity(args.changes);
    for (number, group) in [Group::B, Group::A].into_iter().cycle().take(args.changes).enumerate() {
        sleep(Duration::from_millis(rand::random_range(PAUSE_MS))).await;
        let patch = Patch::Merge(json!({"endpoints": backend.endpoints(is_ready(group, args.endpoints))}));
        proxies.iter().for_each(|proxy| proxy.expect(group));
        let written = Instant::now();
        let slice = slices.patch(NAME, &PatchParams::default(), &patch).await?;
        let received = receive(receipts, slice.resource_version()).await?;
        let first = timeout(SOON, try_join_all(proxies.iter().map(Proxy::turned))).await;
        let first = first.with_context(|| format!("change {number} has not reached every proxy"))??;
        samples.push(Sample { written, received, first });
    }
    Ok(samples)
}

/// When the watcher was told of a version, or of any.
async fn receive(
    receipts: &mut mpsc::Receiver<anyhow::Result<Receipt>>,
    version: Option<String>,
) -> anyhow::Result<Instant> {
    let received = async {
        loop {
            let receipt = receipts.recv().await.context("the watcher has ended")??;
            if version.as_ref().is_none_or(|version| *version == receipt.version) {
                return Ok(receipt.at);
            }
        }
    };
    timeout(SOON, received).await.with_context(|| format!("the watcher is not told of {version:?}"))?
}

fn counts(proxies: &[Proxy]) -> Vec<load::Counts> {
    proxies.iter().map(Proxy::counts).collect()
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report(args: &Args, samples: &[Sample]) {
    let from_receipt = |sample: &Sample, first: &Instant| milliseconds(sample.received, *first);
    let slowest = samples.iter().map(|sample| {
        sample.first.iter().map(|first| from_receipt(sample, first)).fold(f64::NEG_INFINITY, f64::max)
    });
    let each = samples.iter().flat_map(|sample| sample.first.iter().map(move |first| (sample, first)));
    let each = each.map(|(sample, first)| from_receipt(sample, first));
    let watcher = samples.iter().map(|sample| milliseconds(sample.written, sample.received));
    println!(
        "{} changes of {} endpoints, {} requests/s on each proxy; milliseconds",
        samples.len(),
        args.endpoints,
        args.rate
    );
    println!("{:<58}{:>9}{:>9}{:>9}{:>9}", "", "p50", "p90", "p99", "max");
    println!("{:<58}{}", "watcher's receipt to the slowest proxy's first answer", Distribution::of(slowest));
    println!("{:<58}{}", "watcher's receipt to the first answer of each proxy", Distribution::of(each));
    println!("{:<58}{}", "write begun to the watcher's receipt", Distribution::of(watcher));
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report_load(
    proxies: &[Proxy],
    before: &[load::Counts],
    after: &[load::Counts],
    elapsed: Duration,
    busy: f64,
) {
    for ((proxy, before), after) in proxies.iter().zip(before).zip(after) {
        println!(
            "{}: {:.0} requests/s, {} failed{}, {} routed by the old state after the first by the new",
            proxy.name(),
            per_second(after.answers - before.answers, elapsed),
            after.failed,
            after.failure.as_deref().map(|why| format!(" (at first: {why})")).unwrap_or_default(),
            after.stray - before.stray,
        );
    }
    println!("the machine's processors were {:.0} % busy, for {:.0} s", busy * 100.0, elapsed.as_secs_f64());
}

/// Where the processors' time went.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn report_programs(
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
    elapsed: Duration,
) {
    let used = |(name, time): (&String, &Duration)| {
        let used = time.saturating_sub(before.get(name).copied().unwrap_or_default());
        (used, name.clone())
    };
    let mut used: Vec<_> = after.iter().map(used).collect();
    used.sort_by(|one, other| other.cmp(one));
    for (time, name) in used.into_iter().take(PROGRAMS) {
        println!("{name:<18}{:>7.1} % of a processor", 100.0 * time.as_secs_f64() / elapsed.as_secs_f64());
    }
}

/// Negative if `to` is before `from`.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let ahead = to.saturating_duration_since(from).as_secs_f64();
    (ahead - from.saturating_duration_since(to).as_secs_f64()) * 1000.0
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

fn ratio(part: u64, whole: u64) -> f64 {
    let float = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    float(part) / float(whole.max(1))
}
