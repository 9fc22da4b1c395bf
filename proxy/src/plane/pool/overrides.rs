//! What requests may name in place of a pool's algorithm, ready to be picked from.

use std::sync::Arc;

use evenkeel_api::object::{self, AlgorithmType};
use evenkeel_balance::{Algorithm, Balancer};

use super::PoolEntry;
use crate::{
    clock,
    snapshot::{Choice, Overrides},
};

impl PoolEntry {
    /// What requests may name beside the pool's own algorithm.
    pub(super) fn others(&self) -> impl Iterator<Item = AlgorithmType> {
        let own = self.document.algorithm.type_;
        let allowed = self.document.allow_algorithm_override.as_ref().map_or(&[][..], |of| &of.allowed);
        allowed.iter().copied().filter(move |of| *of != own)
    }

    /// One of them, with its parameters.
    pub(super) fn other(&self, of: AlgorithmType) -> Algorithm {
        let overrides = self.document.allow_algorithm_override.as_ref();
        let consistent_hash = overrides.and_then(|overrides| overrides.consistent_hash.clone());
        (&object::Algorithm { type_: of, consistent_hash, ..object::Algorithm::default() }).into()
    }

    /// One of them changes by what is learned of the endpoints, which the pool's own algorithm may not look at.
    pub(super) fn follows_for_others(&self) -> bool {
        self.others().any(follows)
    }

    /// Ready to be picked from. Those that do not change by what is learned are as they were `before`.
    pub(super) fn overrides(&self, before: Option<&Overrides>) -> Option<Overrides> {
        self.document.allow_algorithm_override.as_ref()?;
        let same = |of: AlgorithmType| {
            let kept = before.filter(|_| !follows(of))?.others.iter().find(|(known, _)| *known == of);
            kept.map(|(_, choice)| Arc::clone(choice))
        };
        let anew = |of| Arc::new(self.choice(self.tuner.balancer_with(&self.other(of), clock::now())));
        let others = self.others().map(|of| (of, same(of).unwrap_or_else(|| anew(of))));
        Some(Overrides { own: self.document.algorithm.type_, others: others.collect() })
    }

    pub(super) fn choice(&self, balancer: Balancer) -> Choice {
        let endpoints = balancer.endpoints().filter_map(|endpoint| self.endpoints.get(&endpoint.id));
        Choice { measured: endpoints.map(|entry| Arc::clone(&entry.metrics)).collect(), balancer }
    }
}

/// Its weights, or what it stands for, change with what is learned.
const fn follows(of: AlgorithmType) -> bool {
    matches!(of, AlgorithmType::WeightedByLoad | AlgorithmType::Adaptive | AlgorithmType::Auto)
}
