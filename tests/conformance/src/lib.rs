//! Tests of the config channel as a whole: both real ends, its OpenAPI document, and the commands of its documentation.
//!
//! Here is what they share: an install with certificates of its own, and a data plane that carries nothing.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use evenkeel_api::channel::{
    PoolDocument, PoolReport, PoolText, PoolUid, Rejection, SnapshotDocument, snapshot_hash,
};
use evenkeel_proxy::control::{Activate, Control, ControlMetrics, Origin, serve};
use evenkeel_tls::{Files, Identity, Role, authority::Authority, bind};
use prometheus::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The install of the tests.
pub const INSTALL: &str = "evenkeel-system";

/// A data plane that remembers its pools; those named `refused` it cannot carry out.
#[derive(Debug, Default)]
pub struct Plane {
    pools: Mutex<BTreeMap<PoolUid, (Arc<PoolDocument>, Origin)>>,
}

impl Activate for Plane {
    async fn activate(
        &self,
        desired: BTreeMap<PoolUid, Arc<PoolDocument>>,
        origin: Origin,
    ) -> BTreeMap<PoolUid, Vec<Rejection>> {
        let mut pools = self.pools.lock().unwrap();
        let (refused, taken): (BTreeMap<_, _>, _) =
            desired.into_iter().partition(|(_, document)| document.name == "refused");
        pools.retain(|uid, _| refused.contains_key(uid));
        pools.extend(taken.into_iter().map(|(uid, document)| (uid, (document, origin))));
        let why = Rejection { field: "listeners".to_owned(), message: "its port is taken".to_owned() };
        refused.into_keys().map(|uid| (uid, vec![why.clone()])).collect()
    }

    fn report(&self) -> BTreeMap<PoolUid, PoolReport> {
        let pools = self.pools.lock().unwrap();
        let report = |document: &PoolDocument| PoolReport {
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            generation: document.generation,
            ..PoolReport::default()
        };
        pools.iter().map(|(uid, (document, _))| (uid.clone(), report(document))).collect()
    }
}

impl Plane {
    /// Generation and origin of each pool in use.
    pub fn active(&self) -> BTreeMap<PoolUid, (i64, Origin)> {
        let pools = self.pools.lock().unwrap();
        pools.iter().map(|(uid, (document, origin))| (uid.clone(), (document.generation, *origin))).collect()
    }
}

/// A proxy that has received nothing.
#[must_use]
pub fn control() -> Arc<Control<Plane>> {
    Control::new(Plane::default(), 0, ControlMetrics::register(&Registry::new()).unwrap())
}

/// A pool's document that every proxy understands.
#[must_use]
pub fn pool(generation: i64) -> Value {
    json!({"namespace": "shop", "name": "web", "generation": generation, "algorithm": {"type": "RoundRobin"}})
}

/// A whole state with its hash.
#[must_use]
pub fn snapshot(epoch: u64, revision: u64, pools: &[(&str, Value)]) -> SnapshotDocument {
    let pools: BTreeMap<_, _> = pools.iter().map(|(uid, pool)| ((*uid).to_owned(), pool.clone())).collect();
    let digests: Vec<_> =
        pools.iter().map(|(uid, pool)| (uid.as_str(), PoolText::new(pool).unwrap().digest())).collect();
    SnapshotDocument { epoch, revision, hash: snapshot_hash(digests), pools }
}

/// The role of the proxies of the class `default`.
#[must_use]
pub fn proxy() -> Role {
    Role::Proxy { class: "default".to_owned() }
}

/// An authority, and a folder for what it signs.
pub struct Install {
    authority: Authority,
    dir: TempDir,
}

impl Default for Install {
    fn default() -> Self {
        let authority = Authority::generate(INSTALL, SystemTime::now()).unwrap();
        Self { authority, dir: tempfile::tempdir().unwrap() }
    }
}

impl Install {
    fn issue(&self, role: &Role) -> Files {
        self.authority.issue(role, INSTALL, self.authority.certificate(), SystemTime::now()).unwrap()
    }

    /// An identity of `role`.
    #[must_use]
    pub fn identity(&self, role: &Role) -> Arc<Identity> {
        Arc::new(Identity::new(self.issue(role), INSTALL).unwrap())
    }

    /// A folder with the files of `role`.
    #[must_use]
    pub fn folder(&self, role: &Role) -> PathBuf {
        let folder = self.dir.path().join(role.dns_name(INSTALL));
        let files = self.issue(role);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("tls.crt"), files.certificate).unwrap();
        fs::write(folder.join("tls.key"), files.key).unwrap();
        fs::write(folder.join("ca.crt"), files.authorities).unwrap();
        folder
    }

    /// A folder for anything else.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Serves `control` as a proxy of the class `default` on a port of loopback, for as long as the runtime lives.
    pub fn serve(&self, control: Arc<Control<Plane>>) -> SocketAddr {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(control, listener, self.identity(&proxy()), std::future::pending()));
        address
    }
}
