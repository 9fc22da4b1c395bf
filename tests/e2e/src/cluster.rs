//! The cluster as tests and benchmarks see it: its API, and the commands of hack/cluster.sh.

use std::{env, ffi::OsStr, path::PathBuf, process::Stdio};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Namespace that Evenkeel is installed into.
pub const SYSTEM: &str = "evenkeel-system";

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    /// Its API.
    pub client: Client,
    root: PathBuf,
}

impl Cluster {
    /// The cluster of KUBECONFIG; `root` is the checkout.
    ///
    /// # Errors
    /// If KUBECONFIG names none.
    pub async fn connect(root: PathBuf) -> anyhow::Result<Self> {
        let client = Client::try_default().await.context("cannot reach the cluster: set KUBECONFIG")?;
        Ok(Self { client, root })
    }

    /// Runs a command of hack/cluster.sh and gives what it prints.
    ///
    /// # Errors
    /// If it fails: with what it says.
    pub async fn hack<A: AsRef<OsStr>>(&self, args: &[A]) -> anyhow::Result<String> {
        output(Command::new(self.root.join("hack/cluster.sh")).args(args), "").await
    }

    /// Runs kubectl and gives what it prints.
    ///
    /// # Errors
    /// If it fails: with what it says.
    pub async fn kubectl(&self, args: &str) -> anyhow::Result<String> {
        self.kubectl_with(args, "").await
    }

    /// Runs kubectl with `input`.
    ///
    /// # Errors
    /// If it fails: with what it says.
    pub async fn kubectl_with(&self, args: &str, input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.root.join("hack/cluster.sh"));
        output(command.arg("kubectl").args(args.split_whitespace()), input).await
    }

    /// Applies manifests as a user does, strictly validated.
    ///
    /// # Errors
    /// If they are refused.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        self.kubectl_with("apply --server-side --force-conflicts -f -", manifests).await.map(drop)
    }

    /// Runs helm, whose program HELM names.
    ///
    /// # Errors
    /// If it fails: with what it says.
    pub async fn helm(&self, args: &[&str]) -> anyhow::Result<String> {
        let helm = env::var_os("HELM").unwrap_or_else(|| "helm".into());
        output(Command::new(helm).args(args).current_dir(&self.root), "").await
    }

    /// Runs the command line, whose program EVENKEEL names, and gives what it prints. It reaches pods as its users do,
    /// by port-forward.
    ///
    /// # Errors
    /// If it fails: with what it says.
    pub async fn evenkeel(&self, args: &[&str]) -> anyhow::Result<String> {
        let evenkeel = env::var_os("EVENKEEL").unwrap_or_else(|| "evenkeel".into());
        output(Command::new(evenkeel).args(args), "").await
    }

    /// Sends a signal to the main process of a container.
    ///
    /// # Errors
    /// If there is no such container.
    pub async fn signal(&self, pod: &str, signal: &str, container: &str) -> anyhow::Result<()> {
        self.hack(&["signal", &format!("{SYSTEM}/{pod}"), signal, container]).await.map(drop)
    }

    /// Pods.
    #[must_use]
    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Services.
    #[must_use]
    pub fn services(&self, namespace: &str) -> Api<Service> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// EndpointSlices.
    #[must_use]
    pub fn slices(&self, namespace: &str) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Deployments.
    #[must_use]
    pub fn deployments(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The Deployment in our namespace that runs the image `program`.
    ///
    /// # Errors
    /// If there is none.
    pub async fn deployment_of(&self, program: &str) -> anyhow::Result<Deployment> {
        let all = self.deployments(SYSTEM).list(&ListParams::default()).await?;
        let runs = |deployment: &Deployment| {
            let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            pod.is_some_and(|pod| {
                pod.containers.iter().any(|container| is_image(container.image.as_ref(), program))
            })
        };
        all.items.into_iter().find(runs).with_context(|| format!("no Deployment of {program}"))
    }

    /// Pods in our namespace that run the image `program`, terminating ones left out.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn pods_of(&self, program: &str) -> anyhow::Result<Vec<Pod>> {
        let all = self.pods(SYSTEM).list(&ListParams::default()).await?;
        let runs = |pod: &Pod| {
            let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
            pod.metadata.deletion_timestamp.is_none()
                && containers.iter().any(|container| is_image(container.image.as_ref(), program))
        };
        Ok(all.items.into_iter().filter(runs).collect())
    }

    /// Waits until a Deployment's pods are all of its newest version and available.
    ///
    /// # Errors
    /// If they are not within three minutes.
    pub async fn rolled_out(&self, namespace: &str, deployment: &str) -> anyhow::Result<()> {
        let args = format!("-n {namespace} rollout status deployment/{deployment} --timeout=180s");
        self.kubectl(&args).await.map(drop)
    }

    /// Removes a namespace with all that is in it, without waiting for its end.
    ///
    /// # Errors
    /// If there is none.
    pub async fn remove_namespace(&self, name: &str) -> anyhow::Result<()> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }
}

fn is_image(image: Option<&String>, program: &str) -> bool {
    image.is_some_and(|image| image.contains(&format!("/{program}:")))
}

/// Whether kubelet says that a pod is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// How often the containers of a pod were restarted.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.map_or(0, |all| all.iter().map(|one| one.restart_count).sum())
}

/// The address of a pod.
///
/// # Errors
/// If it has none yet.
pub fn address(pod: &Pod) -> anyhow::Result<std::net::IpAddr> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    ip.and_then(|ip| ip.parse().ok()).with_context(|| format!("{} has no address yet", pod.name_any()))
}

/// The node that a pod runs on.
#[must_use]
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

async fn output(command: &mut Command, input: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let line = format!("{:?}", command.as_std());
    let mut child = command.spawn().with_context(|| format!("cannot run {line}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{line}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
