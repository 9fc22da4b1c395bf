//! 9. Each algorithm, by an edit of a pool under load: what it does to the shares. And the pools of the examples.
//!
//! Of three endpoints one is given three times the weight at first; then all weigh the same, and one is slow and says
//! so. Where a key decides, `evenkeel explain` must name the endpoint that has it, at each proxy.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;

use crate::{
    cluster::{Cluster, address},
    fetch::{self, header},
    load::{Load, Plan},
    pools::{ENDPOINT_PORT, Shop, behave},
    wait,
};

/// Answers over which shares are judged.
const ENOUGH: u64 = 300;
/// Time in which they must be as they should: some algorithms wait for 10 s before they trust what they learn.
const SOON: Duration = Duration::from_secs(90);
/// Host names that are hashed.
const HOSTS: usize = 24;
/// Where the examples are.
const EXAMPLES: &str = "manifests/examples";

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "algorithms", 3).await?;
    shop.pool("web", "algorithm: {type: RoundRobin}").await?;
    shop.ready("web").await?;
    let at = shop.address("web").await?;
    let load = Load::start(Plan::to(at));
    let told = async {
        let mut lines = by_weight(&shop, &load).await?;
        lines.extend(by_speed(&shop, &load).await?);
        by_key(&shop, at).await?;
        anyhow::Ok(lines)
    }
    .await?;
    let counts = load.stop().await?;
    counts.none_failed().context("while the algorithm was edited")?;
    by_client(&shop, at).await?;
    shop.close().await?;
    examples(cluster).await?;
    Ok([vec![counts.line()], told].concat())
}

/// The pod's share must come to lie between the two bounds.
struct Share<'a> {
    pod: &'a str,
    least: f64,
    most: f64,
}

async fn by_weight(shop: &Shop, load: &Load) -> anyhow::Result<Vec<String>> {
    let pods = shop.pods().await?;
    let heavy = pods.first().context("no pod")?.name_any();
    annotate(shop, &heavy, "evenkeel.dev/weight=3").await?;
    let even = Share { pod: &heavy, least: 0.30, most: 0.37 };
    let weighted = Share { pod: &heavy, least: 0.52, most: 0.68 };
    let mut lines = Vec::new();
    for (algorithm, share) in
        [("RoundRobin", &even), ("WeightedRoundRobin", &weighted), ("Random", &weighted)]
    {
        lines.push(edited(shop, load, algorithm, share).await?);
    }
    annotate(shop, &heavy, "evenkeel.dev/weight-").await?;
    Ok(lines)
}

