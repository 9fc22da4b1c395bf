//! The Secrets that the config channel's certificates are in, made and renewed by whichever replica comes first.
//!
//! The authority's key is in a Secret that no proxy mounts; each role has a Secret of its own, of the form that is
//! mounted. A Secret that does not carry our mark is somebody else's, cert-manager's for instance: it is read and never
//! written. What makes certificates is `evenkeel_tls::authority`, which is pure. Deliberately absent: a change of
//! authority, whose bundle is the `ca.crt` that is kept here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use evenkeel_api::labels::{CONTROLLER, MANAGED_BY};
use evenkeel_tls::{
    Files, Identity, Role,
    authority::{Authority, AuthorityError, renew_at},
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

/// Name of the Secret with the authority's key.
pub const AUTHORITY_SECRET: &str = "evenkeel-ca";
/// How often certificates are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How soon they are looked at again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Attempts at a Secret that another replica changes meanwhile.
const MAX_ATTEMPTS: usize = 4;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The API server does not let us.
    #[error("cannot read or write Secret {0}: {1}")]
    Api(String, Box<kube::Error>),
    /// Others change the Secret as fast as we do.
    #[error("Secret {0} changes all the time; is another controller of this name at work?")]
    Contended(String),
    /// A Secret that is not of the form.
    #[error("Secret {0} lacks {1}; delete it to have it made anew")]
    Incomplete(String, &'static str),
    /// No certificate can be made or read.
    #[error("Secret {0}: {1}")]
    Authority(String, AuthorityError),
}

/// Name of the Secret of a role.
#[must_use]
pub fn secret_name(role: &Role) -> String {
    match role {
        Role::Controller => "evenkeel-controller-tls".to_owned(),
        Role::Proxy { class } => format!("evenkeel-proxy-{class}-tls"),
    }
}

/// What to do about a role's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Renew,
}

/// Pure: keep what is not ours, renew what is past two thirds of its life, unreadable, or of another bundle.
fn judge(secret: &Secret, bundle: &str, now: SystemTime) -> Verdict {
    if !is_ours(secret) {
        return Verdict::Keep;
    }
    let due = match member(secret, CERTIFICATE).map(renew_at) {
        Some(Ok(due)) => due <= now,
        Some(Err(_)) | None => true,
    };
    let due = due || member(secret, KEY).is_none() || member(secret, BUNDLE) != Some(bundle.as_bytes());
    if due { Verdict::Renew } else { Verdict::Keep }
}

fn is_ours(secret: &Secret) -> bool {
    let manager = secret.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    manager.is_some_and(|manager| manager == CONTROLLER)
}

fn member<'a>(secret: &'a Secret, name: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(name).map(|ByteString(bytes)| bytes.as_slice())
}

fn files(name: &str, secret: &Secret) -> Result<Files, CertificatesError> {
    let member = |member_name| {
        let bytes = member(secret, member_name).map(<[u8]>::to_vec);
        bytes.ok_or_else(|| CertificatesError::Incomplete(name.to_owned(), member_name))
    };
    Ok(Files { certificate: member(CERTIFICATE)?, key: member(KEY)?, authorities: member(BUNDLE)? })
}

fn secret(name: &str, files: Files) -> Secret {
    let members = [(CERTIFICATE, files.certificate), (KEY, files.key), (BUNDLE, files.authorities)];
    let data = members.map(|(name, bytes)| (name.to_owned(), ByteString(bytes)));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), CONTROLLER.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// The Secrets of an install.
#[derive(Clone)]
pub struct Certificates {
    secrets: Api<Secret>,
    install: String,
}

impl Certificates {
    /// Secrets in the namespace of the install, which is also its name.
    #[must_use]
    pub fn new(client: Client, install: &str) -> Self {
        Self { secrets: Api::namespaced(client, install), install: install.to_owned() }
    }

    /// Makes what is missing and renews what is due: the authority, the controller's certificate and one for each of
    /// `classes`. Any replica may, at any time; of two the first wins. Answers the controller's own files, so that it
    /// need not wait for the kubelet to mount them.
    ///
    /// # Errors
    /// If a Secret can be neither read nor made.
    pub async fn ensure(
        &self,
        classes: &BTreeSet<String>,
        now: SystemTime,
    ) -> Result<Files, CertificatesError> {
        let Some((authority, bundle)) = self.authority(now).await? else {
            let name = secret_name(&Role::Controller);
            let own = self.read(&name).await?;
            return files(&name, &own.unwrap_or_default());
        };
        for class in classes {
            let role = Role::Proxy { class: class.clone() };
            self.leaf(&authority, &bundle, &role, now).await?;
        }
        self.leaf(&authority, &bundle, &Role::Controller, now).await
    }

