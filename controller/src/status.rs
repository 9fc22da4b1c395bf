//! What people are told of a pool. Pure: from what was found and what the proxies said, to conditions and counts.

mod algorithm;
mod news;

pub use algorithm::algorithm;
pub use news::{News, news};

use evenkeel_api::object::{
    Address, AlgorithmStatus, BalancerPoolStatus, EndpointCounts, ListenerStatus, ProxyCounts, condition,
    reason,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::problem::{Problem, Subject};

/// All that a pool's status follows from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Generation of the object.
    pub generation: i64,
    /// Generation whose references and listeners were looked at: the newest that could be read and is allowed.
    pub examined: Option<i64>,
    /// Names of the listeners.
    pub listeners: Vec<&'a str>,
    /// What is wrong with it.
    pub problems: &'a [Problem],
    /// Whether the live proxies use it.
    pub programmed: Programmed,
    /// Endpoints.
    pub endpoints: EndpointCounts,
    /// Proxies.
    pub proxies: ProxyCounts,
    /// The algorithm in use.
    pub algorithm: Option<AlgorithmStatus>,
    /// The newest configuration in which it changed.
    pub revision: Option<String>,
    /// Hash of its document.
    pub hash: Option<String>,
    /// Where clients reach it.
    pub address: Option<Address>,
    /// A load balancer was asked for and has given no address yet.
    pub address_pending: bool,
    /// The status as it was, whose transition times stay where nothing changed.
    pub old: Option<&'a BalancerPoolStatus>,
    /// Time of day.
    pub now: Timestamp,
}

/// Whether the live proxies use the newest generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Programmed {
    /// Every live proxy does.
    Yes,
    /// Not so, and why.
    No(&'static str, String),
    /// A new leader has not heard of all proxies yet: what the status says stays.
    Unknown,
}

/// The status of a pool.
#[must_use]
pub fn status(facts: Facts<'_>) -> BalancerPoolStatus {
    let accepted =
        judge(&facts, Subject::Accepted, reason::ACCEPTED, "the pool is valid and its class allows it");
    let resolved = resolved(&facts);
    let programmed = programmed(&facts);
    let ready = ready(&facts, &accepted, &resolved, &programmed);
    let old = facts.old.map_or(&[][..], |old| &old.conditions);
    let conditions = [
        (condition::ACCEPTED, accepted),
        (condition::RESOLVED_REFS, resolved),
        (condition::PROGRAMMED, programmed.clone()),
        (condition::READY, ready),
    ];
    BalancerPoolStatus {
        conditions: conditions
            .into_iter()
            .map(|(type_, verdict)| verdict.condition(type_, &facts, old))
            .collect(),
        listeners: facts.listeners.iter().map(|name| listener(&facts, name, &programmed)).collect(),
        endpoints: Some(facts.endpoints),
        proxies: Some(facts.proxies),
        algorithm: facts.algorithm,
        revision: facts.revision,
        hash: facts.hash,
        address: facts.address,
    }
}

/// A condition's status, reason and message.
#[derive(Clone, Debug)]
struct Verdict {
    holds: Option<bool>,
    reason: String,
    message: String,
    generation: Option<i64>,
}

impl Verdict {
    fn new(holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { holds: Some(holds), reason: reason.to_owned(), message: message.into(), generation: None }
    }

    fn condition(self, type_: &str, facts: &Facts<'_>, old: &[Condition]) -> Condition {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = old.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: Some(self.generation.unwrap_or(facts.generation)),
            last_transition_time: old.map_or(Time(facts.now), |old| old.last_transition_time.clone()),
        }
    }
}

/// The verdict on what `problems` says of the pool as a whole; the first problem names the reason, all are told.
fn judge(facts: &Facts<'_>, subject: Subject, good: &str, message: &str) -> Verdict {
    let found =
        facts.problems.iter().filter(|problem| problem.subject == subject && problem.listener.is_none());
    let found: Vec<_> = found.collect();
    let messages = || join(found.iter().map(|problem| problem.message.as_str()));
    match found.iter().find_map(|problem| problem.reason) {
        Some(reason) => Verdict::new(false, reason, messages()),
        None if found.is_empty() => Verdict::new(true, good, message),
        None => Verdict::new(true, good, messages()),
    }
}

fn resolved(facts: &Facts<'_>) -> Verdict {
    let verdict = match facts.examined {
        Some(_) => judge(facts, Subject::ResolvedRefs, reason::RESOLVED_REFS, "every reference is resolved"),
        None => {
            let message =
                "no generation that this controller has seen is accepted: its references are not looked at";
            Verdict { holds: None, ..Verdict::new(false, reason::PENDING, message) }
        }
    };
    Verdict { generation: facts.examined, ..verdict }
}

