//! The load as a program of its own, in a pod: for scenarios in which the way from the tests to Services may break.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, signal::unix};

use super::{Load, Plan, counts::Counts};

/// Where to, how much, and where the counts are shown.
#[derive(Clone, Debug, Parser)]
pub(crate) struct LoadArgs {
    /// Address and port.
    #[arg(long)]
    target: SocketAddr,
    /// Requests a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Milliseconds for a request.
    #[arg(long, default_value_t = 5000)]
    timeout_ms: u64,
    /// Where GET shows the counts as JSON.
    #[arg(long, default_value = "0.0.0.0:8090")]
    listen: SocketAddr,
}

/// What GET shows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Time since the beginning.
    pub(crate) now: Duration,
    /// What came of it.
    pub(crate) counts: Counts,
}

/// Sends load until SIGTERM.
///
/// # Errors
/// If it cannot listen.
pub(crate) async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    let mut terminated = unix::signal(unix::SignalKind::terminate())?;
    let plan =
        Plan { address: args.target, rate: args.rate, timeout: Duration::from_millis(args.timeout_ms) };
    let load = Arc::new(Load::start(plan));
    loop {
        let (stream, _) = tokio::select! {
            _ = terminated.recv() => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        let load = Arc::clone(&load);
        tokio::spawn(async move {
            let service = service_fn(|_| async { Ok::<_, Infallible>(show(&load)) });
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn show(load: &Load) -> Response<Full<Bytes>> {
    let shown = Shown { now: load.now(), counts: load.counts() };
    Response::new(Full::new(serde_json::to_vec(&shown).unwrap_or_default().into()))
}
