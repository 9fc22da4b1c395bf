//! The program: from flags to the end of the last connection.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    thread,
};

use anyhow::Context as _;
use clap::Parser;
use evenkeel_api::Duration;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    admin,
    control::{self, ChannelArgs},
    drain::Drain,
    plane::SharedPort,
    proxy::{Proxy, ProxyConfig},
};

/// The data plane of Evenkeel: carries the traffic of pools to their endpoints.
#[derive(Clone, Debug, Parser)]
#[command(name = "evenkeel-proxy", version)]
pub struct Args {
    /// The name by which controllers know this proxy: that of its pod. By it a proxy finds its zone.
    #[arg(long, env = "EVENKEEL_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// Threads that serve [default: one for each core].
    #[arg(long, env = "EVENKEEL_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Where the ports of pools are bound; :: takes IPv4 too, and is 0.0.0.0 where there is no IPv6.
    #[arg(long, value_name = "IP", default_value = "::")]
    pub bind: IpAddr,
    /// The port where host names select the pool.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub shared_port: u16,
    /// Where probes and metrics are served.
    #[arg(long, value_name = "ADDR", default_value = "[::]:9090")]
    pub health_bind: SocketAddr,
    /// Where it explains what would become of a request; an address of loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091", value_parser = admin::loopback)]
    pub admin: SocketAddr,
    /// On SIGTERM, how long to accept new connections yet.
    #[arg(long, value_name = "TIME", default_value = "15s")]
    pub drain_accept: Duration,
    /// Thereafter, how long open connections have to end.
    #[arg(long, value_name = "TIME", default_value = "45s")]
    pub drain_grace: Duration,
    /// Do not show metrics of single endpoints.
    #[arg(long)]
    pub no_endpoint_metrics: bool,
    /// How log lines look.
    #[arg(long, env = "EVENKEEL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// The config channel.
    #[command(flatten)]
    pub channel: ChannelArgs,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Serves until `shutdown` completes, then drains.
///
/// # Errors
/// Where the flags cannot be met: a port is taken, no threads.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let threads = match args.threads {
        Some(threads) => threads,
        None => thread::available_parallelism().context("cannot tell the number of cores, set --threads")?,
    };
    let config = ProxyConfig {
        name: args.name,
        threads,
        address: args.bind,
        shared_port: SharedPort::Always(args.shared_port),
        endpoint_metrics: !args.no_endpoint_metrics,
        memory_limit: None,
    };
    let probes = admin::bind(args.health_bind)
        .with_context(|| format!("cannot bind {}, choose another by --health-bind", args.health_bind))?;
    let explanations = admin::bind(args.admin)
        .with_context(|| format!("cannot bind {}, choose another by --admin", args.admin))?;
    let proxy = Arc::new(Proxy::start(config)?);
    let probes = tokio::spawn(admin::serve(Arc::clone(&proxy), probes));
    let explanations = tokio::spawn(admin::serve_explanations(Arc::clone(&proxy), explanations));
    let (control, _channel) =
        control::start(&args.channel, proxy.plane().clone(), proxy.metrics().registry())?;
    let readiness = Arc::clone(proxy.readiness());
    tokio::spawn(async move {
        control.ready().await;
        readiness.set_configured();
    });
    tracing::info!(%threads, shared_port = args.shared_port, health = %args.health_bind, "serving");
    shutdown.await;
    proxy.drain(Drain { accept: args.drain_accept.into(), grace: args.drain_grace.into() }).await;
    probes.abort();
    explanations.abort();
    Ok(())
}

/// Completes at SIGTERM, at SIGINT, or at SIGHUP, which a terminal sends that is closed; not where that is ignored
/// (nohup).
///
/// # Errors
/// Where signals cannot be caught.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let mut hangup = match ignores_hangup() {
        false => Some(signal(SignalKind::hangup()).context("cannot catch SIGHUP")?),
        true => None,
    };
    Ok(async move {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Whether this process was started so that SIGHUP does nothing (proc_pid_status(5): bit 0 of `SigIgn`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
        let args = Args::parse_from(["evenkeel-proxy"]);
        assert_eq!((args.drain_accept, args.drain_grace), (Duration::from_secs(15), Duration::from_secs(45)));
        assert!(Args::try_parse_from(["evenkeel-proxy", "--admin=0.0.0.0:9091"]).is_err());
    }
}
