//! What a document is refused for, and what is left out of it.

use super::*;

fn rejected(document: &Value, expect: &[&str]) {
    let found: Vec<_> =
        check(document).into_iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
    assert_eq!(found.len(), expect.len(), "{found:#?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!(found.starts_with(expect), "{found:?} does not start with {expect:?}");
    }
}

#[test]
fn a_document_keeps_to_the_rules_of_the_spec() {
    rejected(
        &json!({"algorithm": {"type": "PowerOfTwoChoices", "powerOfTwoChoices": {"choices": 1}}}),
        &["algorithm.powerOfTwoChoices.choices: 1 is less than the minimum of 2"],
    );
    rejected(&json!({"slowStart": {"widow": "2m"}}), &["slowStart.widow: unknown field"]);
    rejected(&json!({"algorithm": {"type": "ConsistentHash"}}), &["algorithm.consistentHash: "]);
    let both = json!({"type": "Ring", "maglev": {}});
    let hash = json!({"keys": [{"type": "Header"}, {"type": "Path"}], "table": both});
    rejected(
        &json!({"algorithm": {"type": "ConsistentHash", "consistentHash": hash}}),
        &["algorithm.consistentHash.keys[0].name: ", "algorithm.consistentHash.table.maglev: "],
    );
    let unseen = json!({"keys": [{"type": "Query", "name": "<id>"}]});
    rejected(
        &json!({"algorithm": {"type": "ConsistentHash", "consistentHash": unseen}}),
        &["algorithm.consistentHash.keys[0].name: name must be as it is written in the query"],
    );
    let none = json!({"cookie": {"sameSite": "None"}});
    rejected(&json!({"sessionAffinity": none}), &["sessionAffinity.cookie.sameSite: sameSite None needs"]);
    rejected(&json!({"retries": {"codes": [503], "budget": {"percent": 50}}}), &[]);
    rejected(
        &json!({"retries": {"attempts": 11, "codes": [200]}}),
        &["retries.attempts: 11 is greater", "retries.codes[0]: 200 is less"],
    );
    rejected(
        &json!({"retries": {"minRetryRate": {"interval": "10ms"}}}),
        &["retries.minRetryRate.interval: interval must be from 100ms to 1h"],
    );
    rejected(&json!({"locality": {"zone": {"requestsPerEndpoint": 8}}}), &[]);
    rejected(
        &json!({"locality": {"zone": {"spillAtPercent": 0}}}),
        &["locality.zone.spillAtPercent: 0 is less"],
    );
    rejected(&json!({"locality": {"region": {}}}), &[]);
    rejected(&json!({"locality": {}}), &["locality: locality needs zone, region, or both"]);
    let limits = |queue| json!({"limits": {"perEndpoint": {"concurrentRequests": 8}, "queue": queue}});
    rejected(&limits(json!({"size": 10})), &[]);
    rejected(&limits(json!({"timeout": "2m"})), &["limits.queue.timeout: timeout must be from 1ms to 1m"]);
    rejected(&json!({"limits": {}}), &["limits: \"perEndpoint\" is a required property"]);
}

#[test]
fn prequal_has_what_it_needs_within_bounds() {
    let prequal = |of| json!({"algorithm": {"type": "Prequal", "prequal": of}});
    rejected(&prequal(json!({"maxAge": "2s"})), &[]);
    rejected(
        &prequal(json!({"maxAge": "2m"})),
        &["algorithm.prequal.maxAge: maxAge must be from 10ms to 1m"],
    );
    rejected(&prequal(json!({"probesPerRequest": 0, "extraProbesPercent": 20, "maxSamples": 16})), &[]);
    rejected(
        &prequal(
            json!({"extraProbesPercent": 100, "maxSamples": 17, "reuseSurplusPercent": -1, "maxUses": 0}),
        ),
        &[
            "algorithm.prequal.extraProbesPercent: 100 is greater",
            "algorithm.prequal.maxSamples: 17 is greater",
            "algorithm.prequal.maxUses: 0 is less",
            "algorithm.prequal.reuseSurplusPercent: -1 is less",
        ],
    );
    for (probes, extra) in [(0, 0), (8, 1)] {
        rejected(
            &prequal(json!({"probesPerRequest": probes, "extraProbesPercent": extra})),
            &["algorithm.prequal.probesPerRequest: probesPerRequest and extraProbesPercent must make"],
        );
    }
    rejected(&prequal(json!({"signals": "Probes", "probe": {"path": "/load"}})), &[]);
    rejected(
        &prequal(json!({"signals": "Probes"})),
        &["algorithm.prequal.probe: signals Probes needs probe"],
    );
    rejected(&prequal(json!({"probe": {"path": "/"}})), &["algorithm.prequal.probe: probe needs signals"]);
    rejected(
        &prequal(json!({"signals": "Probes", "probe": {"path": "/", "timeout": "2s"}})),
        &["algorithm.prequal.probe.timeout: timeout must be from 1ms to 1s"],
    );
    rejected(
        &prequal(json!({"signals": "Probes", "probe": {"path": "/<id>"}})),
        &["algorithm.prequal.probe.path: \"/<id>\" does not match"],
    );
}

