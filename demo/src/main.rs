//! `evenkeel-demo`, an endpoint to balance over.

use std::io::{self, IsTerminal};

use clap::Parser;
use evenkeel_demo::app;
use evenkeel_demo::args::Args;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(io::stderr).init();
    let shutdown = app::stop_signal(args.shutdown_delay)?;
    app::run(args, shutdown).await
}
