//! Asks a controller for its rows, or a proxy: over plain HTTP on this machine, or through a port-forward of the user's
//! kubeconfig.

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use evenkeel_api::labels;
use evenkeel_controller::admin::List;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use std::{ffi::OsString, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::args::{Cluster, Server};

/// Address of `evenkeel local` unless told otherwise.
pub const LOCAL: &str = "http://127.0.0.1:9090";
/// Address of the proxy of `evenkeel local` unless told otherwise.
pub const LOCAL_PROXY: &str = "http://127.0.0.1:9091";
/// Port of the controller's admin pages in its pod.
const ADMIN_PORT: u16 = 9090;
/// Port of a proxy's admin page in its pod.
const PROXY_PORT: u16 = 9091;
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
        match address(server.server.as_ref(), &server.cluster, LOCAL) {
            Some(address) => over_tcp(&address, &path).await,
            None => {
                let client = client(&server.cluster).await?;
                let pod = leader(&client, &server.cluster.install).await?;
                over_cluster(&client, &server.cluster.install, &pod, ADMIN_PORT, &path).await
            }
        }
    };
    let (status, body) =
        tokio::time::timeout(TIMEOUT, asked).await.context("the controller does not answer")??;
    if status != StatusCode::OK {
        bail!("the controller answered {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    read(&body)
}

/// What a proxy says at `path` of its admin page: of the cluster's proxies the one called `proxy`, or the first that
/// does not say 404.
///
/// # Errors
/// If no proxy answers, with what to do about it, or what it says is no success.
pub async fn of_proxy<T: DeserializeOwned>(
    server: Option<&String>,
    cluster: &Cluster,
    proxy: Option<&str>,
    path: &str,
) -> anyhow::Result<T> {
    let asked = async {
        match address(server, cluster, LOCAL_PROXY) {
            Some(address) => over_tcp(&address, path).await,
            None => of_proxies(cluster, proxy, path).await,
        }
    };
    let (status, body) =
        tokio::time::timeout(TIMEOUT, asked).await.context("the proxy does not answer")??;
    if status != StatusCode::OK {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    read(&body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body)
        .context("the answer is not what this version understands: are both of one version?")
}

/// Where to ask without a cluster; `None` if there is a kubeconfig and no address was given.
fn address(server: Option<&String>, cluster: &Cluster, local: &str) -> Option<String> {
    if let Some(address) = server {
        return Some(address.clone());
    }
    let cluster = cluster.context.is_some()
        || cluster.kubeconfig.is_some()
        || has_kubeconfig(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    (!cluster).then(|| local.to_owned())
}

/// Whether the environment names a cluster, or the user has one of old.
fn has_kubeconfig(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let home = variable("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    variable("KUBECONFIG").is_some() || home.is_some_and(|file| file.exists())
}

async fn over_tcp(address: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let stream = TcpStream::connect(host).await.with_context(|| {
        format!("nothing answers at {address}: start `evenkeel local`, or name a cluster with --kubeconfig")
    })?;
    get(stream, host, path).await
}

async fn of_proxies(
    cluster: &Cluster,
    proxy: Option<&str>,
    path: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (client, install) = (client(cluster).await?, &cluster.install);
    let mut names = Vec::new();
    match proxy {
        Some(name) => names.push(name.to_owned()),
        None => {
            let pods: Api<Pod> = Api::namespaced(client.clone(), install);
            let selected = ListParams::default().labels(labels::PROXY_CLASS);
            names.extend(
                pods.list(&selected).await.context("cannot list pods")?.iter().map(ResourceExt::name_any),
            );
        }
    }
    let mut last = None;
    for name in names {
        let answered = over_cluster(&client, install, &name, PROXY_PORT, path).await;
        let found = answered.as_ref().is_ok_and(|(status, _)| *status != StatusCode::NOT_FOUND);
        last = Some(answered);
        if found {
            break;
        }
    }
    last.unwrap_or_else(|| {
        bail!("no proxies in namespace {install}: install Evenkeel, or name its namespace with --install")
    })
}

async fn over_cluster(
    client: &Client,
    install: &str,
    pod: &str,
    port: u16,
    path: &str,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), install);
    if pods.get_opt(pod).await.context("cannot read pods")?.is_none() {
        bail!("pod {install}/{pod} is gone, and with it what it knew: try again in a few seconds");
    }
    let mut forward = pods
        .portforward(pod, &[port])
        .await
        .with_context(|| format!("cannot forward a port to pod {install}/{pod}"))?;
    let stream = forward.take_stream(port).ok_or_else(|| anyhow!("the port-forward has no stream"))?;
    get(stream, "localhost", path).await
}

async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let config = match &cluster.kubeconfig {
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
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("the connection broke")?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
    connection.abort();
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_looked_for_where_kubectl_does() {
        let check = |set: &[(&str, &str)], expect: bool| {
            let variable = |name: &str| set.iter().find(|(of, _)| *of == name).map(|(_, value)| value.into());
            assert_eq!(has_kubeconfig(variable), expect, "{set:?}");
        };
        check(&[], false);
        check(&[("HOME", "/nowhere")], false);
        check(&[("HOME", "/nowhere"), ("KUBECONFIG", "/tmp/kubeconfig")], true);
    }
}
