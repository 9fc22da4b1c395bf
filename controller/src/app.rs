//! The program: from flags to handing the Lease over.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Parser;
use evenkeel_tls::Identity;
use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::info;

use crate::{
    admin::Admin,
    certificates::Certificates,
    compile::Mode,
    core::Core,
    effect::Effect,
    election::{Election, Fence, LeaseApi, identity},
    engine::{CarryOut, Connections, Engine},
    metrics::Metrics,
    publish::{MutualTls, PublishMetrics, Publisher, Versions},
    pull,
    source::{EVENT_QUEUE, kubernetes},
    write::Writer,
};

/// Answers of proxies that wait for the core at most; a publishing task that is faster waits.
const ANSWER_QUEUE: usize = 1024;
/// Questions of the admin pages that wait at most.
const QUESTIONS: usize = 16;
/// How long a stopping controller waits for what it is writing.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// How long the controller may take to hand the Lease over.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The control plane of Evenkeel: watches pools and endpoints, and brings them to the proxies.
#[derive(Clone, Debug, Parser)]
#[command(name = "evenkeel-controller", version)]
pub struct Args {
    /// Namespace of the controller and the proxies; also the name of the install in certificates.
    #[arg(long, env = "POD_NAMESPACE", default_value = "evenkeel-system")]
    pub install: String,
    /// Name of this pod, for the Lease.
    #[arg(long, env = "POD_NAME", default_value = "evenkeel-controller")]
    pub pod_name: String,
    /// DNS suffix of the cluster.
    #[arg(long, env = "EVENKEEL_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Classes for whose proxies certificates are made.
    #[arg(long = "class", env = "EVENKEEL_CLASSES", value_delimiter = ',', default_value = "default")]
    pub classes: Vec<String>,
    /// Where probes, metrics and lists are served, in plain text and read-only.
    #[arg(long, value_name = "ADDR", default_value = "[::]:9090")]
    pub admin_listen: SocketAddr,
    /// Where proxies pull their first snapshot, over mutual TLS.
    #[arg(long, value_name = "ADDR", default_value = "[::]:9443")]
    pub config_listen: SocketAddr,
    /// How log lines look.
    #[arg(long, env = "EVENKEEL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For people.
    Text,
}

impl CarryOut for Writer {
    fn carry_out(&self, fence: &Fence, effects: Vec<Effect>) {
        self.submit(fence, effects);
    }
}

/// Controls until `shutdown` completes, then hands over.
///
/// # Errors
/// Where there is no API server to talk to, no certificate, or a port is taken.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client =
        Client::try_default().await.context("cannot find the API server: run in a pod, or set KUBECONFIG")?;
    let metrics = Metrics::new()?;
    let publish_metrics = PublishMetrics::register(metrics.registry())?;
    let admin_listener = evenkeel_tls::bind(args.admin_listen).with_context(|| {
        format!("cannot listen on {}: --admin-listen names another address", args.admin_listen)
    })?;
    let config_listener = evenkeel_tls::bind(args.config_listen).with_context(|| {
        format!("cannot listen on {}: --config-listen names another address", args.config_listen)
    })?;

    let mut tasks = JoinSet::new();
    let (synced, synced_receiver) = watch::channel(false);
    let (asked, questions) = mpsc::channel(QUESTIONS);
    let admin = Admin { metrics: metrics.clone(), synced: synced_receiver, questions: asked, others: None };
    tasks.spawn(async move { admin.serve(admin_listener, std::future::pending()).await.unwrap_or_default() });

    let own = own_identity(&client, &args, &mut tasks).await?;
    let versions = Versions::default();
    tasks.spawn(pull::serve(config_listener, Arc::clone(&own), versions.clone(), std::future::pending()));

    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    tasks.spawn(kubernetes::run(client.clone(), args.install.clone(), events, metrics.source.clone()));
    let (told, told_receiver) = mpsc::channel(ANSWER_QUEUE);
    let publisher = Publisher::new(Arc::new(MutualTls::new(own)), versions.clone(), told, publish_metrics);
    let (writer, writer_task, verdicts) = Writer::new(client.clone(), metrics.writes.clone());
    tasks.spawn(writer_task.run());

    let leases = LeaseApi::new(client, &args.install);
    let (elector, election) = Election::new(leases, identity(&args.pod_name), metrics.leader.clone());
    let (resign, resigned) = oneshot::channel::<()>();
    let election = tokio::spawn(election.run(async move { drop(resigned.await) }));

    let mode =
        Mode::Kubernetes { namespace: args.install.clone(), cluster_domain: args.cluster_domain.clone() };
    let (_no_problems, problems) = watch::channel(Vec::new());
    let engine = Engine::new(
        Core::new(mode),
        Connections {
            events: event_receiver,
            told: told_receiver,
            questions,
            leadership: elector.leadership(),
            elector: Some(elector),
            versions,
            publisher,
            writer: Box::new(writer.clone()),
            verdicts,
            metrics,
            synced,
            problems,
        },
    );
    info!(install = args.install, pod = args.pod_name, "controlling");
    engine.run(shutdown).await;
    // What is being written may end, then the next one may begin.
    _ = timeout(LAST_WRITES, writer.idle()).await;
    drop(resign);
    _ = timeout(HAND_OVER, election).await;
    info!("stopped");
    Ok(())
}

/// The controller's certificate, made if there is none, and kept fresh from then on together with the proxies'.
async fn own_identity(
    client: &Client,
    args: &Args,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Arc<Identity>> {
    let certificates = Certificates::new(client.clone(), &args.install);
    let classes: BTreeSet<_> = args.classes.iter().cloned().collect();
    let files = certificates.ensure(&classes, SystemTime::now()).await?;
    let own = Arc::new(Identity::new(files, &args.install)?);
    let kept = Arc::clone(&own);
    tasks.spawn(async move {
        let (_fixed, classes) = watch::channel(classes);
        certificates.run(classes, &kept).await;
    });
    Ok(own)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }
}
