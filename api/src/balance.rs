//! What pools say, in the terms of the balancing core.

use std::time::Duration;

use evenkeel_balance as balance;

use crate::object::{
    Adaptive, AdaptiveSignal, Algorithm, AlgorithmType, ConsistentHash, HashFunction, HashTableType,
    LeastResponseTime, PassiveHealthCheck, Prequal, PrequalSignals, SlowStart, SourceIpHash, WeightedByLoad,
};

impl From<&Algorithm> for balance::Algorithm {
    fn from(algorithm: &Algorithm) -> Self {
        match algorithm.type_ {
            AlgorithmType::RoundRobin => Self::RoundRobin,
            AlgorithmType::WeightedRoundRobin => Self::WeightedRoundRobin,
            AlgorithmType::Random => Self::Random,
            AlgorithmType::PowerOfTwoChoices => Self::PowerOfTwoChoices {
                choices: algorithm.power_of_two_choices.clone().unwrap_or_default().choices,
            },
            AlgorithmType::LeastRequest => {
                Self::LeastRequest { choices: algorithm.least_request.clone().unwrap_or_default().choices }
            }
            AlgorithmType::LeastResponseTime => {
                Self::LeastResponseTime((&algorithm.least_response_time.clone().unwrap_or_default()).into())
            }
            AlgorithmType::SourceIPHash => {
                Self::SourceIpHash((&algorithm.source_ip_hash.clone().unwrap_or_default()).into())
            }
            AlgorithmType::ConsistentHash => Self::ConsistentHash(
                algorithm.consistent_hash.as_ref().map(balance::ConsistentHash::from).unwrap_or_default(),
            ),
            AlgorithmType::Prequal => Self::Prequal((&algorithm.prequal.clone().unwrap_or_default()).into()),
            AlgorithmType::WeightedByLoad => {
                Self::WeightedByLoad((&algorithm.weighted_by_load.clone().unwrap_or_default()).into())
            }
            AlgorithmType::Adaptive => {
                Self::Adaptive((&algorithm.adaptive.clone().unwrap_or_default()).into())
            }
            AlgorithmType::Auto => Self::Auto(auto(algorithm)),
        }
    }
}

impl From<&LeastResponseTime> for balance::LeastResponseTime {
    fn from(of: &LeastResponseTime) -> Self {
        Self { choices: of.choices, decay: of.decay.into(), error_penalty: of.error_penalty.into() }
    }
}

impl From<HashFunction> for balance::HashFunction {
    fn from(function: HashFunction) -> Self {
        match function {
            HashFunction::XXHash64 => Self::XxHash64,
            HashFunction::MurmurHash3 => Self::MurmurHash3,
            HashFunction::Fnv1a => Self::Fnv1a,
            HashFunction::SipHash => Self::SipHash,
            HashFunction::MD5 => Self::Md5,
        }
    }
}

impl From<&SourceIpHash> for balance::SourceIpHash {
    fn from(of: &SourceIpHash) -> Self {
        Self {
            function: of.hash_function.into(),
            ipv4_prefix: of.ipv4_prefix_length,
            ipv6_prefix: of.ipv6_prefix_length,
        }
    }
}

impl From<&ConsistentHash> for balance::ConsistentHash {
    fn from(of: &ConsistentHash) -> Self {
        let table = match of.table.type_ {
            HashTableType::Ring => balance::Table::Ring {
                points_per_weight: of.table.ring.clone().unwrap_or_default().points_per_weight,
            },
            HashTableType::Maglev => {
                balance::Table::Maglev { size: of.table.maglev.clone().unwrap_or_default().table_size }
            }
            HashTableType::Rendezvous => balance::Table::Rendezvous,
        };
        let bounded_load = of.maximum_load_percent.map(percent);
        Self { table, function: of.hash_function.into(), bounded_load }
    }
}

