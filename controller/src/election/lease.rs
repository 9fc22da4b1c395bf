//! The three requests that an election makes.

use evenkeel_api::labels::CONTROLLER;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It has changed since it was read, or is there already.
    #[error("the Lease was changed by another")]
    Conflict,
    /// It is not there (any more).
    #[error("the Lease is gone")]
    Missing,
    /// No answer in time; it may have been carried out or not.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// Anything else.
    #[error("{}", hint(.0))]
    Failed(#[source] kube::Error),
}

impl From<kube::Error> for LeaseError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if status.code == 404 => Self::Missing,
            _ => Self::Failed(error),
        }
    }
}

fn hint(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; does the service account have the chart's Role for Leases?", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        _ => error.to_string(),
    }
}

/// Access to one Lease.
pub trait Leases: Send {
    /// The Lease as the API server has it now; never from a cache.
    fn read(&self) -> impl Future<Output = Result<Option<Lease>, LeaseError>> + Send;
    /// Makes it; [`LeaseError::Conflict`] if there is one.
    fn create(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
    /// Replaces it; [`LeaseError::Conflict`] if its resourceVersion is another one by now.
    fn replace(&self, lease: Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
}

/// The Lease `evenkeel-controller` of a namespace.
#[derive(Clone, Debug)]
pub struct LeaseApi(Api<Lease>);

impl LeaseApi {
    /// The one of this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self(Api::namespaced(client, namespace))
    }
}

impl Leases for LeaseApi {
    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        Ok(self.0.get_opt(CONTROLLER).await?)
    }

    async fn create(&self, lease: Lease) -> Result<Lease, LeaseError> {
        Ok(self.0.create(&parameters(), &lease).await?)
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, LeaseError> {
        Ok(self.0.replace(CONTROLLER, &parameters(), &lease).await?)
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(CONTROLLER.to_owned()), ..PostParams::default() }
}
