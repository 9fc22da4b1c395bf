//! End-to-end tests on a real cluster: `run` goes through the scenarios, `load` is the client that one of them runs in
//! a pod.
//!
//! They take a KUBECONFIG, and where clusters differ (a signal to a container, a node that dies) the commands of
//! hack/cluster.sh. Scenarios share one install and run one after the other. They wait for conditions, and count every
//! request that their load sends: a failure is listed with its time and cause.

mod load;
mod pools;

mod scenario;
mod suite;

use clap::{Parser, Subcommand};
use evenkeel_e2e::{cluster, fetch, leader, proxies, wait};

/// End-to-end tests of Evenkeel.
#[derive(Debug, Parser)]
#[command(name = "evenkeel-e2e", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the scenarios against the cluster of KUBECONFIG, on which nothing of Evenkeel is installed yet.
    Run(suite::RunArgs),
    /// Sends load to one address until it is told to stop, and shows what came of it at GET /.
    Load(load::pod::LoadArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Run(args) => suite::run(args).await,
        Command::Load(args) => load::pod::run(args).await,
    }
}
