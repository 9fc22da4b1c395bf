//! etcd and kube-apiserver.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use evenkeel_api::object::{BalancerPool, ProxyClass, crd};
use http::Request;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rcgen::KeyPair;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    binaries,
    process::{Process, free_port},
    wait,
};

/// A token whose user may do everything.
const ADMIN_TOKEN: &str = "admin";
/// How long a program may take to start.
const START: Duration = Duration::from_mins(1);

/// A running API server, with the CRDs.
#[derive(Debug)]
pub struct Server {
    // In the order of their end.
    api: Option<Process>,
    _etcd: Process,
    folder: TempDir,
    api_port: u16,
    etcd_port: u16,
    namespaces: AtomicU64,
}

impl Server {
    /// Starts one; `None` where the programs are missing.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub async fn start() -> Option<Self> {
        let programs = binaries::folder()?;
        // A port may be lost to another program between being chosen and being bound.
        let mut last = None;
        for _attempt in 0..3 {
            match Self::try_start(programs).await {
                Ok(server) => return Some(server),
                Err(error) => last = Some(error),
            }
        }
        panic!("cannot start an API server: {:?}", last.unwrap_or_else(|| anyhow::anyhow!("not tried")));
    }

    async fn try_start(programs: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let (api_port, etcd_port) = (free_port()?, free_port()?);
        let etcd = start_etcd(programs, folder.path(), etcd_port)?;
        let key = KeyPair::generate()?;
        fs::write(folder.path().join("key.pem"), key.serialize_pem())?;
        fs::write(folder.path().join("key.pub"), key.public_key_pem())?;
        fs::write(folder.path().join("tokens.csv"), format!("{ADMIN_TOKEN},admin,1,system:masters\n"))?;
        let mut server =
            Self { api: None, _etcd: etcd, folder, api_port, etcd_port, namespaces: AtomicU64::new(0) };
        server.try_resume(programs).await?;
        server.install_crds().await?;
        Ok(server)
    }

    /// Stops the API server. What is stored stays.
    pub fn stop(&mut self) {
        self.api = None;
    }

    /// Starts the API server again, at the same address.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub async fn resume(&mut self) {
        let programs = binaries::folder().expect("they were there before");
        self.try_resume(programs).await.expect("it started before");
    }

    async fn try_resume(&mut self, programs: &Path) -> anyhow::Result<()> {
        let mut api = start_api_server(programs, self.folder.path(), self.api_port, self.etcd_port)?;
        let start = Instant::now();
        let client = self.client();
        loop {
            let request = Request::get("/readyz").body(Vec::new())?;
            if client.request_text(request).await.is_ok() {
                break;
            }
            if let Some(failure) = api.failure() {
                bail!("kube-apiserver ended: {failure}");
            }
            if start.elapsed() > START {
                bail!("kube-apiserver is not ready after {START:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.api = Some(api);
        Ok(())
    }

    async fn install_crds(&self) -> anyhow::Result<()> {
        for crd in [crd::<BalancerPool>(), crd::<ProxyClass>()] {
            self.install(&crd).await?;
        }
        Ok(())
    }

    /// Installs a CRD, and waits until it is served.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn install(&self, crd: &CustomResourceDefinition) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let parameters = PatchParams::apply("tests").force().validation_strict();
        let name = crd.name_any();
        let mut document = serde_json::to_value(crd)?;
        document["apiVersion"] = "apiextensions.k8s.io/v1".into();
        document["kind"] = "CustomResourceDefinition".into();
        api.patch(&name, &parameters, &Patch::Apply(document)).await.context("the CRD is refused")?;
        wait::until("the CRD to be served", || async {
            let conditions = api.get(&name).await.ok()?.status?.conditions?;
            conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
        })
        .await;
        let path = format!("/apis/evenkeel.dev/v1alpha1/{}", crd.spec.names.plural);
        let client = self.client();
        wait::until("the new path", || async {
            let request = Request::get(&path).body(Vec::new()).ok()?;
            client.request::<Value>(request).await.ok()
        })
        .await;
        Ok(())
    }

    /// A client of somebody who may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_of(|_| {})
    }

    /// A client of somebody else.
    #[must_use]
    pub fn client_as(&self, user: &str) -> Client {
        self.client_of(|config| config.auth_info.impersonate = Some(user.to_owned()))
    }

    fn client_of(&self, change: impl FnOnce(&mut Config)) -> Client {
        let url = format!("https://127.0.0.1:{}", self.api_port).parse().expect("a URL");
        let mut config = Config::new(url);
        config.accept_invalid_certs = true; // it signs its own, anew at each start
        config.auth_info.token = Some(ADMIN_TOKEN.to_owned().into());
        change(&mut config);
        Client::try_from(config).expect("a valid configuration")
    }

    /// A new namespace.
    ///
    /// # Panics
    /// Where the API server does not make it.
    pub async fn namespace(&self) -> String {
        let name = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(self.client());
        api.create(&PostParams::default(), &namespace).await.expect("a namespace");
        name
    }

    /// Asks etcd, in its JSON, behind the API server's back.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn etcd(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.etcd_port)).await.expect("etcd runs");
        stream.write_all(request.as_bytes()).await.expect("etcd listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("etcd answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 200"), "etcd: {answer}");
        serde_json::from_str(body).unwrap_or_default()
    }
}

fn start_etcd(programs: &Path, folder: &Path, port: u16) -> anyhow::Result<Process> {
    let url = format!("http://127.0.0.1:{port}");
    let flags = [
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=error".to_owned(),
    ];
    Process::start(&programs.join("etcd"), &flags, folder.join("etcd.log")).context("etcd")
}

fn start_api_server(programs: &Path, folder: &Path, port: u16, etcd_port: u16) -> anyhow::Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let flags = [
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", file("certificates")),
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://tests".to_owned(),
        format!("--service-account-key-file={}", file("key.pub")),
        format!("--service-account-signing-key-file={}", file("key.pem")),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        "--enable-priority-and-fairness=false".to_owned(),
    ];
    Process::start(&programs.join("kube-apiserver"), &flags, folder.join("api.log")).context("kube-apiserver")
}
