//! What a pool says is what the core is told.

use balance::{AdaptiveSignal as Signal, HashFunction as Function, Table};
use serde_json::{Value, json};

use super::*;
use crate::object::AlgorithmType::{LeastRequest, LeastResponseTime, Prequal, RoundRobin, WeightedByLoad};

fn of_type(type_: AlgorithmType) -> balance::Algorithm {
    (&Algorithm { type_, ..Algorithm::default() }).into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The core is told `expect` by an algorithm that leaves nothing to its defaults.
fn check(algorithm: &Value, expect: &balance::Algorithm) {
    let parsed: Algorithm = serde_json::from_value(algorithm.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed).unwrap(), *algorithm, "a parameter is left out");
    assert_eq!(balance::Algorithm::from(&parsed), *expect);
}

#[test]
fn the_defaults_of_the_spec_are_those_of_the_core() {
    assert_eq!(of_type(LeastRequest), balance::Algorithm::LeastRequest { choices: 16 });
    assert_eq!(of_type(LeastResponseTime), balance::Algorithm::LeastResponseTime(Default::default()));
    assert_eq!(of_type(WeightedByLoad), balance::Algorithm::WeightedByLoad(Default::default()));
    assert_eq!(of_type(AlgorithmType::Adaptive), balance::Algorithm::Adaptive(Default::default()));
    assert_eq!(of_type(AlgorithmType::SourceIPHash), balance::Algorithm::SourceIpHash(Default::default()));
    let balance::Algorithm::Prequal(prequal) = of_type(Prequal) else { panic!("Prequal") };
    // 2^-0.25, rounded to a whole per cent.
    assert!((prequal.hot_quantile - balance::Prequal::default().hot_quantile).abs() < 0.005);
    let hot_quantile = balance::Prequal::default().hot_quantile;
    assert_eq!(balance::Prequal { hot_quantile, ..prequal }, balance::Prequal::default());
    let balance::Algorithm::Auto(auto) = of_type(AlgorithmType::Auto) else { panic!("Auto") };
    let types = [LeastRequest, Prequal, LeastResponseTime, WeightedByLoad, RoundRobin];
    let names: Vec<_> = auto.allowed.iter().map(balance::Algorithm::name).collect();
    assert_eq!(names, types.map(AlgorithmType::as_str));
    assert_eq!(balance::SlowStart::from(&SlowStart::default()), balance::SlowStart::default());
    assert_eq!(balance::Ejection::from(&PassiveHealthCheck::default()), balance::Ejection::default());
}

#[test]
fn by_turn_or_by_load() {
    check(&json!({"type": "RoundRobin"}), &balance::Algorithm::RoundRobin);
    check(&json!({"type": "WeightedRoundRobin"}), &balance::Algorithm::WeightedRoundRobin);
    check(&json!({"type": "Random"}), &balance::Algorithm::Random);
    check(
        &json!({"type": "PowerOfTwoChoices", "powerOfTwoChoices": {"choices": 5}}),
        &balance::Algorithm::PowerOfTwoChoices { choices: 5 },
    );
    check(
        &json!({"type": "LeastRequest", "leastRequest": {"choices": 7}}),
        &balance::Algorithm::LeastRequest { choices: 7 },
    );
    check(
        &json!({"type": "LeastResponseTime",
            "leastResponseTime": {"choices": 3, "decay": "20s", "errorPenalty": "2s"}}),
        &balance::Algorithm::LeastResponseTime(balance::LeastResponseTime {
            choices: 3,
            decay: seconds(20),
            error_penalty: seconds(2),
        }),
    );
    check(
        &json!({"type": "WeightedByLoad", "weightedByLoad": {"metrics": ["named_metrics.queue"],
            "errorPenaltyPercent": 250, "blackout": "11s", "expiration": "12s", "update": "13s"}}),
        &balance::Algorithm::WeightedByLoad(balance::WeightedByLoad {
            metrics: vec!["named_metrics.queue".to_owned()],
            error_penalty: 2.5,
            blackout: seconds(11),
            expiration: seconds(12),
            update: seconds(13),
        }),
    );
}

#[test]
fn by_a_key() {
    for (name, function) in [
        ("XXHash64", Function::XxHash64),
        ("MurmurHash3", Function::MurmurHash3),
        ("FNV-1a", Function::Fnv1a),
        ("SipHash", Function::SipHash),
        ("MD5", Function::Md5),
    ] {
        let hash = json!({"hashFunction": name, "ipv4PrefixLength": 24, "ipv6PrefixLength": 64});
        check(
            &json!({"type": "SourceIPHash", "sourceIPHash": hash}),
            &balance::Algorithm::SourceIpHash(balance::SourceIpHash {
                function,
                ipv4_prefix: 24,
                ipv6_prefix: 64,
            }),
        );
        let tables = [
            (json!({"type": "Ring", "ring": {"pointsPerWeight": 40}}), Table::Ring { points_per_weight: 40 }),
            (json!({"type": "Maglev", "maglev": {"tableSize": 101}}), Table::Maglev { size: 101 }),
            (json!({"type": "Rendezvous"}), Table::Rendezvous),
        ];
        for (written, table) in tables {
            let keys = json!([{"type": "Header", "name": "x-user"}]);
            let hash =
                json!({"keys": keys, "table": written, "hashFunction": name, "maximumLoadPercent": 125});
            check(
                &json!({"type": "ConsistentHash", "consistentHash": hash}),
                &balance::Algorithm::ConsistentHash(balance::ConsistentHash {
                    table,
                    function,
                    bounded_load: Some(1.25),
                }),
            );
        }
    }
}

