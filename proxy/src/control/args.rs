//! The flags of the channel, and its start.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use evenkeel_tls::{Identity, IdentityError, Role, bind};
use prometheus::Registry;
use tokio::task::JoinSet;

use super::{
    Activate, Control, ControlMetrics, ControllerUrl, Puller, boot, keep, limits::LAST_GOOD_LIFE, serve,
};
use crate::last_good::LastGood;

/// Flags of the config channel.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Config channel")]
pub struct ChannelArgs {
    /// Folder with tls.crt, tls.key and ca.crt; changes are picked up
    #[arg(long, env = "EVENKEEL_TLS_DIR", default_value = "/etc/evenkeel/tls")]
    pub tls_dir: PathBuf,
    /// Install that the certificates are of: the namespace of the controller
    #[arg(long, env = "EVENKEEL_INSTALL", default_value = "evenkeel-system")]
    pub install: String,
    /// Class that this proxy serves
    #[arg(long, env = "EVENKEEL_CLASS", default_value = "default")]
    pub class: String,
    /// Where to ask for a snapshot at the start, as https://host:port; without it a push is awaited
    #[arg(long, env = "EVENKEEL_CONTROLLER_URL")]
    pub controller_url: Option<ControllerUrl>,
    /// Folder for the last good snapshot, which should outlive the container and not the pod
    #[arg(long, env = "EVENKEEL_STATE_DIR", default_value = "/var/lib/evenkeel")]
    pub state_dir: PathBuf,
    /// Address of the config channel
    #[arg(long, env = "EVENKEEL_CONFIG_LISTEN", default_value = "[::]:9443")]
    pub config_listen: SocketAddr,
}

/// Why the channel does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity of somebody else.
    #[error("tls.crt is for {found:?}, this proxy is of class {class}; give it the Secret of its class")]
    WrongRole {
        /// The class of the flags.
        class: String,
        /// The role of the certificate.
        found: Role,
    },
    /// The address cannot be had.
    #[error("cannot listen on {0}: {1}; --config-listen names another address")]
    Listen(SocketAddr, io::Error),
    /// A name of a metric is taken.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Starts the channel in front of `plane`: serves it, boots, and keeps the state. It ends with the `JoinSet`.
///
/// # Errors
/// If the certificates, the address or the names of the metrics cannot be used.
pub fn start<A: Activate>(
    args: &ChannelArgs,
    plane: A,
    registry: &Registry,
) -> Result<(Arc<Control<A>>, JoinSet<()>), StartError> {
    let identity = Arc::new(Identity::load(&args.tls_dir, &args.install)?);
    if identity.role() != (Role::Proxy { class: args.class.clone() }) {
        return Err(StartError::WrongRole { class: args.class.clone(), found: identity.role() });
    }
    let listener = bind(args.config_listen).map_err(|error| StartError::Listen(args.config_listen, error))?;
    let last_good = LastGood::new(&args.state_dir);
    let kept = last_good.load(SystemTime::now(), LAST_GOOD_LIFE).unwrap_or_else(|error| {
        tracing::warn!(%error, "the last good state is not used");
        None
    });
    let fence = kept.as_ref().map_or(0, |kept| kept.fence);
    let control = Control::new(plane, fence, ControlMetrics::register(registry)?);
    let puller = args.controller_url.clone().map(|url| Puller::new(url, identity.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(boot(control.clone(), puller, kept));
    tasks.spawn(keep(control.clone(), last_good));
    tasks.spawn(serve(control.clone(), listener, identity.clone(), std::future::pending()));
    tasks.spawn(async move { identity.follow().await });
    Ok((control, tasks))
}
