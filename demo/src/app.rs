//! The program: from flags to the end of the last request.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time;

use crate::args::Args;
use crate::behaviour::Behaviour;
use crate::door::bind;
use crate::endpoint::{Endpoint, Identity};
use crate::name::Name;
use crate::server::{Listeners, serve};

/// Serves until `shutdown` completes and what is open then is answered, or the grace is over.
///
/// # Errors
/// Where the flags are out of range, or an address cannot be listened on.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let behaviour = Behaviour::try_from(args.behaviour)?;
    let name = args.name.unwrap_or_else(Name::of_machine);
    let public = bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let admin = args
        .admin_listen
        .map(|addr| bind(addr).with_context(|| format!("cannot listen on {addr}")))
        .transpose()?;
    tracing::info!(%name, addr = %public.local_addr()?, ?behaviour, "serving");
    let endpoint = Endpoint::new(Identity { name, seed: args.seed }, behaviour)?;
    let grace = async {
        shutdown.await;
        args.shutdown_grace
    };
    serve(Listeners { public, admin }, endpoint, grace).await?;
    Ok(())
}

/// Completes `delay` after SIGTERM, or at SIGINT, which is a person's and does not wait.
///
/// # Errors
/// Where signals cannot be caught.
pub fn stop_signal(delay: Duration) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    Ok(async move {
        let delayed = async {
            terminate.recv().await;
            tracing::info!(delay_seconds = delay.as_secs_f64(), "told to stop, accepting for a while yet");
            time::sleep(delay).await;
        };
        tokio::select! {
            () = delayed => {}
            _ = interrupt.recv() => {}
        }
    })
}
