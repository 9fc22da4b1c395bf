//! Which changes of a status are worth an Event of Kubernetes: what somebody would want to find in `kubectl describe`.
//! Pure.

use evenkeel_api::object::{BalancerPoolStatus, condition, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// A change that is told once, when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Something is to be done about it.
    pub is_warning: bool,
    /// Type of the condition that changed.
    pub condition: String,
    /// Reason of the condition.
    pub reason: String,
    /// Message of the condition.
    pub message: String,
}

/// Waits that end by themselves, and what another condition tells already.
const QUIET: [&str; 5] = [
    reason::PENDING,
    reason::ADDRESS_PENDING,
    reason::NOT_ACCEPTED,
    reason::NOT_RESOLVED,
    reason::NOT_PROGRAMMED,
];

/// What `new` says that `old` did not: readiness, and whatever is wrong.
#[must_use]
pub fn news(old: Option<&BalancerPoolStatus>, new: &BalancerPoolStatus) -> Vec<News> {
    let before = |type_: &str| find(&old?.conditions, type_);
    let mut news: Vec<_> =
        new.conditions.iter().filter_map(|now| item(before(&now.type_), now, "")).collect();
    for listener in &new.listeners {
        let known = old.and_then(|old| old.listeners.iter().find(|of| of.name == listener.name));
        let prefix = format!("listener {}: ", listener.name);
        for now in &listener.conditions {
            let of_pool = find(&new.conditions, &now.type_);
            if of_pool.is_none_or(|pool| pool.reason != now.reason) {
                let before = known.and_then(|known| find(&known.conditions, &now.type_));
                news.extend(item(before, now, &prefix));
            }
        }
    }
    news.dedup_by(|one, other| one.message == other.message); // Accepted and Programmed of a listener
    news
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn item(before: Option<&Condition>, now: &Condition, prefix: &str) -> Option<News> {
    let holds = now.status == "True";
    let is_news = before.is_none_or(|before| (&before.status, &before.reason) != (&now.status, &now.reason));
    let is_told = if holds { now.type_ == condition::READY } else { !QUIET.contains(&now.reason.as_str()) };
    (is_news && is_told).then(|| News {
        is_warning: !holds,
        condition: now.type_.clone(),
        reason: now.reason.clone(),
        message: format!("{prefix}{}", now.message),
    })
}

#[cfg(test)]
mod tests {
    use evenkeel_api::object::ListenerStatus;
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn condition(text: &str) -> Condition {
        let (type_, rest) = text.split_once('=').unwrap();
        let (status, reason) = rest.split_once(',').unwrap();
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: format!("{reason}!"),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn status(conditions: &[&str], listener: &[&str]) -> BalancerPoolStatus {
        let conditions_of = |texts: &[&str]| texts.iter().map(|text| condition(text)).collect();
        let listener = ListenerStatus { name: "web".to_owned(), conditions: conditions_of(listener) };
        BalancerPoolStatus {
            conditions: conditions_of(conditions),
            listeners: vec![listener],
            ..BalancerPoolStatus::default()
        }
    }

    #[track_caller]
    fn check(old: Option<&BalancerPoolStatus>, new: &BalancerPoolStatus, expect: &[&str]) {
        let shown = |of: News| {
            format!("{} {}: {}", if of.is_warning { "Warning" } else { "Normal" }, of.reason, of.message)
        };
        assert_eq!(news(old, new).into_iter().map(shown).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn tells_readiness_and_faults_once() {
        let waiting =
            status(&["Accepted=True,Accepted", "Programmed=False,Pending", "Ready=False,NotProgrammed"], &[]);
        check(None, &waiting, &[]);
        let ready =
            status(&["Accepted=True,Accepted", "Programmed=True,Programmed", "Ready=True,Ready"], &[]);
        check(Some(&waiting), &ready, &["Normal Ready: Ready!"]);
        check(Some(&ready), &ready, &[]);
        let missing = status(&["ResolvedRefs=False,BackendNotFound", "Ready=False,NotResolved"], &[]);
        check(Some(&ready), &missing, &["Warning BackendNotFound: BackendNotFound!"]);
        let down = status(&["ResolvedRefs=True,ResolvedRefs", "Ready=False,NoHealthyEndpoint"], &[]);
        check(Some(&missing), &down, &["Warning NoHealthyEndpoint: NoHealthyEndpoint!"]);
    }

    #[test]
    fn a_listener_tells_what_the_pool_does_not() {
        let good = ["Accepted=True,Accepted", "Programmed=False,NoProxies"];
        let old = status(&good, &["Accepted=True,Accepted", "Programmed=False,NoProxies"]);
        check(None, &old, &["Warning NoProxies: NoProxies!"]);
        let new = status(&good, &["Accepted=False,Conflicted", "Programmed=False,Conflicted"]);
        check(Some(&old), &new, &["Warning Conflicted: listener web: Conflicted!"]);
    }
}
