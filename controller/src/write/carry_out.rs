//! One attempt at one effect.
//!
//! A Service is ours if its labels say so *and* name the pool; any other is left alone, whatever it is called. To
//! create is a request that fails if there is one, and to change names the version that was looked at, so that nothing
//! can slip in between. Therefore no Service is made by applying, which would merge with a stranger's.

use std::collections::BTreeMap;

use evenkeel_api::{
    labels::{CONTROLLER, POOL_UID},
    object::{BalancerPool, ProxyClass, ProxyClassSpec},
};
use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
};
use serde_json::Value;

use super::document;
use crate::{effect::Effect, election::Fence, event::ObjectName, source::is_marked};

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The object is as it should be.
    Applied,
    /// It was made.
    Created,
    /// It was deleted.
    Deleted,
    /// It was there already, which is all that was asked for.
    Unchanged,
    /// It is not ours.
    Foreign,
    /// It, or what it belongs to, is not there any more.
    Gone,
    /// The leadership is over.
    Fenced,
    /// Somebody else changed it in between.
    Conflict,
    /// No answer in time; it may have been carried out or not.
    TimedOut,
    /// It was refused, or not answered.
    Failed(kube::Error),
}

impl Outcome {
    /// The label.
    pub(super) const fn result(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
            Self::Foreign => "foreign",
            Self::Gone => "gone",
            Self::Fenced => "fenced",
            Self::Conflict => "conflict",
            Self::TimedOut => "timed_out",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether there is nothing left to do.
    pub(super) const fn is_final(&self) -> bool {
        !matches!(self, Self::Conflict | Self::TimedOut | Self::Failed(_))
    }

    /// Why the API server will not have it, however often it is asked, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            Self::Failed(error @ kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                Some(hint(error))
            }
            _ => None,
        }
    }

    /// Whether the API server has too much to do, or cannot be reached: then a newer effect must wait as well.
    pub(super) fn is_overload(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Failed(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
            Self::Failed(_) => true,
            _ => false,
        }
    }
}

impl From<kube::Error> for Outcome {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            kube::Error::Api(status) if is_namespace_going(status) => Self::Gone,
            _ => Self::Failed(error),
        }
    }
}

fn is_namespace_going(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// An error, and what the operator can do about it.
pub(super) fn hint(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; does the service account have the chart's roles?", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        _ => error.to_string(),
    }
}

/// The API server, as a writer sees it.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
}

