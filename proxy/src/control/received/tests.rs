use evenkeel_api::channel::PoolText;
use proptest::prelude::*;
use serde_json::json;

use super::*;

type Pools = BTreeMap<PoolUid, Value>;

#[derive(Clone, Debug)]
enum Push {
    Put(SnapshotDocument),
    Patch(String, SnapshotPatch),
}

fn good(generation: i64) -> Value {
    json!({"namespace": "shop", "name": "web", "generation": generation, "algorithm": {"type": "RoundRobin"}})
}

fn unknown_field() -> Value {
    json!({"namespace": "shop", "name": "web", "generation": 9, "algorithm": {"type": "RoundRobin"}, "new": {"x": 1}})
}

fn pools<const N: usize>(pools: [(&str, Value); N]) -> Pools {
    pools.into_iter().map(|(uid, value)| (uid.to_owned(), value)).collect()
}

fn hash(pools: &Pools) -> String {
    let texts: Vec<_> =
        pools.iter().map(|(uid, value)| (uid.as_str(), PoolText::new(value).unwrap())).collect();
    snapshot_hash(texts.iter().map(|(uid, text)| (*uid, text.digest())))
}

fn put((epoch, revision): (u64, u64), pools: &Pools) -> Push {
    Push::Put(SnapshotDocument { epoch, revision, hash: hash(pools), pools: pools.clone() })
}

fn patch((epoch, revision): (u64, u64), old: &Pools, new: &Pools) -> Push {
    let of = |pools: &Pools| pools.clone().into_iter().collect::<Value>();
    let change = evenkeel_api::channel::merge_patch(&of(old), &of(new)).unwrap_or_else(|| json!({}));
    let pools = serde_json::from_value(change).unwrap();
    Push::Patch(hash(old), SnapshotPatch { epoch, revision, hash: hash(new), pools })
}

fn step(received: &Received, push: Push) -> Result<Step, Refusal> {
    match push {
        Push::Put(document) => received.put(document),
        Push::Patch(base, patch) => received.patch(&base, &patch),
    }
}

/// Takes a push; the plane refuses pools of generation 13.
fn deliver(received: &mut Received, push: Push) -> String {
    match step(received, push) {
        Ok(Step::Same) => "same".to_owned(),
        Ok(Step::Next(candidate)) => {
            *received = settle(candidate);
            "taken".to_owned()
        }
        Err(Refusal::Stale { epoch, revision }) => format!("stale {epoch}.{revision}"),
        Err(Refusal::UnknownBase(_)) => "unknown base".to_owned(),
        Err(Refusal::Diverged { .. }) => "diverged".to_owned(),
        Err(Refusal::WrongHash { .. }) => "wrong hash".to_owned(),
        Err(Refusal::NotCanonical { .. }) => "not canonical".to_owned(),
    }
}

fn settle(candidate: Candidate) -> Received {
    let unlucky = candidate.desired().into_iter().filter(|(_, document)| document.generation == 13);
    let refused = unlucky.map(|(uid, _)| {
        (uid, vec![Rejection { field: "listeners".to_owned(), message: "port in use".to_owned() }])
    });
    let refused = refused.collect();
    candidate.settle(refused)
}

