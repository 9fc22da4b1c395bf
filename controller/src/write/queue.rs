//! What waits to be written: each object once, first come first served, the latest wins. Pure: time comes in.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use tokio::time::Instant;

use crate::{effect::Effect, election::Fence, event::ObjectName};

/// The object that an effect is on. Effects on different objects are carried out side by side, others one by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Status(ObjectName),
    Service(ObjectName),
    DefaultClass,
}

impl Key {
    pub(super) fn of(effect: &Effect) -> Self {
        match effect {
            Effect::Status { pool, .. } => Self::Status(pool.clone()),
            Effect::Service(service) => Self::Service(service.name.clone()),
            Effect::Alias { name, .. } | Effect::DeleteService { name, .. } => Self::Service(name.clone()),
            Effect::DefaultClass => Self::DefaultClass,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(name) | Self::Service(name) => name.fmt(f),
            Self::DefaultClass => f.write_str("default"),
        }
    }
}

/// An effect, and as long as what it may be carried out.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) effect: Effect,
    pub(super) fence: Fence,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    slots: HashMap<Key, Slot>,
    due: BTreeSet<(Instant, u64, Key)>,
    count: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// At most a deletion, and what comes after it.
    waiting: Vec<Item>,
    is_running: bool,
    /// When the next attempt is due, as `Queue::due` has it.
    due: Option<(Instant, u64)>,
    failures: u32,
    is_overload: bool,
}

impl Slot {
    /// Takes a newer effect, and returns those that it replaces.
    fn push(&mut self, item: Item) -> Vec<Item> {
        // What is to be made after a deletion needs the deletion; a deletion is the end of whatever was to be made.
        let is_kept = |old: &Item| is_deletion(old) && !is_deletion(&item);
        let (kept, replaced) = std::mem::take(&mut self.waiting).into_iter().partition(is_kept);
        self.waiting = kept;
        self.waiting.push(item);
        replaced
    }

    /// Takes back an effect that failed, unless a newer one replaces it; returns it then.
    fn push_back(&mut self, item: Item) -> Vec<Item> {
        let is_replaced = self.waiting.iter().any(|newer| !is_deletion(&item) || is_deletion(newer));
        if is_replaced {
            return vec![item];
        }
        self.waiting.insert(0, item);
        Vec::new()
    }
}

const fn is_deletion(item: &Item) -> bool {
    matches!(item.effect, Effect::DeleteService { .. })
}

impl Queue {
    /// Objects that wait or are being written.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes an effect, and returns those that it replaces.
    pub(super) fn submit(&mut self, item: Item, now: Instant) -> Vec<Item> {
        let key = Key::of(&item.effect);
        let slot = self.slots.entry(key.clone()).or_default();
        let replaced = slot.push(item);
        // An API server that is overloaded is left in peace; one that refused an object may like the new one.
        let is_resting = slot.is_overload && slot.due.is_some();
        if !slot.is_running && !is_resting {
            self.schedule(&key, now);
        }
        replaced
    }

    /// The next effect that is due; to be followed by [`Self::done`] or [`Self::failed`].
    pub(super) fn take(&mut self, now: Instant) -> Option<Item> {
        if self.next_due()? > now {
            return None;
        }
        let (_, _, key) = self.due.pop_first()?;
        let slot = self.slots.get_mut(&key)?;
        slot.due = None;
        slot.is_running = true;
        Some(slot.waiting.remove(0))
    }

