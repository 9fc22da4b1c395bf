//! `evenkeel local`: a controller that reads files and a proxy, in one process, with the status that a cluster would
//! show.
//!
//! The config channel is the same, but for the network: the publisher calls the proxy's handler.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::Context;
use bytes::Bytes;
use evenkeel_controller::{
    admin::{Admin, Gather},
    compile::{Listens, Mode},
    core::Core,
    effect::Effect,
    election::{Fence, Leadership},
    engine::{CarryOut, Connections, Engine},
    event::Event,
    metrics::Metrics,
    publish::{Dial, PublishMetrics, Publisher, Transport, TransportError, Versions},
    published,
    source::{EVENT_QUEUE, files},
};
use evenkeel_proxy::{
    Drain, Plane, Proxy, ProxyConfig, Readiness, SharedPort, admin as proxy_admin,
    app::stop_signal,
    control::{self, Control, ControlMetrics},
};
use evenkeel_tls::Role;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::args::Local;

/// Answers and questions that wait at most.
const QUEUE: usize = 256;
/// The name of the one proxy.
const PROXY: &str = "local";
/// The one leadership.
const EPOCH: u64 = 1;

/// Serves the pools of a folder until Ctrl-C or SIGTERM.
///
/// # Errors
/// If the folder cannot be read, or a port is taken.
pub async fn run(args: Local) -> anyhow::Result<ExitCode> {
    readable(&args.folder)?;
    start_log();
    let (admin_listener, explanations) = admin_ports(&args).await?;
    let proxy = Arc::new(Proxy::start(config(&args)?)?);
    let control =
        Control::new(proxy.plane().clone(), 0, ControlMetrics::register(proxy.metrics().registry())?);
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_up(Arc::clone(&control), Arc::clone(proxy.readiness())));

    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    events.send(Event::Proxy(proxy_of_this_process())).await.context("the core has ended")?;
    let (told, told_receiver) = mpsc::channel(QUEUE);
    let (asked, questions) = mpsc::channel(QUEUE);
    let (synced, synced_receiver) = watch::channel(false);
    let (problem_sender, file_problems) = watch::channel(Vec::new());
    let (problems, problem_lines) = watch::channel(Vec::new());
    let folder = args.folder.clone();
    let mut watching = tokio::spawn(async move { files::watch(&folder, events, problem_sender).await });
    tasks.spawn(lines(file_problems, problems));
    tasks.spawn(proxy_admin::serve_explanations(Arc::clone(&proxy), explanations));

    let metrics = Metrics::new()?;
    let versions = Versions::default();
    let publish_metrics = PublishMetrics::register(metrics.registry())?;
    let publisher = Publisher::new(Arc::new(InProcess(control)), versions.clone(), told, publish_metrics);
    let (_nobody_writes, verdicts) = mpsc::channel(1);
    let (_leads, leadership) = watch::channel(Leadership::Leader { epoch: EPOCH, fence: Fence::unlimited() });
    let gathering = Arc::clone(&proxy);
    let others: Gather = Arc::new(move || gathering.gather());
    let admin =
        Admin { metrics: metrics.clone(), synced: synced_receiver, questions: asked, others: Some(others) };
    tasks.spawn(async move { admin.serve(admin_listener, std::future::pending()).await.unwrap_or_default() });

    info!(folder = %args.folder.display(), admin = %args.admin, "serving; edit the files to change anything");
    let connections = Connections {
        events: event_receiver,
        told: told_receiver,
        questions,
        leadership,
        elector: None,
        versions,
        publisher,
        writer: Box::new(NoWriter),
        verdicts,
        metrics,
        synced,
        problems: problem_lines,
    };
    let stop = stop_signal()?;
    let engine = Engine::new(Core::new(Mode::Files(listens(&args)?)), connections);
    tokio::select! {
        () = engine.run(stop) => {}
        ended = &mut watching => {
            ended.context("the watch of the folder broke")?.with_context(|| format!("cannot watch {}", args.folder.display()))?;
        }
    }
    info!("finishing what is open; once more Ctrl-C ends at once");
    let drain = proxy.drain(Drain { accept: std::time::Duration::ZERO, grace: args.grace.into() });
    let again = stop_signal()?;
    tokio::select! {
        () = drain => {}
        () = again => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Says when the proxy is ready, and tries again what it has refused.
async fn keep_up(control: Arc<Control<Plane>>, readiness: Arc<Readiness>) {
    control.ready().await;
    readiness.set_configured();
    control::retry(&control).await;
}

async fn admin_ports(args: &Local) -> anyhow::Result<(TcpListener, TcpListener)> {
    let taken =
        |address: SocketAddr, flag: &str| format!("cannot listen on {address}: {flag} names another address");
    let admin = TcpListener::bind(args.admin).await.with_context(|| taken(args.admin, "--admin"))?;
    let proxy_admin = proxy_admin::bind(args.proxy_admin);
    Ok((admin, proxy_admin.with_context(|| taken(args.proxy_admin, "--proxy-admin"))?))
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
}

fn readable(folder: &Path) -> anyhow::Result<()> {
    let help =
        || format!("cannot read the folder {}: name one with YAML files of BalancerPools", folder.display());
    std::fs::read_dir(folder).with_context(help)?;
    Ok(())
}

/// Where this process listens: no endpoint may lead back to it. Addresses that the machine gets later are not known.
fn listens(args: &Local) -> anyhow::Result<Listens> {
    let expand = |ip: IpAddr| -> anyhow::Result<BTreeSet<IpAddr>> {
        if !ip.is_unspecified() {
            return Ok([ip].into());
        }
        let interfaces = if_addrs::get_if_addrs().context("cannot tell the addresses of this machine")?;
        Ok(interfaces.iter().map(|interface| interface.ip()).collect())
    };
    let addresses = expand(args.bind)?;
    let shared = addresses.iter().map(|ip| SocketAddr::new(*ip, args.shared_port));
    let admin = expand(args.admin.ip())?.into_iter().map(|ip| SocketAddr::new(ip, args.admin.port()));
    Ok(Listens { sockets: shared.chain(admin).chain([args.proxy_admin]).collect(), addresses })
}

fn config(args: &Local) -> anyhow::Result<ProxyConfig> {
    let threads = match args.threads {
        Some(threads) => threads,
        None => thread::available_parallelism().context("cannot tell the number of cores: give --threads")?,
    };
    Ok(ProxyConfig {
        name: Some(PROXY.to_owned()),
        threads,
        address: args.bind,
        shared_port: SharedPort::WhenNamed(args.shared_port),
        endpoint_metrics: true,
        memory_limit: None,
    })
}

fn proxy_of_this_process() -> published::Proxy {
    published::Proxy {
        id: PROXY.to_owned(),
        class: "default".to_owned(),
        name: PROXY.to_owned(),
        node: None,
        zone: None,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        serving: true,
        terminating: false,
    }
}

/// What is wrong with files, as lines to show.
async fn lines(mut found: watch::Receiver<Vec<files::FileProblem>>, lines: watch::Sender<Vec<String>>) {
    while found.changed().await.is_ok() {
        let shown = found.borrow_and_update().iter().map(ToString::to_string).collect();
        lines.send_replace(shown);
    }
}

/// Statuses are shown by the core itself, and there is nothing else to write to.
struct NoWriter;

impl CarryOut for NoWriter {
    fn carry_out(&self, _: &Fence, _: Vec<Effect>) {}
}

/// The config channel without the network.
struct InProcess(Arc<Control<Plane>>);

impl Dial for InProcess {
    fn dial(&self, _: &published::Proxy) -> Box<dyn Transport> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

impl Transport for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let (parts, body) = request.into_parts();
        let control = Arc::clone(&self.0);
        async move { Ok(control.answer(&parts, body, Some(&Role::Controller)).await) }.boxed()
    }
}
