//! Endpoints that have left: a pod that is not ready for a while comes back with what was learned of it.

use std::{collections::HashMap, time::Duration};

use super::Record;
use crate::{EndpointId, Time};

/// How long they are remembered, if no request is in flight to them.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many of them at most: the latest. Rollouts leave behind what never comes back.
const MOST: usize = 1_000;

/// Their records, and since when they are gone.
#[derive(Debug, Default)]
pub(super) struct Left(HashMap<EndpointId, (Record, Time)>);

impl Left {
    /// Takes in those that leave now; of too many the oldest are forgotten.
    pub(super) fn extend(&mut self, records: HashMap<EndpointId, Record>, now: Time) {
        self.0.extend(records.into_iter().map(|(id, record)| (id, (record, now))));
        if self.0.len() > MOST {
            let idle = self.0.iter().filter(|(_, (record, _))| !is_held(record));
            let mut idle: Vec<_> = idle.map(|(id, (_, since))| (*since, id.clone())).collect();
            idle.sort();
            let too_many = (self.0.len() - MOST).min(idle.len());
            idle.drain(..too_many).for_each(|(_, id)| _ = self.0.remove(&id));
        }
    }

    /// Takes out one that comes back.
    pub(super) fn take(&mut self, id: &EndpointId) -> Option<Record> {
        self.0.remove(id).map(|(record, _)| record)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.values().map(|(record, _)| record)
    }

    pub(super) fn has(&self, id: &EndpointId) -> bool {
        self.0.contains_key(id)
    }

    /// Forgets those that are gone for long.
    pub(super) fn forget(&mut self, now: Time) {
        self.0.retain(|_, (record, since)| now.since(*since) < REMEMBERED || is_held(record));
    }
}

fn is_held(record: &Record) -> bool {
    record.state.in_flight() > 0
}