fn programmed(facts: &Facts<'_>) -> Verdict {
    let found =
        judge(facts, Subject::Programmed, reason::PROGRAMMED, "every live proxy uses this generation");
    if found.holds == Some(false) {
        return found;
    }
    match &facts.programmed {
        Programmed::Yes => found,
        Programmed::No(reason, message) => Verdict::new(false, reason, message.as_str()),
        Programmed::Unknown => {
            let old =
                facts.old.and_then(|old| old.conditions.iter().find(|c| c.type_ == condition::PROGRAMMED));
            match old {
                Some(old) => Verdict {
                    holds: match old.status.as_str() {
                        "True" => Some(true),
                        "False" => Some(false),
                        _ => None,
                    },
                    reason: old.reason.clone(),
                    message: old.message.clone(),
                    generation: old.observed_generation,
                },
                None => Verdict::new(false, reason::PENDING, "waiting for the proxies' answers"),
            }
        }
    }
}

fn ready(facts: &Facts<'_>, accepted: &Verdict, resolved: &Verdict, programmed: &Verdict) -> Verdict {
    let not = |verdict: &Verdict| verdict.holds != Some(true);
    if not(accepted) {
        Verdict::new(false, reason::NOT_ACCEPTED, accepted.message.clone())
    } else if not(resolved) {
        Verdict::new(false, reason::NOT_RESOLVED, resolved.message.clone())
    } else if not(programmed)
        || programmed.generation.is_some_and(|generation| generation != facts.generation)
    {
        Verdict::new(false, reason::NOT_PROGRAMMED, programmed.message.clone())
    } else if facts.endpoints.healthy == 0 {
        let message = match facts.endpoints.total {
            0 => "there is no endpoint: look at the Services that the backends name".to_owned(),
            1 if facts.endpoints.draining == 1 => {
                "the only endpoint drains: it terminates, or its weight or its backend's is 0".to_owned()
            }
            1 => "the only endpoint is not healthy on at least half of the proxies".to_owned(),
            total if total == facts.endpoints.draining => {
                format!(
                    "all {total} endpoints drain: they terminate, or their weight or their backend's is 0"
                )
            }
            total => format!("none of {total} endpoints is healthy on at least half of the proxies"),
        };
        let message = panic(facts).map_or(message.clone(), |panic| format!("{message}; {panic}"));
        Verdict::new(false, reason::NO_HEALTHY_ENDPOINT, message)
    } else if facts.address_pending {
        Verdict::new(false, reason::ADDRESS_PENDING, "the load balancer has given the Service no address yet")
    } else {
        Verdict::new(true, reason::READY, panic(facts).unwrap_or_else(|| "carries traffic".to_owned()))
    }
}

/// What is to be said of backends whose requests go to all endpoints.
fn panic(facts: &Facts<'_>) -> Option<String> {
    let backends = &facts.endpoints.panicking;
    let message = "too few endpoints are healthy, so that all take requests, healthy or not: backend";
    (!backends.is_empty()).then(|| format!("{message} {}", join(backends.iter().map(String::as_str))))
}

fn listener(facts: &Facts<'_>, name: &str, programmed: &Verdict) -> ListenerStatus {
    let of_this = |subject| {
        let found = facts.problems.iter().filter(move |problem| {
            problem.subject == subject
                && problem.listener.as_deref() == Some(name)
                && problem.reason.is_some()
        });
        let found: Vec<_> = found.collect();
        let reason = found.first().and_then(|problem| problem.reason)?;
        Some(Verdict::new(false, reason, join(found.iter().map(|problem| problem.message.as_str()))))
    };
    let accepted = of_this(Subject::Accepted)
        .unwrap_or_else(|| Verdict::new(true, reason::ACCEPTED, "the listener is valid"));
    let accepted = Verdict { generation: facts.examined, ..accepted };
    let programmed = of_this(Subject::Programmed).unwrap_or_else(|| programmed.clone());
    let old = facts.old.and_then(|old| old.listeners.iter().find(|listener| listener.name == name));
    let old = old.map_or(&[][..], |old| &old.conditions);
    ListenerStatus {
        name: name.to_owned(),
        conditions: vec![
            accepted.condition(condition::ACCEPTED, facts, old),
            programmed.condition(condition::PROGRAMMED, facts, old),
        ],
    }
}

/// Longest message of a condition (Kubernetes' limit is 32,768 characters; nobody reads that much).
const MAX_MESSAGE: usize = 1024;

fn join<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    let text = messages.collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Whether two statuses differ in more than counts, algorithm, revision and hash: such a difference is written at once.
#[must_use]
pub fn differs_at_once(old: &BalancerPoolStatus, new: &BalancerPoolStatus) -> bool {
    (&old.conditions, &old.listeners, &old.address) != (&new.conditions, &new.listeners, &new.address)
}