async fn by_speed(shop: &Shop, load: &Load) -> anyhow::Result<Vec<String>> {
    let pods = shop.pods().await?;
    for pod in &pods[1..] {
        behave(pod, r#"{"utilization": 0.3}"#).await?;
    }
    let slow = pods.first().context("no pod")?;
    behave(slow, r#"{"latency": {"meanMs": 250}, "utilization": 0.9}"#).await?;
    let slow = slow.name_any();
    let mut lines = Vec::new();
    let all = [
        "PowerOfTwoChoices",
        "LeastRequest",
        "LeastResponseTime",
        "Prequal",
        "WeightedByLoad",
        "Adaptive",
        "Auto",
    ];
    for algorithm in all {
        // Adaptive goes in small steps, and not all the way.
        let most = if algorithm == "Adaptive" { 0.28 } else { 0.22 };
        lines.push(edited(shop, load, algorithm, &Share { pod: &slow, least: 0.0, most }).await?);
        // Forgets what the last one did, but for what was learned of the endpoints.
        edited(shop, load, "RoundRobin", &Share { pod: &slow, least: 0.30, most: 0.37 }).await?;
    }
    Ok(lines)
}

/// Selects an algorithm, and waits for the share and for the status that names it.
async fn edited(shop: &Shop, load: &Load, algorithm: &str, expect: &Share<'_>) -> anyhow::Result<String> {
    shop.pool("web", &format!("algorithm: {{type: {algorithm}}}")).await?;
    shop.ready("web").await?;
    let Share { pod, least, most } = expect;
    let deadline = std::time::Instant::now() + SOON;
    let share = loop {
        let share = load.shares(ENOUGH).await?.get(*pod).copied().unwrap_or_default();
        if (*least..*most).contains(&share) {
            break share;
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "{algorithm}: {pod} takes {share:.2}, not {least} to {most}"
        );
    };
    let active = wait::until("the algorithm in the status", SOON, || async {
        let told = shop.status("web").await?.1.algorithm.context("no algorithm in the status")?;
        let fits = if algorithm == "Auto" {
            !told.reason.contains("the pool's spec")
        } else {
            told.active == algorithm
        };
        ensure!(fits, "the status says {told:?}");
        Ok(told.active)
    })
    .await?;
    let chosen = if active == algorithm { String::new() } else { format!(" ({active})") };
    Ok(format!("{algorithm}{chosen}: {:.0} % at {pod}", share * 100.0))
}

/// The same host name leads to the same endpoint by whatever table and proxy, and host names are spread.
async fn by_key(shop: &Shop, at: SocketAddr) -> anyhow::Result<()> {
    for table in ["Ring", "Maglev", "Rendezvous"] {
        let hash = format!("consistentHash: {{keys: [{{type: Host}}], table: {{type: {table}}}}}");
        shop.pool("web", &format!("algorithm: {{type: ConsistentHash, {hash}}}")).await?;
        shop.ready("web").await?;
        let first = homes(at).await?;
        let again = homes(at).await?;
        ensure!(first == again, "{table}: {first:?}, then {again:?}");
        let taken: std::collections::BTreeSet<_> = first.iter().collect();
        ensure!(taken.len() == 3, "{table}: {taken:?} take all of {HOSTS} keys");
        explained(shop, first.first().context("no home")?).await.with_context(|| table.to_owned())?;
    }
    Ok(())
}

/// Every proxy, asked by the command line, names the endpoint that has the first key.
async fn explained(shop: &Shop, home: &str) -> anyhow::Result<()> {
    let pods = shop.pods().await?;
    let pod = pods.iter().find(|pod| pod.name_any() == home).with_context(|| format!("no pod {home}"))?;
    let endpoint = SocketAddr::new(address(pod)?, ENDPOINT_PORT);
    let namespace = &shop.namespace;
    let expect = format!("{namespace}/web by ConsistentHash: {endpoint} ({home})");
    let host = host(0);
    let mut proxies: Vec<_> = shop.cluster.pods_of("proxy").await?.iter().map(|pod| pod.name_any()).collect();
    // Without a name the command looks for a proxy itself.
    proxies.push(String::new());
    for proxy in &proxies {
        let question = ["explain", "web", "--namespace", namespace, "--host", &host];
        let of = ["--proxy", proxy.as_str()];
        let args = if proxy.is_empty() { question.to_vec() } else { [&question[..], &of].concat() };
        let told = shop.cluster.evenkeel(&args).await?;
        ensure!(told.lines().next() == Some(&*expect), "{proxy:?} says\n{told}and not\n{expect}");
    }
    Ok(())
}

/// A host name that is hashed.
fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

async fn homes(at: SocketAddr) -> anyhow::Result<Vec<String>> {
    let mut homes = Vec::new();
    for number in 0..HOSTS {
        let answer = fetch::page(at, &host(number), "/").await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        homes.push(header(answer.headers(), "x-evenkeel-demo").to_owned());
    }
    Ok(homes)
}

/// A client has one endpoint. Nodes may give the load several addresses.
async fn by_client(shop: &Shop, at: SocketAddr) -> anyhow::Result<()> {
    shop.pool("web", "algorithm: {type: SourceIPHash}").await?;
    shop.ready("web").await?;
    let load = Load::start(Plan::to(at));
    let enough = load.shares(ENOUGH).await.map(drop);
    let counts = load.stop().await?;
    enough?;
    counts.none_failed()?;
    counts.one_endpoint_each().context("SourceIPHash")
}

/// What manifests/README.md says.
async fn examples(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kubectl(&format!("apply -f {EXAMPLES}")).await.context("the examples")?;
    let ready = "-n demo wait balancerpool --all --for=condition=Ready --timeout=120s";
    cluster.kubectl(ready).await.context("the pools of the examples")?;
    cluster.remove_namespace("demo").await
}

async fn annotate(shop: &Shop, pod: &str, annotation: &str) -> anyhow::Result<()> {
    let namespace = &shop.namespace;
    shop.cluster.kubectl(&format!("-n {namespace} annotate pod {pod} {annotation}")).await.map(drop)
}