impl From<&Prequal> for balance::Prequal {
    fn from(of: &Prequal) -> Self {
        Self {
            probes: f64::from(of.probes_per_request) + percent(of.extra_probes_percent),
            removals: f64::from(of.removals_per_request) + percent(of.extra_removals_percent),
            answers: of.max_samples,
            max_age: of.max_age.into(),
            hot_quantile: percent(of.busy_quantile_percent),
            surplus: percent(of.reuse_surplus_percent),
            max_uses: of.max_uses.into(),
            error_penalty: of.error_penalty.into(),
            signals: match of.signals {
                PrequalSignals::InBand => balance::Signals::InBand,
                PrequalSignals::LoadReports | PrequalSignals::Probes => balance::Signals::Fed,
            },
        }
    }
}

impl From<&WeightedByLoad> for balance::WeightedByLoad {
    fn from(of: &WeightedByLoad) -> Self {
        Self {
            metrics: of.metrics.clone(),
            error_penalty: percent(of.error_penalty_percent),
            blackout: of.blackout.into(),
            expiration: of.expiration.into(),
            update: of.update.into(),
        }
    }
}

impl From<&Adaptive> for balance::Adaptive {
    fn from(of: &Adaptive) -> Self {
        let signal = |signal: &AdaptiveSignal| match signal {
            AdaptiveSignal::CPU => balance::AdaptiveSignal::Cpu,
            AdaptiveSignal::Memory => balance::AdaptiveSignal::Memory,
            AdaptiveSignal::InFlight => balance::AdaptiveSignal::InFlight,
            AdaptiveSignal::ResponseTime => balance::AdaptiveSignal::ResponseTime,
            AdaptiveSignal::ErrorRate => balance::AdaptiveSignal::ErrorRate,
        };
        Self {
            signals: of.signals.iter().map(signal).collect(),
            min: percent(of.minimum_percent),
            max: percent(of.maximum_percent),
            smoothing: percent(of.smoothing_percent),
            hysteresis: percent(of.hysteresis_percent),
            interval: of.interval.into(),
            usage: match of.prometheus {
                Some(_) => balance::UsageSource::Fed,
                None => balance::UsageSource::Reports,
            },
        }
    }
}

/// What Auto may choose has the parameters that stand beside it.
fn auto(algorithm: &Algorithm) -> balance::Auto {
    let of = algorithm.auto.clone().unwrap_or_default();
    let of_type = |type_: &AlgorithmType| (&Algorithm { type_: *type_, ..algorithm.clone() }).into();
    balance::Auto {
        allowed: of.allowed.iter().map(of_type).collect(),
        dwell: of.dwell.into(),
        hysteresis: percent(of.hysteresis_percent),
        ..balance::Auto::default()
    }
}

impl From<&SlowStart> for balance::SlowStart {
    fn from(of: &SlowStart) -> Self {
        Self {
            window: of.window.into(),
            aggression: percent(of.aggression_percent),
            min: percent(of.minimum_percent),
        }
    }
}

impl From<&PassiveHealthCheck> for balance::Ejection {
    fn from(of: &PassiveHealthCheck) -> Self {
        let at_least_one = |count: u32| (count > 0).then_some(count);
        Self {
            consecutive_5xx: at_least_one(of.consecutive_5xx),
            consecutive_gateway_errors: at_least_one(of.consecutive_gateway_errors),
            success_rate: (of.success_rate.deviations_percent > 0).then(|| balance::SuccessRate {
                min_endpoints: of.success_rate.minimum_endpoints.into(),
                min_requests: of.success_rate.minimum_requests.into(),
                deviations: percent(of.success_rate.deviations_percent),
            }),
            failure_percentage: (of.failure_percentage.percent > 0).then(|| balance::FailurePercentage {
                percent: of.failure_percentage.percent,
                min_endpoints: of.failure_percentage.minimum_endpoints.into(),
                min_requests: of.failure_percentage.minimum_requests.into(),
            }),
            interval: of.interval.into(),
            base_time: of.base_ejection_time.into(),
            max_time: Duration::from(of.max_ejection_time),
            max_percent: of.max_ejection_percent,
            ..Self::default()
        }
    }
}

fn percent(value: impl Into<f64>) -> f64 {
    value.into() / 100.0
}

#[cfg(test)]
mod tests;
