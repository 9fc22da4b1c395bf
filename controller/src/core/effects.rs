//! What the leader does to the world after a step: Services, aliases, the default class, and the statuses.

use std::{collections::BTreeMap, time::Instant};

use super::{Core, Now};
use crate::{compile::Mode, effect::Effect, event::ObjectName, index::Changes};

/// The class that pools belong to if they name none.
const DEFAULT_CLASS: &str = "default";

/// Effects given out, so that none is given out twice while the writer is at it.
#[derive(Debug, Default)]
pub(super) struct Issued {
    services: BTreeMap<ObjectName, Effect>,
    default_class: bool,
    pub(super) counts_due: Option<Instant>,
}

impl Issued {
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.counts_due.filter(|due| *due > now)
    }

    /// Keeps an effect on a Service if it was not given out before.
    pub(super) fn service(&mut self, name: &ObjectName, effect: Effect, effects: &mut Vec<Effect>) {
        if self.services.get(name) != Some(&effect) {
            self.services.insert(name.clone(), effect.clone());
            effects.push(effect);
        }
    }
}

impl Core {
    /// What is to be done after a step. `told` says that something happened on which a status may depend.
    pub(super) fn effects(&mut self, changes: &Changes, told: bool, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in &changes.services {
            self.issued.services.remove(name);
        }
        if let Mode::Kubernetes { namespace, .. } = self.mode.clone() {
            let absent = self.index.class(DEFAULT_CLASS).is_none();
            if absent && !self.issued.default_class {
                effects.push(Effect::DefaultClass);
            }
            self.issued.default_class = absent;
            self.services(&namespace, &mut effects);
            self.sweep(&mut effects);
        }
        let due = self.issued.counts_due.is_some_and(|due| due <= now.instant);
        if told || due || !effects.is_empty() || self.wakes_statuses(now.instant) {
            self.statuses(now, &mut effects);
        }
        effects
    }
}