    /// Does so for ever, at changes of `classes` and every [`LOOK_EVERY`], and keeps `own` at the controller's files.
    pub async fn run(&self, mut classes: watch::Receiver<BTreeSet<String>>, own: &Identity) {
        loop {
            let wanted = classes.borrow_and_update().clone();
            let ensured = self.ensure(&wanted, SystemTime::now()).await;
            let replaced = ensured.map(|files| own.replace(files));
            let pause = match &replaced {
                Ok(Ok(_)) => LOOK_EVERY,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the own Secret is unusable, the old certificates stay in use");
                    RETRY_AFTER
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot look after the certificates");
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = classes.changed() => {}
            }
        }
    }

    /// The authority and the bundle, made if there is none; `None` if certificates are somebody else's doing.
    async fn authority(&self, now: SystemTime) -> Result<Option<(Authority, String)>, CertificatesError> {
        let name = AUTHORITY_SECRET;
        let made = |error| CertificatesError::Authority(name.to_owned(), error);
        let found = match self.read(name).await? {
            Some(found) => found,
            None if self.is_foreign().await? => return Ok(None),
            None => {
                let authority = Authority::generate(&self.install, now).map_err(made)?;
                let certificate = authority.certificate().as_bytes().to_vec();
                let key = authority.key().into_bytes();
                let files = Files { authorities: certificate.clone(), certificate, key };
                self.create(secret(name, files)).await?
            }
        };
        let Files { certificate, key, authorities } = files(name, &found)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let authority = Authority::parse(&text(&certificate), &text(&key)).map_err(made)?;
        Ok(Some((authority, text(&authorities))))
    }

    /// True if the controller's certificate does not carry our mark.
    async fn is_foreign(&self) -> Result<bool, CertificatesError> {
        let own = self.read(&secret_name(&Role::Controller)).await?;
        Ok(own.is_some_and(|own| !is_ours(&own)))
    }

    async fn leaf(
        &self,
        authority: &Authority,
        bundle: &str,
        role: &Role,
        now: SystemTime,
    ) -> Result<Files, CertificatesError> {
        let name = secret_name(role);
        for _attempt in 0..MAX_ATTEMPTS {
            let found = self.read(&name).await?;
            if let Some(found) = &found
                && judge(found, bundle, now) == Verdict::Keep
            {
                return files(&name, found);
            }
            let issued = authority
                .issue(role, &self.install, bundle, now)
                .map_err(|error| CertificatesError::Authority(name.clone(), error))?;
            match found {
                // What another replica has made meanwhile is looked at as if it had been there.
                None => drop(self.create(secret(&name, issued)).await?),
                Some(found) => self.renew(&name, &found, issued).await?,
            }
        }
        Err(CertificatesError::Contended(name))
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, CertificatesError> {
        self.secrets.get_opt(name).await.map_err(|error| failed(name, error))
    }

    /// Creates it, or adopts the one that another replica has created meanwhile.
    async fn create(&self, secret: Secret) -> Result<Secret, CertificatesError> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() };
        match self.secrets.create(&params, &secret).await {
            Ok(created) => {
                tracing::info!(secret = name, "made a Secret of the config channel");
                Ok(created)
            }
            Err(error) if is_conflict(&error) => {
                self.secrets.get(&name).await.map_err(|error| failed(&name, error))
            }
            Err(error) => Err(failed(&name, error)),
        }
    }

    /// Replaces the members, unless the Secret has changed since. A patch, because that is what we may do.
    async fn renew(&self, name: &str, found: &Secret, files: Files) -> Result<(), CertificatesError> {
        let change = json!({
            "metadata": {"resourceVersion": found.metadata.resource_version},
            "data": secret(name, files).data,
        });
        let params = PatchParams { field_manager: Some(CONTROLLER.to_owned()), ..PatchParams::default() };
        match self.secrets.patch(name, &params, &Patch::Merge(change)).await {
            Ok(_) => tracing::info!(secret = name, "renewed a certificate of the config channel"),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(failed(name, error)),
        }
        Ok(())
    }
}

fn failed(name: &str, error: kube::Error) -> CertificatesError {
    CertificatesError::Api(name.to_owned(), Box::new(error))
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

#[cfg(test)]
mod tests;
