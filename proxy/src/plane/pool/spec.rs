//! What the balancer is told of a pool: its document, with the health of the endpoints and the place of this proxy.

use evenkeel_api::channel::{BackendDocument, EndpointDocument};
use evenkeel_balance::{Backend, Endpoint, PoolSpec};

use super::{PoolEntry, endpoint::EndpointEntry};

impl PoolEntry {
    pub(super) fn spec(&self) -> PoolSpec {
        let backend = |(key, backend): (&String, &BackendDocument)| Backend {
            key: key.clone(),
            weight: backend.weight,
            endpoints: backend.endpoints.iter().map(|(id, endpoint)| self.endpoint(id, endpoint)).collect(),
        };
        let document = &self.document;
        let check = document.health_check.as_ref();
        // Nobody may be sent where nobody has looked since this process began.
        let verified = !self.endpoints.values().any(EndpointEntry::is_unverified);
        PoolSpec {
            slow_start: document.slow_start.as_ref().map(Into::into),
            ejection: check.and_then(|check| check.passive.as_ref()).map(Into::into),
            panic_threshold: check.filter(|_| verified).map_or(0, |check| check.panic_threshold),
            locality: self.locality(),
            others: self.others().map(|of| self.other(of)).collect(),
            ..PoolSpec::new((&document.algorithm).into(), document.backends.iter().map(backend).collect())
        }
    }

    fn endpoint(&self, id: &str, document: &EndpointDocument) -> Endpoint {
        let entry = self.endpoints.get(id);
        Endpoint {
            id: id.into(),
            address: document.address,
            weight: document.weight,
            terminating: document.terminating,
            healthy: entry.is_some_and(|entry| entry.health.is_healthy()),
            ready_since: entry.and_then(|entry| entry.ready_since.1),
            zone: document.zone.as_deref().map(Into::into),
            region: self.region_of(document.zone.as_ref()).map(|region| region.as_str().into()),
        }
    }
}
