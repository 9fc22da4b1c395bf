//! Benchmarks on a cluster that has Evenkeel and nothing else on it. Each prints its figures, and removes what it made.
//!
//! They judge nothing, and no test runs them: a figure is of one machine on one day. `run.sh` makes the cluster, and
//! README.md says how to read what they print.

mod backend;
mod distribution;
mod process;
mod settled;

mod propagation;

mod controller;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use evenkeel_e2e::cluster::Cluster;

/// Benchmarks of Evenkeel, on the cluster of KUBECONFIG.
#[derive(Debug, Parser)]
#[command(name = "evenkeel-bench", version)]
struct Args {
    /// The checkout, with its hack/cluster.sh.
    #[arg(long, default_value = ".", global = true)]
    root: PathBuf,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// From a change of endpoints to the first request that the slowest proxy routes by it.
    Propagation(propagation::Args),
    /// Memory and processor time of the controller that leads, for changes of endpoints.
    Controller(controller::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { root, benchmark } = Args::parse();
    let root = root.canonicalize().with_context(|| format!("no folder {}", root.display()))?;
    let cluster = Cluster::connect(root).await?;
    match benchmark {
        Benchmark::Propagation(args) => propagation::run(&cluster, &args).await,
        Benchmark::Controller(args) => controller::run(&cluster, &args).await,
    }
}
