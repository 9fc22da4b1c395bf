//! The scenarios one after the other, and what is to be seen when one fails.

use std::{path::PathBuf, time::Instant};

use anyhow::bail;
use clap::Parser;

use crate::{
    cluster::{Cluster, SYSTEM},
    scenario,
};

/// What to run.
#[derive(Clone, Debug, Parser)]
pub(crate) struct RunArgs {
    /// The checkout, with its hack/cluster.sh and charts.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Evenkeel is installed already.
    #[arg(long)]
    installed: bool,
    /// Only these scenarios, by number.
    #[arg(value_name = "NUMBER")]
    only: Vec<usize>,
}

const NAMES: [&str; 9] = [
    "a pool carries traffic",
    "an edit takes effect under load, and Programmed means it",
    "endpoints roll and scale under load",
    "a hanging health check",
    "without a controller",
    "two controllers",
    "what is wrong is told, and hurts nobody else",
    "all proxies and a node are lost",
    "each algorithm does what it says",
];

/// Runs the scenarios.
///
/// # Errors
/// If one fails.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let cluster = Cluster::connect(args.root.canonicalize()?).await?;
    if !args.installed {
        let start = Instant::now();
        scenario::install::run(&cluster).await?;
        println!("installed in {:.1} s", start.elapsed().as_secs_f64());
    }
    let (mut passed, mut failed) = (0, 0);
    for (number, name) in (1..).zip(NAMES) {
        if !args.only.is_empty() && !args.only.contains(&number) {
            continue;
        }
        println!("{number}. {name}");
        let start = Instant::now();
        match Box::pin(one(number, &cluster)).await {
            Ok(figures) => {
                passed += 1;
                for line in figures {
                    println!("   {line}");
                }
                println!("   ok, {:.1} s", start.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("   FAILED after {:.1} s: {error:#}", start.elapsed().as_secs_f64());
                println!("{}", sight(&cluster).await);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} scenarios failed");
    }
    Ok(())
}

async fn one(number: usize, cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    match number {
        1 => scenario::traffic::run(cluster).await,
        2 => scenario::edit::run(cluster).await,
        3 => scenario::churn::run(cluster).await,
        4 => scenario::health::run(cluster).await,
        5 => scenario::absence::run(cluster).await,
        6 => scenario::leaders::run(cluster).await,
        7 => scenario::wrong::run(cluster).await,
        8 => scenario::loss::run(cluster).await,
        _ => scenario::algorithms::run(cluster).await,
    }
}

/// The state of things, for whoever looks for the cause of a failure.
async fn sight(cluster: &Cluster) -> String {
    let mut text = String::new();
    let looks = [
        "get bp -A -o yaml".to_owned(),
        "get pods -A -o wide".to_owned(),
        format!("-n {SYSTEM} get services,endpointslices,leases -o wide"),
    ];
    for look in looks {
        let seen = cluster.kubectl(&look).await.unwrap_or_else(|error| error.to_string());
        text.push_str(&format!("--- kubectl {look}\n{seen}"));
    }
    let pods = cluster.kubectl(&format!("-n {SYSTEM} get pods -o name")).await.unwrap_or_default();
    for pod in pods.lines() {
        let args = format!("-n {SYSTEM} logs {pod} --tail=25 --all-containers");
        let log = cluster.kubectl(&args).await.unwrap_or_else(|error| error.to_string());
        text.push_str(&format!("--- {pod}\n{log}"));
    }
    text
}
