//! What the status says, and that it is so.

use std::time::Duration;

use evenkeel_api::channel::{EjectionReport, Rejection};

use super::{
    super::*,
    world::{SPEC, World, report, service},
};
use crate::event::Pool;

#[test]
fn the_last_word_of_a_silent_proxy_does_not_count() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let summaries = |world: &World| {
        let status = world.statuses[&ObjectName::new("shop", "a")].clone();
        (status.endpoints.unwrap().summary, status.proxies.unwrap().summary)
    };
    assert_eq!(summaries(&world), ("2/2".to_owned(), "2/2".to_owned()));
    world.deaf.extend(["p1".to_owned(), "p2".to_owned()]);
    world.wait(Duration::from_secs(11));
    assert_eq!(summaries(&world), ("0/2".to_owned(), "0/2".to_owned()));
    world.deaf.clear();
    world.settle();
    assert_eq!(summaries(&world), ("2/2".to_owned(), "2/2".to_owned()));
}

#[test]
fn programmed_means_the_whole_service() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let name = ObjectName::new("evenkeel-system", "pool-shop-a");
    let mut service = world.core.index().services()[&name].clone();
    service.selector.clear();
    world.apply(Event::Service(name, service));
    for effect in world.core.step(world.now).effects {
        world.carry_out(effect);
    }
    world.check("a", &["Programmed=False,Pending"]);
    world.settle();
    world.check("a", &["Programmed=True,Programmed"]);
}

#[test]
fn a_rejection_is_told() {
    let mut world = World::new();
    let why = Rejection { field: "timeouts".to_owned(), message: "unknown field".to_owned() };
    world.rejected.insert("uid-a".to_owned(), vec![why]);
    world.pool("a", 1, SPEC);
    world.settle();
    world.check("a", &["Programmed=False,ProxyRejected"]);

    // The proxies try again by themselves, and say so when they report.
    world.rejected.clear();
    let reported = report(world.version());
    for proxy in ["p1", "p2"] {
        world.deaf.insert(proxy.to_owned()); // no push is answered any more
        world.core.tell(proxy, ProxyEvent::Reported(Box::new(reported.clone())), world.now);
    }
    world.settle();
    world.check("a", &["Programmed=True,Programmed", "Ready=True,Ready"]);
}

#[test]
fn a_service_that_the_api_server_refuses_is_told() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let service = ObjectName::new("evenkeel-system", "pool-shop-a");
    world.core.judged(Verdict { service: service.clone(), refusal: Some("may not change".to_owned()) });
    world.settle();
    world.check("a", &["Programmed=False,ServiceRefused", "Ready=False,NotProgrammed"]);
    world.core.judged(Verdict { service, refusal: None });
    world.settle();
    world.check("a", &["Programmed=True,Programmed"]);
}

