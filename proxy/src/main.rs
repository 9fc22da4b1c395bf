//! `evenkeel-proxy`, the data plane.

use std::{io, io::IsTerminal as _, panic};

use clap::Parser as _;
use evenkeel_proxy::app::{self, Args, LogFormat};
use tracing_subscriber::EnvFilter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.log_format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
    }
    panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    let shutdown = app::stop_signal()?;
    app::run(args, shutdown).await
}