    /// When the next effect is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _, _)| *due)
    }

    /// What was taken is done.
    pub(super) fn done(&mut self, key: &Key, now: Instant) {
        if let Some(slot) = self.slots.get_mut(key) {
            if slot.waiting.is_empty() {
                self.slots.remove(key);
            } else {
                (slot.is_running, slot.failures, slot.is_overload) = (false, 0, false);
                self.schedule(key, now);
            }
        }
    }

    /// What was taken failed, and is tried again after `pause` of the number of failures, unless a newer one replaced
    /// it; returns it then.
    pub(super) fn failed(
        &mut self,
        item: Item,
        is_overload: bool,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Vec<Item> {
        let key = Key::of(&item.effect);
        let Some(slot) = self.slots.get_mut(&key) else { return vec![item] };
        let replaced = slot.push_back(item);
        slot.is_running = false;
        slot.is_overload = is_overload;
        slot.failures += 1;
        let is_new = !replaced.is_empty() && !is_overload;
        let due = if is_new { now } else { now + pause(slot.failures) };
        self.schedule(&key, due);
        replaced
    }

    fn schedule(&mut self, key: &Key, due: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Some((due, count)) = slot.due.take() {
            self.due.remove(&(due, count, key.clone()));
        }
        self.count += 1;
        slot.due = Some((due, self.count));
        self.due.insert((due, self.count, key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn item(effect: Effect) -> Item {
        Item { effect, fence: Fence::unlimited() }
    }

    fn alias(name: &str, to: &str) -> Item {
        item(Effect::Alias {
            name: ObjectName::new("shop", name),
            labels: BTreeMap::new(),
            external_name: to.to_owned(),
        })
    }

    fn delete(name: &str, uid: &str) -> Item {
        item(Effect::DeleteService { name: ObjectName::new("shop", name), uid: uid.to_owned() })
    }

    fn told(item: &Item) -> String {
        match &item.effect {
            Effect::Alias { name, external_name, .. } => format!("{} -> {external_name}", name.name),
            Effect::DeleteService { name, uid } => format!("delete {} {uid}", name.name),
            other => format!("{other:?}"),
        }
    }

    /// Everything in the queue, in the order in which it is carried out.
    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(item) = queue.take(now) {
            queue.done(&Key::of(&item.effect), now);
            all.push(told(&item));
        }
        assert_eq!(queue.len(), 0);
        all
    }

    fn check(submitted: Vec<Item>, expect: &[&str]) {
        let now = Instant::now();
        let mut queue = Queue::default();
        for item in submitted {
            queue.submit(item, now);
        }
        assert_eq!(drain(&mut queue, now), expect);
    }

    #[test]
    fn the_latest_wins_and_the_first_come_first() {
        check(vec![alias("a", "1"), alias("b", "1"), alias("a", "2")], &["b -> 1", "a -> 2"]);
    }

    #[test]
    fn a_deletion_comes_before_what_is_made_after_it_and_ends_what_was_before() {
        check(
            vec![alias("a", "1"), delete("a", "u1"), alias("a", "2"), alias("a", "3")],
            &["delete a u1", "a -> 3"],
        );
        check(vec![alias("a", "1"), delete("a", "u1"), delete("a", "u2")], &["delete a u2"]);
    }

    #[test]
    fn an_object_is_never_written_twice_at_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.submit(alias("a", "1"), now);
        let running = queue.take(now).unwrap();
        queue.submit(alias("a", "2"), now);
        assert!(queue.take(now).is_none());
        queue.done(&Key::of(&running.effect), now);
        assert_eq!(drain(&mut queue, now), ["a -> 2"]);
    }

    #[test]
    fn a_failure_is_tried_again_after_a_pause() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.submit(alias("a", "1"), now);
        for failures in 1..=3 {
            let later = now + failures * SECOND;
            let failed = queue.take(later).unwrap();
            assert!(
                queue
                    .failed(failed, false, later, |n| {
                        assert_eq!(n, failures);
                        SECOND
                    })
                    .is_empty()
            );
            assert!(queue.take(later).is_none());
        }
        assert_eq!(queue.next_due(), Some(now + 4 * SECOND));
    }

    #[test]
    fn a_newer_effect_replaces_one_that_failed() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.submit(alias("a", "1"), now);
        let failed = queue.take(now).unwrap();
        queue.submit(alias("a", "2"), now);
        let replaced = queue.failed(failed, false, now, |_| SECOND);
        assert_eq!(replaced.iter().map(told).collect::<Vec<_>>(), ["a -> 1"]);
        assert_eq!(drain(&mut queue, now), ["a -> 2"]);
    }

    #[test]
    fn a_deletion_that_failed_still_comes_first() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.submit(delete("a", "u1"), now);
        let failed = queue.take(now).unwrap();
        queue.submit(alias("a", "2"), now);
        assert!(queue.failed(failed, false, now, |_| SECOND).is_empty());
        assert_eq!(drain(&mut queue, now + SECOND), ["delete a u1", "a -> 2"]);
    }

    #[test]
    fn an_overloaded_server_is_left_in_peace() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (is_overload, due) in [(true, now + SECOND), (false, now)] {
            queue.submit(alias("a", "1"), now);
            let failed = queue.take(now).unwrap();
            queue.failed(failed, is_overload, now, |_| SECOND);
            queue.submit(alias("a", "2"), now);
            assert_eq!(queue.next_due(), Some(due));
            drain(&mut queue, now + SECOND);
        }
    }
}