#[test]
fn nothing_is_twice_in_a_set() {
    rejected(
        &json!({"algorithm": {"type": "Adaptive", "adaptive": {"signals": ["CPU", "InFlight", "CPU", "CPU"]}}}),
        &[
            "algorithm.adaptive.signals[2]: duplicate value: \"CPU\"",
            "algorithm.adaptive.signals[3]: duplicate value: \"CPU\"",
        ],
    );
    rejected(
        &json!({"algorithm": {"type": "Auto", "auto": {"allowed": ["Prequal", "Random", "Random"]}}}),
        &["algorithm.auto.allowed[2]: duplicate value: \"Random\""],
    );
    rejected(&json!({"retries": {"codes": [503, 502, 503]}}), &["retries.codes[2]: duplicate value: 503"]);
    let key = json!({"type": "Path"});
    let hash = json!({"keys": [key, key]});
    rejected(&json!({"algorithm": {"type": "ConsistentHash", "consistentHash": hash}}), &[]);
}

#[test]
fn what_auto_may_choose_has_parameters_beside_it() {
    let auto = json!({"type": "Auto", "auto": {"allowed": ["RoundRobin", "Auto"]}});
    rejected(&json!({"algorithm": auto}), &["algorithm.auto.allowed: Auto chooses"]);
    let auto = |of| json!({"algorithm": {"type": "Auto", "auto": of, "prequal": {"maxAge": "2s"}}});
    rejected(&auto(json!({})), &[]);
    rejected(&auto(json!({"allowed": ["RoundRobin", "Prequal"]})), &[]);
    rejected(
        &auto(json!({"allowed": ["RoundRobin"]})),
        &["algorithm.prequal: prequal needs type Prequal, or Auto that may choose it"],
    );
    rejected(
        &json!({"algorithm": {"type": "Auto", "adaptive": {}}}),
        &["algorithm.adaptive: adaptive needs type Adaptive, or Auto"],
    );
}

#[test]
fn every_algorithm_may_be_named_with_what_it_needs() {
    let named = |of| json!({"allowAlgorithmOverride": of});
    let all = [
        "RoundRobin",
        "WeightedRoundRobin",
        "Random",
        "PowerOfTwoChoices",
        "LeastRequest",
        "LeastResponseTime",
        "SourceIPHash",
        "ConsistentHash",
        "Prequal",
        "WeightedByLoad",
        "Adaptive",
        "Auto",
    ];
    let hash = json!({"keys": [{"type": "Path"}]});
    rejected(&named(json!({"allowed": all, "consistentHash": hash})), &[]);
    rejected(
        &named(json!({"allowed": ["ConsistentHash"]})),
        &["allowAlgorithmOverride.consistentHash: ConsistentHash needs consistentHash with its keys"],
    );
    rejected(
        &named(json!({"allowed": ["Random"], "consistentHash": hash})),
        &["allowAlgorithmOverride.consistentHash: consistentHash needs ConsistentHash among allowed"],
    );
    let nameless = json!({"keys": [{"type": "Header"}]});
    rejected(
        &named(json!({"allowed": ["ConsistentHash"], "consistentHash": nameless})),
        &["allowAlgorithmOverride.consistentHash.keys[0].name: "],
    );
    rejected(&named(json!({"allowed": []})), &["allowAlgorithmOverride.allowed: [] has less than 1 item"]);
}

#[test]
fn a_page_is_for_the_signals_that_it_shows() {
    let page = |of| json!({"algorithm": {"type": "Adaptive", "adaptive": of}});
    rejected(&page(json!({"prometheus": {"port": 9100, "cpuSeconds": "jvm:cpu_total"}})), &[]);
    rejected(
        &page(json!({"signals": ["InFlight"], "prometheus": {}})),
        &["algorithm.adaptive.prometheus: prometheus needs the signal CPU or Memory"],
    );
    rejected(
        &page(json!({"prometheus": {"timeout": "2m"}})),
        &["algorithm.adaptive.prometheus.timeout: timeout must be from 10ms to 1m"],
    );
    rejected(
        &page(json!({"prometheus": {"memoryBytes": "rss{a=\"b\"}"}})),
        &["algorithm.adaptive.prometheus.memoryBytes: \"rss{a"],
    );
}

#[test]
fn defaults_are_left_out() {
    let document = |text: &str| {
        let text = format!(r#"{{"namespace": "shop", "name": "web", "generation": 1, {text}}}"#);
        serde_json::from_str::<PoolDocument>(&text).unwrap()
    };
    let whole = document(
        r#""algorithm": {"type": "Prequal", "prequal": {"maxAge": "1s", "probesPerRequest": 2}},
           "slowStart": {"window": "30s"}, "timeouts": {"connect": "1s", "request": "15s"}"#,
    );
    let value = sparse(&whole);
    assert_eq!(value["algorithm"], json!({"type": "Prequal", "prequal": {"probesPerRequest": 2}}));
    assert_eq!(value["slowStart"], json!({}));
    assert_eq!(value["timeouts"], json!({"connect": "1s"}));
    assert_eq!(serde_json::from_value::<PoolDocument>(value).unwrap(), whole);
}
