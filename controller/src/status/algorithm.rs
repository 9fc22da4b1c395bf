//! Which algorithm a pool uses, as its status tells. Pure.

use std::collections::BTreeMap;

use evenkeel_api::{
    channel::PoolReport,
    object::{AlgorithmScore, AlgorithmStatus},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

/// Why, if Auto has no say in it.
const CONFIGURED: &str = "the pool's spec, or its default";
/// Highest score that is told, in per cent of that of the algorithm in use.
const MAX_PERCENT: f64 = 100_000.0;

/// The algorithm that most live proxies say they use. With Auto each proxy chooses for itself, and what spoke for the
/// choice when it was made is told too. `old` is what the status says so far; it stays while no proxy says anything.
#[must_use]
pub fn algorithm<'a>(
    reports: impl Iterator<Item = &'a PoolReport>,
    old: Option<&AlgorithmStatus>,
    now: Timestamp,
) -> Option<AlgorithmStatus> {
    let mut votes: BTreeMap<&str, Vec<&PoolReport>> = BTreeMap::new();
    for report in reports {
        votes.entry(&report.algorithm).or_default().push(report);
    }
    let count = |(active, voters): &(&str, Vec<&PoolReport>)| {
        (voters.len(), old.is_some_and(|old| old.active == *active)) // what is told stays on a tie
    };
    let Some((active, voters)) = votes.into_iter().max_by_key(count) else { return old.cloned() };
    let told = told(active, &voters, now);
    let is_known = |old: &&AlgorithmStatus| {
        let same_kind = (old.reason == CONFIGURED) == (told.reason == CONFIGURED);
        old.active == active && same_kind && (!old.scores.is_empty() || told.scores.is_empty())
    };
    Some(old.filter(is_known).cloned().unwrap_or(told))
}

/// What the proxy says that chose it first, if one of them chose.
fn told(active: &str, voters: &[&PoolReport], now: Timestamp) -> AlgorithmStatus {
    let chose = voters.iter().filter_map(|report| report.auto.as_ref()).max_by_key(|auto| auto.seconds_ago);
    let Some(auto) = chose else {
        let (active, reason) = (active.to_owned(), CONFIGURED.to_owned());
        return AlgorithmStatus { active, since: Time(now), reason, scores: Vec::new() };
    };
    let own = auto.scores.get(active).copied().filter(|score| *score > 0.0);
    let scores =
        own.into_iter().flat_map(|own| auto.scores.iter().map(move |(name, score)| (name, score / own)));
    let ago = SignedDuration::from_secs(i64::try_from(auto.seconds_ago).unwrap_or(i64::MAX));
    AlgorithmStatus {
        active: active.to_owned(),
        since: Time(now.checked_sub(ago).unwrap_or(now)),
        reason: auto.reason.clone(),
        scores: scores
            .map(|(name, part)| AlgorithmScore { type_: name.clone(), percent: percent(part) })
            .collect(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100,000")]
fn percent(part: f64) -> u32 {
    (part * 100.0).round().clamp(0.0, MAX_PERCENT) as u32
}

#[cfg(test)]
mod tests {
    use evenkeel_api::channel::AutoReport;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1000).unwrap()
    }

    fn report(algorithm: &str, seconds_ago: u64, scores: &[(&str, f64)]) -> PoolReport {
        let scores = scores.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect();
        let auto =
            AutoReport { seconds_ago, reason: format!("for {algorithm}"), scores, ..AutoReport::default() };
        PoolReport { algorithm: algorithm.to_owned(), auto: Some(auto), ..PoolReport::default() }
    }

    #[track_caller]
    fn check(found: Option<&AlgorithmStatus>, expect: &str) {
        let found = found.expect("a status");
        let scores = found.scores.iter().map(|score| format!(" {} {}", score.type_, score.percent));
        let text = format!("{} since {}: {}", found.active, found.since.0.as_second(), found.reason);
        assert_eq!(text + &scores.collect::<String>(), expect);
    }

    #[test]
    fn what_is_configured_is_told_once_proxies_use_it() {
        let uses = |algorithm: &str| PoolReport { algorithm: algorithm.to_owned(), ..PoolReport::default() };
        let of = |reports: &[PoolReport], old: Option<&AlgorithmStatus>, second: i64| {
            algorithm(reports.iter(), old, Timestamp::from_second(second).unwrap())
        };
        assert_eq!(of(&[], None, 1000), None, "nobody says that it is in use");
        let first = of(&[uses("Random")], None, 1000);
        check(first.as_ref(), "Random since 1000: the pool's spec, or its default");
        let same = of(&[uses("Random"), uses("Prequal")], first.as_ref(), 2000);
        assert_eq!(same, first, "one proxy has the edit, the other has not");
        let other = of(&[uses("Prequal"), uses("Prequal")], first.as_ref(), 2000);
        check(other.as_ref(), "Prequal since 2000: the pool's spec, or its default");
        let auto = of(&[report("Prequal", 5, &[])], other.as_ref(), 3000);
        check(auto.as_ref(), "Prequal since 2995: for Prequal");
    }

    #[test]
    fn the_choice_of_most_proxies_is_told() {
        let auto =
            |reports: &[PoolReport], old: Option<&AlgorithmStatus>| algorithm(reports.iter(), old, now());
        assert_eq!(auto(&[], None), None);
        let first = auto(&[report("LeastRequest", 5, &[])], None);
        check(first.as_ref(), "LeastRequest since 995: for LeastRequest");
        let scores = [("LeastRequest", 2.0), ("Prequal", 1.5)];
        let scored = auto(&[report("LeastRequest", 9, &scores)], first.as_ref());
        check(scored.as_ref(), "LeastRequest since 991: for LeastRequest LeastRequest 100 Prequal 75");
        let split = [report("LeastRequest", 20, &scores), report("Prequal", 1, &scores)];
        assert_eq!(auto(&split, scored.as_ref()), scored);
        let most = [&split[..], &[report("Prequal", 3, &scores)]].concat();
        let turned = auto(&most, scored.as_ref());
        check(turned.as_ref(), "Prequal since 997: for Prequal LeastRequest 133 Prequal 100");
        assert_eq!(auto(&[], turned.as_ref()), turned, "nobody has said anything else");
    }
}
