//! The endpoint to which a key belongs, or if it is full the next one.

use rand::Rng;

use super::{Fallback, Observe, Scene, Score, random};
use crate::{
    ConsistentHash, HashFunction, Key, Query, SourceIpHash, Table,
    alias::Alias,
    hash::{self, Maglev, Rendezvous, Ring},
    plan::Member,
};

/// Steps on a table after which the least loaded endpoint is looked for instead: far beyond what full endpoints
/// explain.
const MAX_STEPS: usize = 4096;

/// What hashing precomputes.
#[derive(Debug)]
pub(crate) struct Keyed {
    by: By,
    function: HashFunction,
    owners: Owners,
    bound: Option<Bound>,
    /// For requests without a key.
    alias: Alias,
}

#[derive(Debug)]
enum By {
    Client { ipv4_prefix: u8, ipv6_prefix: u8 },
    Key,
}

#[derive(Debug)]
enum Owners {
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
}

/// Bounded load.
#[derive(Clone, Copy, Debug)]
struct Bound {
    /// The part of their requests in flight that a unit of weight may have.
    per_weight: f64,
}

impl Keyed {
    pub(super) fn by_client(parameters: &SourceIpHash, members: &[Member], alias: Alias) -> Self {
        let SourceIpHash { function, ipv4_prefix, ipv6_prefix } = *parameters;
        let owners = Owners::new(Table::default(), function, members);
        Self { by: By::Client { ipv4_prefix, ipv6_prefix }, function, owners, bound: None, alias }
    }

    pub(super) fn by_key(parameters: &ConsistentHash, members: &[Member], alias: Alias) -> Self {
        let ConsistentHash { table, function, bounded_load } = *parameters;
        let owners = Owners::new(table, function, members);
        let sum: f64 = members.iter().map(|member| member.weight).sum();
        let bound = bounded_load.map(|times| Bound { per_weight: times.max(1.0) / sum });
        Self { by: By::Key, function, owners, bound, alias }
    }

    /// The hash of the request's key.
    pub(super) fn key(&self, query: &Query<'_>) -> Option<u64> {
        match self.by {
            By::Client { ipv4_prefix, ipv6_prefix } => {
                query.client.map(|client| hash::client(self.function, client, ipv4_prefix, ipv6_prefix))
            }
            By::Key => query.key.map(|key| match key {
                Key::Bytes(bytes) => hash::key(self.function, bytes),
                Key::Hash(hash) => hash,
            }),
        }
    }

    pub(super) fn select<O: Observe>(
        &self,
        scene: &Scene<'_>,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        let Some(key) = self.key(scene.query) else {
            observer.fell_back(Fallback::NoKey);
            return random(&self.alias, scene, rng);
        };
        let mut total = None;
        let mut may = |index: usize, observer: &mut O| {
            if scene.excludes(index) {
                return false;
            }
            let Some(bound) = self.bound else { return true };
            let has = scene.in_flight_to(&scene.slots[index]);
            if has == 0 {
                return true;
            }
            let room = bound.room(scene.slots[index].weight, *total.get_or_insert_with(|| scene.in_flight()));
            if has >= room {
                observer.scored(index, Score::Full(has, room));
            }
            has < room
        };
        let found = match &self.owners {
            Owners::Ring(ring) => ring.walk(key).take(MAX_STEPS).find(|index| may(*index, observer)),
            Owners::Maglev(maglev) => maglev.walk(key).take(MAX_STEPS).find(|index| may(*index, observer)),
            Owners::Rendezvous(nodes) => {
                if !O::LIVE {
                    (0..scene.slots.len()).for_each(|index| {
                        observer.scored(index, Score::Cost(1.0 / nodes.score(key, index)));
                    });
                }
                // After the scores: of an endpoint that is full, that is the last word.
                nodes.owner(key, |index| may(index, observer))
            }
        };
        if let (Some(index), Some(bound)) = (found, self.bound) {
            observer.may_have(total.map_or(1, |total| bound.room(scene.slots[index].weight, total)));
        }
        found.or_else(|| Self::least_loaded(scene))
    }

    /// Where there is most room: only if weights are so far apart that the walk did not come by.
    fn least_loaded(scene: &Scene<'_>) -> Option<usize> {
        let load =
            |index: usize| scene.in_flight_with_one_more(&scene.slots[index]) / scene.slots[index].weight;
        let left = (0..scene.slots.len()).filter(|index| !scene.excludes(*index));
        left.min_by(|a, b| load(*a).total_cmp(&load(*b)))
    }
}

impl Owners {
    fn new(table: Table, function: HashFunction, members: &[Member]) -> Self {
        let nodes: Vec<_> =
            members.iter().map(|member| (member.endpoint.id.as_str(), member.weight)).collect();
        match table {
            Table::Ring { points_per_weight } => Self::Ring(Ring::new(&nodes, points_per_weight, function)),
            Table::Maglev { size } => Self::Maglev(Maglev::new(&nodes, size, function)),
            Table::Rendezvous => Self::Rendezvous(Rendezvous::new(&nodes, function)),
        }
    }
}

impl Bound {
    /// How many requests an endpoint may have in flight, with one that comes to the `total` of all: 1 at least, so that
    /// nothing of this has to be asked of one that has none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fewer than 2^53 requests in flight"
    )]
    fn room(self, weight: f64, total: u64) -> u64 {
        let room = (self.per_weight * weight * (total + 1) as f64 - 1e-9).ceil();
        (room as u64).max(1)
    }
}