fn check(pushes: impl IntoIterator<Item = (Push, &'static str)>) -> Received {
    check_from(Received::nothing(0), pushes)
}

fn check_from(mut received: Received, pushes: impl IntoIterator<Item = (Push, &'static str)>) -> Received {
    for (at, (push, expect)) in pushes.into_iter().enumerate() {
        assert_eq!(deliver(&mut received, push), expect, "push {at}");
    }
    received
}

/// Generations in use, by pool.
fn active(received: &Received) -> BTreeMap<&str, i64> {
    let of = |pool: &Pool| pool.active.as_ref().map(|version| version.document.generation);
    received.pools.iter().filter_map(|(uid, pool)| Some((uid.as_str(), of(pool)?))).collect()
}

#[test]
fn order_is_epoch_then_revision() {
    let (one, two) = (pools([("a", good(1))]), pools([("a", good(2))]));
    check([
        (put((2, 5), &one), "taken"),
        (put((2, 5), &one), "same"),
        (put((2, 5), &two), "stale 2.5"),
        (put((2, 4), &one), "stale 2.5"),
        (put((1, 9), &one), "stale 2.5"),
        (patch((1, 9), &one, &two), "stale 2.5"),
        (put((2, 6), &one), "taken"),
        (put((3, 1), &two), "taken"),
        (put((2, 7), &two), "stale 3.1"),
    ]);
}

#[test]
fn a_patch_needs_its_base() {
    let none = Pools::new();
    let (one, two) = (pools([("a", good(1))]), pools([("a", good(2)), ("b", good(1))]));
    let wrong = |push| match push {
        Push::Patch(base, patch) => Push::Patch(base, SnapshotPatch { hash: hash(&none), ..patch }),
        put @ Push::Put(_) => put,
    };
    let received = check([
        (patch((1, 1), &none, &one), "unknown base"),
        (put((1, 1), &one), "taken"),
        (patch((1, 2), &two, &one), "unknown base"),
        (wrong(patch((1, 2), &one, &two)), "diverged"),
        (patch((1, 2), &one, &two), "taken"),
        (patch((1, 2), &one, &two), "same"),
        (patch((1, 3), &two, &one), "taken"),
        (patch((2, 1), &one, &one), "taken"),
    ]);
    assert_eq!((received.position(), received.hash()), ((2, 1), hash(&one).as_str()));
}

#[test]
fn a_whole_state_must_have_its_own_hash() {
    let Push::Put(document) = put((1, 1), &pools([("a", good(1))])) else { unreachable!() };
    check([
        (Push::Put(SnapshotDocument { pools: Pools::new(), ..document.clone() }), "wrong hash"),
        (Push::Put(document), "taken"),
    ]);
}

#[test]
fn a_pool_that_cannot_be_read_keeps_its_version_and_hurts_no_other() {
    let before = pools([("a", good(1)), ("b", good(1))]);
    let after = pools([("a", unknown_field()), ("b", good(2)), ("c", json!("nonsense"))]);
    let received = check([(put((1, 1), &before), "taken"), (patch((1, 2), &before, &after), "taken")]);
    assert_eq!(active(&received), BTreeMap::from([("a", 1), ("b", 2)]));
    assert_eq!(received.hash(), hash(&after));

    let report = received.acknowledgement();
    assert_eq!(report.rejected.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(report.rejected["a"][0].field, "new");
    let snapshot = received.snapshot();
    assert_eq!(snapshot.pools, after);
    assert_eq!(snapshot.active, pools([("a", good(1))]));
    assert!(!received.may_improve());

    // Repaired by a patch of what was received, not of what is in use.
    let mut repaired = after.clone();
    repaired.insert("a".to_owned(), good(3));
    repaired.remove("c");
    let received = check_from(received, [(patch((1, 3), &after, &repaired), "taken")]);
    assert_eq!(active(&received), BTreeMap::from([("a", 3), ("b", 2)]));
    assert_eq!(received.acknowledgement().rejected, BTreeMap::new());
}

#[test]
fn a_pool_that_the_plane_refuses_keeps_its_version_and_is_tried_again() {
    let before = pools([("a", good(1))]);
    let after = pools([("a", good(13)), ("b", good(13))]);
    let received = check([(put((1, 1), &before), "taken"), (put((1, 2), &after), "taken")]);
    assert_eq!(active(&received), BTreeMap::from([("a", 1)]));
    assert_eq!(received.snapshot().active, before);
    assert_eq!(received.rejected_pools(), 2);

    assert!(received.may_improve());
    let again = received.again();
    assert_eq!(again.desired()["a"].generation, 13);
    let lucky = again.settle(BTreeMap::new());
    assert_eq!(active(&lucky), BTreeMap::from([("a", 13), ("b", 13)]));
    assert_eq!((lucky.position(), lucky.rejected_pools()), ((1, 2), 0));
}

#[test]
fn a_follower_is_heard_before_the_first_push_only() {
    let (one, two) = (pools([("a", good(1))]), pools([("a", good(2))]));
    let received = check([(put((0, 7), &one), "taken")]);
    assert_eq!(received.source(), Source::Follower);
    check_from(
        received,
        [
            (patch((1, 1), &one, &two), "taken"),
            (put((0, 9), &one), "stale 1.1"),
            (patch((0, 9), &two, &one), "stale 1.1"),
        ],
    );
}

#[test]
fn what_was_kept_is_restored_as_it_was() {
    let before = pools([("a", good(1)), ("b", good(1)), ("d", good(1))]);
    let after = pools([("a", unknown_field()), ("b", good(13)), ("c", good(13)), ("d", good(2))]);
    let received = check([(put((5, 1), &before), "taken"), (put((5, 2), &after), "taken")]);
    let kept = received.snapshot();
    let candidate = Received::nothing(0).restore(&kept).unwrap();
    let generations = |candidate: &Candidate| {
        candidate.desired().into_iter().map(|(uid, pool)| (uid, pool.generation)).collect::<Vec<_>>()
    };
    let expect = [("a".to_owned(), 1), ("b".to_owned(), 1), ("d".to_owned(), 2)];
    assert_eq!(generations(&candidate), expect);
    let restored = settle(candidate);
    assert_eq!(restored.snapshot(), kept);
    assert_eq!(restored.source(), Source::Disk);

    // A leader that sends the same makes it its own; an older one stays out; a follower knows better than the disk.
    let same = check_from(restored.clone(), [(put((5, 2), &after), "taken"), (put((5, 2), &after), "same")]);
    assert_eq!(same.source(), Source::Leader);
    check_from(
        restored,
        [
            (put((4, 9), &before), "stale 5.2"),
            (put((0, 1), &before), "taken"),
            (put((4, 9), &before), "stale 5.0"),
            (put((5, 1), &before), "taken"),
        ],
    );
    let damaged = ReceivedSnapshot { pools: before, ..kept };
    assert!(matches!(Received::nothing(0).restore(&damaged), Err(Refusal::WrongHash { .. })));
}

/// States of two leaders, of which the second has led since the first was at `takeover`.
#[derive(Clone, Debug)]
struct History {
    states: Vec<Pools>,
    takeover: usize,
}

impl History {
    fn position(&self, at: usize) -> (u64, u64) {
        if at < self.takeover { (1, at as u64 + 1) } else { (2, (at - self.takeover) as u64 + 1) }
    }
}

/// A push as sent: of state `to`, whole or against `from`.
#[derive(Clone, Debug)]
struct Sent {
    to: prop::sample::Index,
    from: Option<prop::sample::Index>,
}

fn history() -> impl Strategy<Value = History> {
    let pool = prop_oneof![
        4 => (0..20_i64).prop_map(good),
        1 => Just(unknown_field()),
        1 => Just(json!([1, "x"])),
    ];
    let state = prop::collection::btree_map("[a-d]", pool, 0..4);
    (prop::collection::vec(state, 1..8), 0..8_usize)
        .prop_map(|(states, takeover)| History { states, takeover })
}

fn sent() -> impl Strategy<Value = Sent> {
    (any::<prop::sample::Index>(), any::<Option<prop::sample::Index>>())
        .prop_map(|(to, from)| Sent { to, from })
}

proptest! {
    /// Whatever is lost, doubled or overtaken on the way: what is here is always a state that was sent, never an older
    /// one than before, and the first heartbeat makes it the leader's.
    #[test]
    fn any_sequence_of_pushes_converges(history in history(), sent in prop::collection::vec(sent(), 0..24)) {
        let mut received = Received::nothing(0);
        for Sent { to, from } in sent {
            let to = to.index(history.states.len());
            let (position, state) = (history.position(to), &history.states[to]);
            let push = match from {
                Some(from) => patch(position, &history.states[from.index(history.states.len())], state),
                None => put(position, state),
            };
            let before = received.position();
            let verdict = deliver(&mut received, push);
            prop_assert!(received.position() >= before);
            if verdict == "taken" || verdict == "same" {
                prop_assert_eq!(received.position(), position);
                prop_assert_eq!(received.hash(), hash(state));
                prop_assert_eq!(&received.snapshot().pools, state);
            }
        }
        let last = history.states.len() - 1;
        let (position, state) = (history.position(last), &history.states[last]);
        if (received.position(), received.hash()) != (position, &hash(state)) {
            deliver(&mut received, put(position, state));
        }
        prop_assert_eq!(received.position(), position);
        prop_assert_eq!(received.hash(), hash(state));
        for (uid, value) in state {
            let pool = &received.pools[uid];
            let carried_out = pool.active.as_ref().is_some_and(|version| version.text.to_value() == *value);
            let generation = value.get("generation").and_then(Value::as_i64);
            prop_assert_eq!(carried_out, pool.rejections.is_empty());
            prop_assert_eq!(carried_out, *value == good(generation.unwrap_or_default()) && generation != Some(13));
        }
    }
}
