//! How the figures of pools and endpoints are shown.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use prometheus::{
    Histogram,
    core::Collector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{CANCELLED, PoolFigures, PoolMetrics};

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// The families of pools and their endpoints; `poolless` are responses made for requests that belong to no pool.
pub(super) fn of_pools(
    pools: &[PoolFigures<'_>],
    poolless: &BTreeMap<(&'static str, u16), u64>,
) -> Vec<MetricFamily> {
    let mut families = vec![
        requests(pools),
        durations(pools),
        counted(
            "evenkeel_active_requests",
            "Requests not answered to the end yet.",
            MetricType::GAUGE,
            pools,
            |pool| pool.metrics.active.load(Relaxed),
        ),
        counted(
            "evenkeel_queued_requests",
            "Requests that wait until an endpoint has room.",
            MetricType::GAUGE,
            pools,
            |pool| pool.queue.waiting() as u64,
        ),
        labelled(
            "evenkeel_queue_requests_total",
            "result",
            "Requests that waited until an endpoint had room, or were to, by what became of them.",
            pools,
            |pool| pool.queue.results(),
        ),
        tallied(
            "evenkeel_algorithm_overrides_total",
            "algorithm",
            "Requests that named an algorithm that their pool allows.",
            pools,
            |of| of.overrides.all(),
        ),
        tallied(
            "evenkeel_ejections_total",
            "reason",
            "Endpoints taken out for how they answer requests.",
            pools,
            |of| of.ejections.all(),
        ),
        tallied(
            "evenkeel_responses_broken_total",
            "reason",
            "Responses that ended early after their head.",
            pools,
            |of| of.broken.all(),
        ),
        tallied("evenkeel_load_probes_total", "result", "Probes of load for Prequal.", pools, |of| {
            of.probes.all()
        }),
        tallied(
            "evenkeel_usage_pages_total",
            "result",
            "Prometheus pages of endpoints that were read for Adaptive, by what became of them.",
            pools,
            |of| of.usage_pages.all(),
        ),
        tallied("evenkeel_load_reports_total", "result", "Reports of load by endpoints.", pools, |of| {
            of.load_reports.all()
        }),
        made(pools, poolless),
    ];
    families.extend(of_balancing(pools));
    families.extend(of_retries(pools));
    families.extend(of_endpoints(pools));
    families.retain(|family| !family.get_metric().is_empty());
    families
}

fn of_balancing(pools: &[PoolFigures<'_>]) -> Vec<MetricFamily> {
    let algorithms = pools.iter().map(|pool| {
        let mut labels = pool_labels(pool);
        labels.push(("algorithm", pool.algorithm));
        (labels, 1.0)
    });
    let panics = pools.iter().flat_map(|pool| {
        pool.backends.iter().map(|(backend, panics)| {
            let mut labels = pool_labels(pool);
            labels.push(("backend", backend));
            (labels, f64::from(u8::from(*panics)))
        })
    });
    vec![
        family(
            "evenkeel_pool_algorithm_info",
            "The algorithm in use: the pool's, or the one that Auto has chosen.",
            MetricType::GAUGE,
            algorithms,
        ),
        family(
            "evenkeel_backend_panic",
            "Whether requests go to all endpoints of the backend, healthy or not, for too few are healthy.",
            MetricType::GAUGE,
            panics,
        ),
        tallied(
            "evenkeel_session_requests_total",
            "result",
            "Requests that an endpoint answered, by what became of their sessions.",
            pools,
            |of| of.sessions.all(),
        ),
    ]
}

fn of_retries(pools: &[PoolFigures<'_>]) -> Vec<MetricFamily> {
    vec![
        tallied("evenkeel_retries_total", "reason", "Requests sent to another endpoint.", pools, |of| {
            of.retries.all()
        }),
        tallied(
            "evenkeel_retried_requests_total",
            "result",
            "Requests that were sent to another endpoint, by what became of them.",
            pools,
            |of| of.retried.all(),
        ),
        counted(
            "evenkeel_retries_refused_total",
            "Requests not sent to another endpoint for want of budget.",
            MetricType::COUNTER,
            pools,
            |pool| pool.metrics.retries_refused.load(Relaxed),
        ),
    ]
}

fn of_endpoints(pools: &[PoolFigures<'_>]) -> Vec<MetricFamily> {
    type Value = fn(&super::EndpointFigures<'_>) -> Option<f64>;
    let shown: [(&str, &str, MetricType, Value); 7] = [
        (
            "evenkeel_endpoint_up",
            "Whether the endpoint takes requests, and passes its checks.",
            MetricType::GAUGE,
            |endpoint| Some(f64::from(u8::from(endpoint.up))),
        ),
        (
            "evenkeel_endpoint_weight",
            "Weight of the endpoint within its backend.",
            MetricType::GAUGE,
            |endpoint| Some(endpoint.weight.into()),
        ),
        (
            "evenkeel_endpoint_effective_weight",
            "Weight with all that adapts it; 0 if the endpoint takes no new requests.",
            MetricType::GAUGE,
            |endpoint| Some(endpoint.effective_weight),
        ),
        (
            "evenkeel_endpoint_response_time_seconds",
            "Response time as balancing sees it: smoothed, and higher after errors (Peak EWMA).",
            MetricType::GAUGE,
            |endpoint| endpoint.response_time,
        ),
        ("evenkeel_endpoint_active_requests", "Requests in flight.", MetricType::GAUGE, |endpoint| {
            Some(float(endpoint.in_flight))
        }),
        (
            "evenkeel_endpoint_requests_total",
            "Requests for which the endpoint was picked, retries included: all that were sent, and some whose client went away first.",
            MetricType::COUNTER,
            |endpoint| Some(float(endpoint.requests)),
        ),
        (
            "evenkeel_endpoint_failures_total",
            "Requests without a response, with one that broke off, or with a status of 500 and above.",
            MetricType::COUNTER,
            |endpoint| Some(float(endpoint.failures)),
        ),
    ];
    shown
        .into_iter()
        .map(|(name, help, kind, value)| {
            let series = pools.iter().flat_map(|pool| {
                with_series(pool)
                    .filter_map(move |endpoint| Some((endpoint_labels(pool, endpoint), value(endpoint)?)))
            });
            family(name, help, kind, series)
        })
        .chain([endpoints_ejected(pools), endpoint_durations(pools)])
        .collect()
}

/// Endpoints that have series of their own.
fn with_series<'p, 'a>(pool: &'p PoolFigures<'a>) -> impl Iterator<Item = &'p super::EndpointFigures<'a>> {
    pool.endpoints.iter().filter(|endpoint| endpoint.metrics.duration.is_some())
}

fn endpoints_ejected(pools: &[PoolFigures<'_>]) -> MetricFamily {
    let series = pools.iter().flat_map(|pool| {
        with_series(pool).filter_map(move |endpoint| {
            let mut labels = endpoint_labels(pool, endpoint);
            labels.push(("reason", endpoint.ejected?));
            Some((labels, 1.0))
        })
    });
    family(
        "evenkeel_endpoint_ejected",
        "Endpoints taken out for how they answer requests, and why; gone once they are back.",
        MetricType::GAUGE,
        series,
    )
}

fn endpoint_labels<'a>(pool: &PoolFigures<'a>, endpoint: &'a super::EndpointFigures<'a>) -> Labels<'a> {
    let mut labels = pool_labels(pool);
    labels.push(("endpoint", &endpoint.address));
    labels.extend(endpoint.pod.map(|pod| ("pod", pod)));
    labels
}

fn pool_labels<'a>(pool: &PoolFigures<'a>) -> Labels<'a> {
    vec![("pool_namespace", pool.namespace), ("pool", pool.name)]
}

fn requests(pools: &[PoolFigures<'_>]) -> MetricFamily {
    let mut metrics = Vec::new();
    for pool in pools {
        let mut add = |code: &str, count: u64| {
            if count > 0 {
                let mut labels = pool_labels(pool);
                labels.push(("code", code));
                metrics.push(number(MetricType::COUNTER, labels, float(count)));
            }
        };
        for (code, count) in pool.metrics.codes.iter().enumerate() {
            add(&code.to_string(), count.load(Relaxed));
        }
        add(CANCELLED, pool.metrics.cancelled.load(Relaxed));
    }
    named(
        "evenkeel_requests_total",
        "Requests by status, or cancelled by the client before there was one.",
        MetricType::COUNTER,
        metrics,
    )
}

fn durations(pools: &[PoolFigures<'_>]) -> MetricFamily {
    let metrics = pools.iter().filter_map(|pool| histogram(&pool.metrics.duration, pool_labels(pool)));
    named(
        "evenkeel_request_duration_seconds",
        "Time from a request's head to the end of its response.",
        MetricType::HISTOGRAM,
        metrics.collect(),
    )
}

fn endpoint_durations(pools: &[PoolFigures<'_>]) -> MetricFamily {
    let mut metrics = Vec::new();
    for pool in pools {
        for endpoint in &pool.endpoints {
            let own = endpoint.metrics.duration.as_ref();
            metrics.extend(own.and_then(|own| histogram(own, endpoint_labels(pool, endpoint))));
        }
        if pool.metrics.endpoint_duration.get_sample_count() > 0 {
            metrics.extend(histogram(&pool.metrics.endpoint_duration, pool_labels(pool)));
        }
    }
    named(
        "evenkeel_endpoint_duration_seconds",
        "Time from the end of a request to the head of the endpoint's response; without a label endpoint, that of all others.",
        MetricType::HISTOGRAM,
        metrics,
    )
}

fn counted(
    name: &str,
    help: &str,
    kind: MetricType,
    pools: &[PoolFigures<'_>],
    value: impl Fn(&PoolFigures<'_>) -> u64,
) -> MetricFamily {
    family(name, help, kind, pools.iter().map(|pool| (pool_labels(pool), float(value(pool)))))
}

fn tallied(
    name: &str,
    label: &'static str,
    help: &str,
    pools: &[PoolFigures<'_>],
    all: impl Fn(&PoolMetrics) -> BTreeMap<&'static str, u64>,
) -> MetricFamily {
    labelled(name, label, help, pools, |pool| all(pool.metrics))
}

fn labelled(
    name: &str,
    label: &'static str,
    help: &str,
    pools: &[PoolFigures<'_>],
    all: impl Fn(&PoolFigures<'_>) -> BTreeMap<&'static str, u64>,
) -> MetricFamily {
    let series = pools.iter().flat_map(|pool| {
        all(pool).into_iter().map(|(value, count)| {
            let mut labels = pool_labels(pool);
            labels.push((label, value));
            (labels, float(count))
        })
    });
    family(name, help, MetricType::COUNTER, series)
}

fn made(pools: &[PoolFigures<'_>], poolless: &BTreeMap<(&'static str, u16), u64>) -> MetricFamily {
    let of_none = (vec![("pool_namespace", ""), ("pool", "")], poolless.clone());
    let all = pools.iter().map(|pool| (pool_labels(pool), pool.metrics.made.all())).chain([of_none]);
    let mut metrics = Vec::new();
    for (labels, tally) in all {
        for ((reason, code), count) in tally {
            let code = code.to_string();
            let mut labels = labels.clone();
            labels.extend([("reason", reason), ("code", code.as_str())]);
            metrics.push(number(MetricType::COUNTER, labels, float(count)));
        }
    }
    named(
        "evenkeel_responses_total",
        "Responses that the proxy made itself, by reason.",
        MetricType::COUNTER,
        metrics,
    )
}

/// A family of numbers.
pub(super) fn family<'a>(
    name: &str,
    help: &str,
    kind: MetricType,
    series: impl IntoIterator<Item = (Labels<'a>, f64)>,
) -> MetricFamily {
    let metrics = series.into_iter().map(|(labels, value)| number(kind, labels, value));
    named(name, help, kind, metrics.collect())
}

fn named(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn number(kind: MetricType, labels: Labels<'_>, value: f64) -> Metric {
    let mut metric = Metric::from_label(pairs(labels));
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

fn histogram(histogram: &Histogram, labels: Labels<'_>) -> Option<Metric> {
    let mut metric = histogram.collect().pop()?.take_metric().pop()?;
    metric.set_label(pairs(labels));
    Some(metric)
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.into_iter().map(pair).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}