impl Cluster {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) async fn carry_out(&self, effect: &Effect, fence: &Fence) -> Outcome {
        if !fence.holds() {
            return Outcome::Fenced;
        }
        let result = match effect {
            Effect::Status { pool, uid, status, .. } => {
                self.status(pool, uid, document::status(pool, status), fence).await
            }
            Effect::Service(desired) => {
                self.ensure(&desired.name, &desired.labels, document::service(desired), fence).await
            }
            Effect::Alias { name, labels, external_name } => {
                self.ensure(name, labels, document::alias(name, labels, external_name), fence).await
            }
            Effect::DeleteService { name, uid } => self.delete(name, uid, fence).await,
            Effect::DefaultClass => self.default_class(fence).await,
        };
        result.unwrap_or_else(|outcome| outcome)
    }

    /// The API server does not compare the UID of a status that is applied, so the version is named of a pool that has
    /// it.
    async fn status(
        &self,
        pool: &ObjectName,
        uid: &str,
        mut document: Value,
        fence: &Fence,
    ) -> Result<Outcome, Outcome> {
        // Metadata only, for the answer may hold a spec that cannot be read.
        let api: Api<PartialObjectMeta<BalancerPool>> = Api::namespaced(self.client.clone(), &pool.namespace);
        let stored =
            api.get_opt(&pool.name).await?.filter(|stored| stored.metadata.uid.as_deref() == Some(uid));
        let Some(stored) = stored else { return Ok(Outcome::Gone) };
        let version = stored.resource_version().unwrap_or_default();
        document::pin(&mut document, uid, &version);
        hold(fence)?;
        let applied = api.patch_status(&pool.name, &applying(), &Patch::Apply(document)).await?;
        Ok(Self::outcome_of(&applied.metadata, &version))
    }

    fn outcome_of(applied: &ObjectMeta, version: &str) -> Outcome {
        let is_same = applied.resource_version.as_deref() == Some(version);
        if is_same { Outcome::Unchanged } else { Outcome::Applied }
    }

    /// Has a Service be as `document` says, unless there is one that is not ours.
    async fn ensure(
        &self,
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
        mut document: Value,
        fence: &Fence,
    ) -> Result<Outcome, Outcome> {
        let api = self.services(name);
        let Some(mut service) = api.get_opt(&name.name).await? else {
            return self.create(&api, document, fence).await;
        };
        if !is_marked(service.labels()) || service.labels().get(POOL_UID) != labels.get(POOL_UID) {
            return Ok(Outcome::Foreign);
        }
        if let Some(turned) = Self::turn(&api, &service, fence).await? {
            service = turned;
        }
        let (uid, version) =
            (service.uid().unwrap_or_default(), service.resource_version().unwrap_or_default());
        document::pin(&mut document, &uid, &version);
        hold(fence)?;
        let applied = api.patch(&name.name, &applying(), &Patch::Apply(document)).await?;
        Ok(Self::outcome_of(&applied.metadata, &version))
    }

    async fn create(&self, api: &Api<Service>, document: Value, fence: &Fence) -> Result<Outcome, Outcome> {
        let service = serde_json::from_value(document).map_err(kube::Error::SerdeError)?;
        hold(fence)?;
        let service = api.create(&creating(), &service).await?;
        Self::turn(api, &service, fence).await?;
        Ok(Outcome::Created)
    }

    /// See [`document::applied_fields`].
    async fn turn(api: &Api<Service>, service: &Service, fence: &Fence) -> Result<Option<Service>, Outcome> {
        let version = service.resource_version().unwrap_or_default();
        let Some(patch) = document::applied_fields(&version, service.managed_fields()) else {
            return Ok(None);
        };
        hold(fence)?;
        let parameters = PatchParams { field_manager: Some(CONTROLLER.to_owned()), ..PatchParams::default() };
        Ok(Some(api.patch(&service.name_any(), &parameters, &Patch::Merge(patch)).await?))
    }

    async fn delete(&self, name: &ObjectName, uid: &str, fence: &Fence) -> Result<Outcome, Outcome> {
        let api = self.services(name);
        let Some(service) = api.get_metadata_opt(&name.name).await? else { return Ok(Outcome::Gone) };
        if service.metadata.uid.as_deref() != Some(uid) {
            return Ok(Outcome::Gone);
        }
        if !is_marked(service.labels()) {
            return Ok(Outcome::Foreign);
        }
        let seen = Preconditions { uid: service.uid(), resource_version: service.resource_version() };
        hold(fence)?;
        api.delete(&name.name, &DeleteParams::default().preconditions(seen)).await?;
        Ok(Outcome::Deleted)
    }

    async fn default_class(&self, fence: &Fence) -> Result<Outcome, Outcome> {
        let api: Api<ProxyClass> = Api::all(self.client.clone());
        hold(fence)?;
        let class = ProxyClass::new("default", ProxyClassSpec::permissive_default());
        match api.create(&creating(), &class).await {
            Ok(_) => Ok(Outcome::Created),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::Unchanged),
            Err(error) => Err(error.into()),
        }
    }

    fn services(&self, name: &ObjectName) -> Api<Service> {
        Api::namespaced(self.client.clone(), &name.namespace)
    }
}

/// Asked directly before each request that changes something.
fn hold(fence: &Fence) -> Result<(), Outcome> {
    if fence.holds() { Ok(()) } else { Err(Outcome::Fenced) }
}

fn applying() -> PatchParams {
    PatchParams::apply(CONTROLLER).force()
}

fn creating() -> PostParams {
    PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() }
}
