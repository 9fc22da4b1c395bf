//! Asks a controller for its rows: over plain HTTP on this machine, or through a port-forward of the user's kubeconfig.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use evenkeel_api::labels;
use evenkeel_controller::admin::List;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::args::Server;

/// Address of `evenkeel local` unless told otherwise.
pub const LOCAL: &str = "http://127.0.0.1:9090";
/// Port of the controller's admin pages in its pod.
const ADMIN_PORT: u16 = 9090;
/// Largest answer that is read.
const MAX_BYTES: usize = 256 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Rows of `/api/v1/{kind}`.
///
/// # Errors
/// If no controller answers, with what to do about it.
pub async fn rows<T: DeserializeOwned>(server: &Server, kind: &str) -> anyhow::Result<List<T>> {
    let path = format!("/api/v1/{kind}");
    let asked = async {
        match address(server) {
            Some(address) => over_tcp(&address, &path).await,
            None => over_cluster(server, &path).await,
        }
    };
    let text = tokio::time::timeout(TIMEOUT, asked).await.context("the controller does not answer")??;
    serde_json::from_slice(&text)
        .context("the answer is not what this version understands: are both of one version?")
}

/// Where to ask without a cluster; `None` if there is a kubeconfig and no address was given.
fn address(server: &Server) -> Option<String> {
    if let Some(address) = &server.server {
        return Some(address.clone());
    }
    let home = std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".kube/config"));
    let cluster =
        server.context.is_some() || server.kubeconfig.is_some() || home.is_some_and(|file| file.exists());
    (!cluster).then(|| LOCAL.to_owned())
}

async fn over_tcp(address: &str, path: &str) -> anyhow::Result<Bytes> {
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let stream = TcpStream::connect(host).await.with_context(|| {
        format!("nothing answers at {address}: start `evenkeel local`, or name a cluster with --kubeconfig")
    })?;
    get(stream, host, path).await
}

async fn over_cluster(server: &Server, path: &str) -> anyhow::Result<Bytes> {
    let client = client(server).await?;
    let pod = leader(&client, &server.install).await?;
    let pods: Api<Pod> = Api::namespaced(client, &server.install);
    if pods.get_opt(&pod).await.context("cannot read pods")?.is_none() {
        bail!(
            "pod {}/{pod}, which led last, is gone and no other leads yet: try again in a few seconds",
            server.install
        );
    }
    let mut forward = pods
        .portforward(&pod, &[ADMIN_PORT])
        .await
        .with_context(|| format!("cannot forward a port to pod {}/{pod}", server.install))?;
    let stream = forward.take_stream(ADMIN_PORT).ok_or_else(|| anyhow!("the port-forward has no stream"))?;
    get(stream, "localhost", path).await
}

async fn client(server: &Server) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: server.context.clone(), ..KubeConfigOptions::default() };
    let config = match &server.kubeconfig {
        Some(file) => {
            let config =
                Kubeconfig::read_from(file).with_context(|| format!("cannot read {}", file.display()))?;
            Config::from_custom_kubeconfig(config, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    Ok(Client::try_from(config.context("the kubeconfig cannot be used")?)?)
}

/// Name of the pod that leads: only the leader hears of the proxies.
async fn leader(client: &Client, install: &str) -> anyhow::Result<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), install);
    let lease = leases
        .get_opt(labels::CONTROLLER)
        .await
        .with_context(|| format!("cannot read the Lease {install}/{}", labels::CONTROLLER))?
        .ok_or_else(|| {
            anyhow!("no Evenkeel in namespace {install}: install it, or name its namespace with --install")
        })?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    match holder.split_once('_') {
        Some((pod, _)) => Ok(pod.to_owned()),
        None => bail!("no controller leads at the moment: look at the pods of namespace {install}"),
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    path: &str,
) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("the connection broke")?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
    connection.abort();
    let body = body.to_bytes();
    if status != StatusCode::OK {
        bail!("the controller answered {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}
