//! Where this proxy and a pool's endpoints are, as the pool's document says.

use evenkeel_api::object::Nearby;
use evenkeel_balance::{Locality, Place};

use super::PoolEntry;

impl PoolEntry {
    /// Where this proxy is, as far as it is known.
    pub(super) fn zone(&self) -> Option<&String> {
        self.document.proxy_zones.get(self.proxy.as_ref()?)
    }

    pub(super) fn region(&self) -> Option<&String> {
        self.region_of(self.zone())
    }

    pub(super) fn region_of(&self, zone: Option<&String>) -> Option<&String> {
        self.document.zone_regions.get(zone?)
    }

    pub(super) fn locality(&self) -> Option<Locality> {
        let of = self.document.locality.as_ref()?;
        let proxies = f64::from(self.document.proxies.max(1));
        let place = |(name, nearby): (&String, &Nearby)| Place {
            name: name.as_str().into(),
            overprovisioning: f64::from(nearby.overprovisioning_percent) / 100.0,
            spill_at: f64::from(nearby.spill_at_percent) / 100.0,
            capacity: nearby.requests_per_endpoint.map(|requests| f64::from(requests) / proxies),
        };
        let zone = self.zone().zip(of.zone.as_ref()).map(place);
        let region = self.region().zip(of.region.as_ref()).map(place);
        (zone.is_some() || region.is_some()).then_some(Locality { zone, region })
    }
}
