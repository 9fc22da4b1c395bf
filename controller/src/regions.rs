//! Which region a zone is in, by what nodes say of themselves.
//!
//! A zone is in one region (so Kubernetes has it). Where nodes disagree, one of them is wrong, and nobody knows which:
//! the zone has no region then.

use std::collections::{BTreeMap, HashMap};

use crate::event::NodePlace;

/// The regions of zones.
#[derive(Debug, Default)]
pub struct Regions {
    nodes: HashMap<String, NodePlace>,
    /// How many nodes of a zone say that it is in a region.
    votes: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Regions {
    /// Takes what a node says of itself; `None` if nothing, or it is gone. Whether the region of any zone is another
    /// one by that.
    pub fn put(&mut self, node: String, place: Option<NodePlace>) -> bool {
        if self.nodes.get(&node) == place.as_ref() {
            return false;
        }
        let concerned = |place: &Option<NodePlace>| place.as_ref().map(|place| place.zone.clone());
        let after = place.clone();
        let before = match place {
            Some(place) => self.nodes.insert(node, place),
            None => self.nodes.remove(&node),
        };
        let zones: Vec<_> = [concerned(&before), concerned(&after)].into_iter().flatten().collect();
        let known: Vec<_> = zones.iter().map(|zone| self.of(zone).map(str::to_owned)).collect();
        if let Some(NodePlace { zone, region }) = before {
            self.withdraw(&zone, &region);
        }
        if let Some(NodePlace { zone, region }) = after {
            *self.votes.entry(zone).or_default().entry(region).or_default() += 1;
        }
        zones.iter().zip(known).any(|(zone, known)| self.of(zone) != known.as_deref())
    }

    fn withdraw(&mut self, zone: &str, region: &str) {
        let Some(regions) = self.votes.get_mut(zone) else { return };
        if let Some(count) = regions.get_mut(region) {
            *count -= 1;
        }
        regions.retain(|_, count| *count > 0);
        if regions.is_empty() {
            self.votes.remove(zone);
        }
    }

    /// The region that a zone is in, if it is known and nodes agree.
    #[must_use]
    pub fn of(&self, zone: &str) -> Option<&str> {
        let mut regions = self.votes.get(zone)?.keys();
        let region = regions.next()?;
        regions.next().is_none().then_some(region)
    }

    /// Names of the nodes of which anything is known.
    pub fn nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        regions: &mut Regions,
        node: &str,
        place: Option<(&str, &str)>,
        changes: bool,
        of_a: Option<&str>,
    ) {
        let place =
            place.map(|(zone, region)| NodePlace { zone: zone.to_owned(), region: region.to_owned() });
        assert_eq!(regions.put(node.to_owned(), place), changes, "{node}");
        assert_eq!(regions.of("a"), of_a, "{node}");
    }

    #[test]
    fn a_zone_is_in_the_region_that_its_nodes_agree_on() {
        let mut regions = Regions::default();
        check(&mut regions, "n1", None, false, None);
        check(&mut regions, "n1", Some(("a", "eu")), true, Some("eu"));
        check(&mut regions, "n1", Some(("a", "eu")), false, Some("eu"));
        check(&mut regions, "n2", Some(("a", "eu")), false, Some("eu"));
        check(&mut regions, "n3", Some(("b", "us")), true, Some("eu"));
        check(&mut regions, "n3", Some(("a", "us")), true, None);
        assert_eq!(regions.of("b"), None);
        check(&mut regions, "n2", None, false, None);
        check(&mut regions, "n1", None, true, Some("us"));
        check(&mut regions, "n3", None, true, None);
        assert_eq!(regions.nodes().count(), 0);
    }
}