#[test]
fn by_samples() {
    for (name, probe, signals) in [
        ("InBand", None, balance::Signals::InBand),
        ("LoadReports", None, balance::Signals::Fed),
        ("Probes", Some(json!({"path": "/load", "port": 81, "timeout": "5ms"})), balance::Signals::Fed),
    ] {
        let mut prequal = json!({"probesPerRequest": 2, "extraProbesPercent": 50, "removalsPerRequest": 0,
            "extraRemovalsPercent": 25, "maxSamples": 9, "maxAge": "2s", "busyQuantilePercent": 75,
            "reuseSurplusPercent": 150, "maxUses": 7, "errorPenalty": "3s", "signals": name});
        if let Some(probe) = probe {
            prequal["probe"] = probe;
        }
        check(
            &json!({"type": "Prequal", "prequal": prequal}),
            &balance::Algorithm::Prequal(balance::Prequal {
                probes: 2.5,
                removals: 0.25,
                answers: Some(9),
                max_age: seconds(2),
                hot_quantile: 0.75,
                surplus: 1.5,
                max_uses: 7.0,
                error_penalty: seconds(3),
                signals,
            }),
        );
    }
}

#[test]
fn by_weights_that_follow() {
    let all = ["ErrorRate", "ResponseTime", "InFlight", "Memory", "CPU"];
    let signals = [Signal::ErrorRate, Signal::ResponseTime, Signal::InFlight, Signal::Memory, Signal::Cpu];
    let page = json!({"path": "/m", "port": 81, "timeout": "2s", "cpuSeconds": "cpu", "memoryBytes": "rss"});
    for (prometheus, usage) in
        [(None, balance::UsageSource::Reports), (Some(page), balance::UsageSource::Fed)]
    {
        let mut adaptive = json!({"signals": all, "minimumPercent": 25, "maximumPercent": 400,
            "smoothingPercent": 50, "hysteresisPercent": 75, "interval": "7s"});
        if let Some(page) = prometheus {
            adaptive["prometheus"] = page;
        }
        check(
            &json!({"type": "Adaptive", "adaptive": adaptive}),
            &balance::Algorithm::Adaptive(balance::Adaptive {
                signals: signals.to_vec(),
                min: 0.25,
                max: 4.0,
                smoothing: 0.5,
                hysteresis: 0.75,
                interval: seconds(7),
                usage,
            }),
        );
    }
}

#[test]
fn by_what_auto_chooses() {
    check(
        &json!({"type": "Auto", "leastRequest": {"choices": 7},
            "auto": {"allowed": ["RoundRobin", "LeastRequest"], "dwell": "1m", "hysteresisPercent": 25}}),
        &balance::Algorithm::Auto(balance::Auto {
            allowed: vec![balance::Algorithm::RoundRobin, balance::Algorithm::LeastRequest { choices: 7 }],
            dwell: seconds(60),
            hysteresis: 0.25,
            ..balance::Auto::default()
        }),
    );
}

#[test]
fn what_auto_may_choose_has_its_own_parameters() {
    let probes =
        crate::object::Prequal { signals: PrequalSignals::Probes, ..crate::object::Prequal::default() };
    let auto = Algorithm { type_: AlgorithmType::Auto, prequal: Some(probes), ..Algorithm::default() };
    let balance::Algorithm::Auto(auto) = (&auto).into() else { panic!("Auto") };
    let fed = auto.allowed.iter().find_map(|each| match each {
        balance::Algorithm::Prequal(prequal) => Some(prequal.signals),
        _ => None,
    });
    assert_eq!(fed, Some(balance::Signals::Fed));
    assert!(auto.allowed.contains(&of_type(LeastRequest)), "the others have their defaults");
}

#[test]
fn nothing_ejects_by_what_is_0() {
    let mut of = PassiveHealthCheck::default();
    (of.consecutive_5xx, of.consecutive_gateway_errors) = (0, 0);
    (of.success_rate.deviations_percent, of.failure_percentage.percent) = (0, 0);
    let never = balance::Ejection {
        consecutive_5xx: None,
        consecutive_gateway_errors: None,
        success_rate: None,
        failure_percentage: None,
        ..balance::Ejection::default()
    };
    assert_eq!(balance::Ejection::from(&of), never);
}

#[test]
fn what_is_around_every_algorithm() {
    let slow_start =
        SlowStart { window: crate::Duration::from_secs(60), aggression_percent: 200, minimum_percent: 25 };
    assert_eq!(
        balance::SlowStart::from(&slow_start),
        balance::SlowStart { window: seconds(60), aggression: 2.0, min: 0.25 }
    );
    let passive: PassiveHealthCheck = serde_json::from_value(json!({
        "consecutive5xx": 7, "consecutiveGatewayErrors": 8, "interval": "11s", "baseEjectionTime": "12s",
        "maxEjectionTime": "13s", "maxEjectionPercent": 14,
        "successRate": {"minimumEndpoints": 15, "minimumRequests": 16, "deviationsPercent": 250},
        "failurePercentage": {"percent": 17, "minimumEndpoints": 18, "minimumRequests": 19},
    }))
    .unwrap();
    assert_eq!(
        balance::Ejection::from(&passive),
        balance::Ejection {
            consecutive_5xx: Some(7),
            consecutive_gateway_errors: Some(8),
            success_rate: Some(balance::SuccessRate { min_endpoints: 15, min_requests: 16, deviations: 2.5 }),
            failure_percentage: Some(balance::FailurePercentage {
                percent: 17,
                min_endpoints: 18,
                min_requests: 19,
            }),
            interval: seconds(11),
            base_time: seconds(12),
            max_time: seconds(13),
            max_percent: 14,
            ..balance::Ejection::default()
        }
    );
}