#[test]
fn what_takes_no_share_is_not_called_healthy() {
    let mut world = World::new();
    world.pool("a", 1, &SPEC.replace(r#""service""#, r#""weight": 0, "service""#));
    world.settle();
    world.check("a", &["Programmed=True,Programmed", "Ready=False,NoHealthyEndpoint"]);
    let counts = world.statuses[&ObjectName::new("shop", "a")].endpoints.clone().unwrap();
    assert_eq!((counts.total, counts.healthy, counts.draining), (2, 0, 2));
    let ready =
        world.statuses[&ObjectName::new("shop", "a")].conditions.iter().find(|each| each.type_ == "Ready");
    assert!(ready.unwrap().message.starts_with("all 2 endpoints drain: "), "{ready:?}");
}

#[test]
fn panic_and_ejections_are_told() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let mut reported = report(world.version());
    let pool = reported.pools.values_mut().next().unwrap();
    let backend = pool.endpoints.values().next().unwrap().backend.clone();
    pool.panicking = vec![backend.clone()];
    let reason = "Consecutive5xx".to_owned();
    let ejection = Some(EjectionReport { seconds_ago: 1, seconds_left: Some(29), reason });
    pool.endpoints.values_mut().next().unwrap().ejection = ejection;
    for proxy in ["p1", "p2"] {
        world.deaf.insert(proxy.to_owned());
        world.core.tell(proxy, ProxyEvent::Reported(Box::new(reported.clone())), world.now);
    }
    world.settle();
    let status = &world.statuses[&ObjectName::new("shop", "a")];
    let counts = status.endpoints.clone().unwrap();
    assert_eq!((counts.total, counts.healthy, counts.ejected), (2, 1, 1));
    assert_eq!(counts.panicking, std::slice::from_ref(&backend));
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(ready.status == "True" && ready.message.contains(&backend), "{ready:?}");
}

#[test]
fn what_was_not_looked_at_is_not_called_good() {
    let mut world = World::new();
    world.pool("a", 1, r#"{"listeners": 7}"#);
    world.settle();
    world.check("a", &["Accepted=False,Invalid", "ResolvedRefs=Unknown,Pending", "Programmed=False,Pending"]);
    world.pool("a", 2, SPEC);
    world.settle();
    world.pool("a", 3, r#"{"listeners": 7}"#);
    world.settle();
    let status = &world.statuses[&ObjectName::new("shop", "a")];
    let observed: Vec<_> = status.conditions.iter().map(|c| c.observed_generation.unwrap()).collect();
    assert_eq!(observed, [3, 2, 3, 3], "the references are those of the version that serves");
    assert_eq!(status.listeners[0].conditions[0].observed_generation, Some(2));
}

#[test]
fn the_algorithm_told_is_what_proxies_use() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let active = |world: &World| {
        world.statuses[&ObjectName::new("shop", "a")].algorithm.as_ref().map(|told| told.active.clone())
    };
    world.wait(Duration::from_secs(6));
    assert_eq!(active(&world).as_deref(), Some("LeastRequest"));
    world.deaf.extend(["p1".to_owned(), "p2".to_owned()]);
    world.pool("a", 2, &SPEC.replacen('{', r#"{"algorithm": {"type": "Random"},"#, 1));
    world.wait(Duration::from_secs(6));
    world.check("a", &["Programmed=False,Pending"]);
    assert_eq!(active(&world).as_deref(), Some("LeastRequest"), "no proxy has the edit");
    world.deaf.clear();
    world.settle();
    world.wait(Duration::from_secs(6));
    assert_eq!(active(&world).as_deref(), Some("Random"));
}

#[test]
fn a_foreign_service_is_never_touched() {
    let mut world = World::new();
    world.apply(Event::Service(ObjectName::new("shop", "a-lb"), service("own", 1)));
    world.pool("a", 1, SPEC);
    world.settle();
    world.check("a", &["Programmed=False,ServiceConflict"]);
    assert_eq!(world.services(), ["evenkeel-system/pool-shop-a"]);
}

#[test]
fn a_silent_proxy_is_told_and_a_dead_one_does_not_count() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.deaf.insert("p2".to_owned());
    world.wait(Duration::from_secs(9));
    world.check("a", &["Programmed=True,Programmed"]);
    world.wait(Duration::from_secs(2));
    world.check("a", &["Programmed=False,PartiallyProgrammed", "Ready=False,NotProgrammed"]);
    world.proxy("p2", false);
    world.settle();
    world.check("a", &["Programmed=True,Programmed"]);
}

#[test]
fn a_proxy_that_reports_another_version_uses_it_no_more() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    world.wait(Duration::from_secs(11)); // no new leader any more, which would give it time
    world.deaf.insert("p2".to_owned());
    world.core.tell("p2", ProxyEvent::Reported(Box::default()), world.now);
    world.settle();
    world.check("a", &["Programmed=False,Pending"]);
}

#[test]
fn a_leader_that_returns_corrects_what_another_wrote() {
    let mut world = World::new();
    world.pool("a", 1, SPEC);
    world.settle();
    let right = world.statuses[&ObjectName::new("shop", "a")].clone();
    world.core.follow();
    world.settle();
    let mut wrong = right.clone();
    wrong.conditions[2].status = "False".to_owned();
    let spec = serde_json::from_str(SPEC).unwrap();
    let pool =
        Pool { uid: "uid-a".to_owned(), generation: 1, created: 97, spec: Ok(spec), status: Some(wrong) };
    world.apply(Event::Pool(ObjectName::new("shop", "a"), Box::new(pool)));
    world.effects.clear();
    world.core.lead(3, &[], world.now);
    world.settle();
    world.check("a", &["Programmed=True,Programmed"]);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Status { .. })));
}
