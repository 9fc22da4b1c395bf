//! Where proxies and endpoints are, for pools that go by that, and what keeps them from it.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::channel::PoolDocument;

use crate::{
    compile::Good,
    fleet::Fleet,
    index::Index,
    problem::{Problem, Subject},
};

/// Fills in the zones of proxies and the regions of zones, whose endpoints are compiled already; nothing where nothing depends on
/// that. What is missing there is told: a pool that goes by places that are not known balances as if it had no locality.
pub(super) fn locate(
    document: &mut PoolDocument,
    index: &Index,
    fleet: &Fleet,
    good: &Good,
) -> Option<Problem> {
    (document.proxy_zones, document.zone_regions) = (BTreeMap::new(), BTreeMap::new());
    let locality = good.spec.locality.as_ref()?;
    let class = &good.spec.proxy_class;
    let members = fleet.members().map(|member| &member.proxy).filter(|proxy| proxy.class == *class);
    document.proxy_zones =
        members.filter_map(|proxy| Some((proxy.name.clone(), proxy.zone.clone()?))).collect();
    if locality.region.is_some() {
        document.zone_regions = zone_regions(index, document);
    }
    let lost = fleet.live(class).map(|member| &member.proxy).filter(|proxy| proxy.zone.is_none());
    let lost: Vec<_> = lost.map(|proxy| proxy.name.as_str()).collect();
    missing(document, &lost, locality.region.is_some())
        .map(|message| Problem::warning(Subject::ResolvedRefs, format!("locality: {message}")))
}

/// Regions of the zones that the document names. Of no other zone, so that only what concerns the pool changes its document.
fn zone_regions(index: &Index, document: &PoolDocument) -> BTreeMap<String, String> {
    let zones: BTreeSet<_> =
        endpoint_zones(document).flatten().chain(document.proxy_zones.values()).collect();
    zones.into_iter().filter_map(|zone| Some((zone.clone(), index.region(zone)?.to_owned()))).collect()
}

/// What of the places that a pool goes by is not known. `lost` are the proxies without a zone.
fn missing(document: &PoolDocument, lost: &[&str], by_region: bool) -> Option<String> {
    if !lost.is_empty() {
        return Some(format!(
            "the zone of {} is not known, so that all endpoints are alike there: label the nodes of proxies with \
             topology.kubernetes.io/zone",
            lost.join(", ")
        ));
    }
    let mut zones = endpoint_zones(document).peekable();
    if zones.peek().is_some() && zones.all(|zone| zone.is_none()) {
        return Some(
            "the zone of no endpoint is known, so that all are alike: pods have that of their node, by its label \
             topology.kubernetes.io/zone; addresses have none"
                .to_owned(),
        );
    }
    let without: BTreeSet<_> = document.proxy_zones.values().map(String::as_str).collect();
    let without: Vec<_> =
        without.into_iter().filter(|zone| by_region && !document.zone_regions.contains_key(*zone)).collect();
    (!without.is_empty()).then(|| {
        format!(
            "the region of zone {} is not known: label all its nodes with the same topology.kubernetes.io/region",
            without.join(", ")
        )
    })
}

fn endpoint_zones(document: &PoolDocument) -> impl Iterator<Item = Option<&String>> {
    let endpoints = document.backends.values().flat_map(|backend| backend.endpoints.values());
    endpoints.map(|endpoint| endpoint.zone.as_ref())
}
