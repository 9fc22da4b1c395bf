//! Where proxies and endpoints are, for pools that go by that, and what keeps them from it.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_api::{channel::PoolDocument, labels};

use crate::{
    compile::{Good, Mode},
    fleet::Fleet,
    index::Index,
    problem::{Problem, Subject},
};

/// Fills in the zones of proxies and the regions of zones, in a document whose endpoints are compiled; nothing where
/// nothing depends on that. What is missing is told: a pool that goes by places that are not known balances as if it
/// had no locality, or zones only.
pub(super) fn locate(
    document: &mut PoolDocument,
    index: &Index,
    fleet: &Fleet,
    mode: &Mode,
    good: &Good,
) -> Option<Problem> {
    (document.proxy_zones, document.zone_regions) = (BTreeMap::new(), BTreeMap::new());
    let locality = good.spec.locality.as_ref()?;
    let class = &good.spec.proxy_class;
    let members = fleet.members().map(|member| &member.proxy).filter(|proxy| proxy.class == *class);
    document.proxy_zones =
        members.filter_map(|proxy| Some((proxy.name.clone(), proxy.zone.clone()?))).collect();
    let by_region = locality.region.is_some();
    if by_region {
        let zones = endpoint_zones(document).flatten().chain(document.proxy_zones.values());
        document.zone_regions = regions(index, zones);
    }
    let missing = match mode {
        Mode::Files(_) => {
            vec!["there are no zones without Kubernetes, so that all endpoints are alike".to_owned()]
        }
        Mode::Kubernetes { .. } => {
            let proxies: Vec<_> = fleet.live(class).map(|member| member.proxy.zone.as_ref()).collect();
            missing(document, &proxies, by_region)
        }
    };
    (!missing.is_empty())
        .then(|| Problem::warning(Subject::ResolvedRefs, format!("locality: {}", missing.join("; "))))
}

/// Regions of these zones. Of no others, so that only what concerns the pool changes its document.
fn regions<'a>(index: &Index, zones: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    let zones: BTreeSet<_> = zones.collect();
    zones.into_iter().filter_map(|zone| Some((zone.clone(), index.region(zone)?.to_owned()))).collect()
}

/// What is not known of the places that a pool goes by, where these are the zones of the live proxies. Numbers and no
/// names: those of all proxies would fill the message, and change it with each that comes or goes.
fn missing(document: &PoolDocument, proxies: &[Option<&String>], by_region: bool) -> Vec<String> {
    let endpoints: Vec<_> = endpoint_zones(document).collect();
    let mut missing = Vec::new();
    for (zones, whose) in [(proxies, "proxies"), (&endpoints, "endpoints")] {
        let lost = zones.iter().filter(|zone| zone.is_none()).count();
        if lost > 0 {
            let (all, label) = (zones.len(), labels::ZONE);
            missing.push(format!("no zone is known of {lost} of {all} {whose} (node label {label})"));
        }
    }
    let zones: BTreeSet<_> = proxies.iter().chain(&endpoints).flatten().map(|zone| zone.as_str()).collect();
    let without: Vec<_> =
        zones.into_iter().filter(|zone| by_region && !document.zone_regions.contains_key(*zone)).collect();
    if !without.is_empty() {
        let (zones, label) = (without.join(", "), labels::REGION);
        missing.push(format!(
            "no region is known of zone {zones} (node label {label}, the same on all nodes of a zone)"
        ));
    }
    missing
}

fn endpoint_zones(document: &PoolDocument) -> impl Iterator<Item = Option<&String>> {
    let endpoints = document.backends.values().flat_map(|backend| backend.endpoints.values());
    endpoints.map(|endpoint| endpoint.zone.as_ref())
}
