//! The flags.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use crate::behaviour::document::{
    ConcurrencyDocument, Distribution, Document, DocumentError, ErrorsDocument, LatencyDocument,
    as_milliseconds, default_queue,
};
use crate::behaviour::{Behaviour, Connections, Health};
use crate::name::Name;

/// An endpoint to balance over, with settable speed and faults.
///
/// Answers /, /home, /health, /metrics, /api/data and /echo. What it does is changed at run time by PUT
/// or PATCH of JSON to /admin/behaviour, which GET shows.
#[derive(Clone, Debug, Parser)]
#[command(name = "evenkeel-demo", version)]
pub struct Args {
    /// Where clients connect; [::] takes IPv4 too, and is 0.0.0.0 where there is no IPv6.
    #[arg(long, value_name = "ADDR", default_value = "[::]:8080")]
    pub listen: SocketAddr,
    /// Another address for /admin/behaviour, which stays up while connections are refused or reset.
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// Name given in x-evenkeel-demo of every response [default: $HOSTNAME, or the machine's].
    #[arg(long)]
    pub name: Option<Name>,
    /// Makes latencies and errors the same in each run.
    #[arg(long)]
    pub seed: Option<u64>,
    /// On SIGTERM, how long to go on as if nothing had happened.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    pub shutdown_delay: Duration,
    /// Thereafter, how long open requests have to finish.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    pub shutdown_grace: Duration,
    /// What it does at first.
    #[command(flatten)]
    pub behaviour: BehaviourArgs,
}

/// The behaviour as flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Behaviour")]
pub struct BehaviourArgs {
    /// How latencies are distributed.
    #[arg(long, value_enum, default_value_t)]
    pub latency_distribution: Distribution,
    /// Mean latency, such as 20ms, at most 60s.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    pub latency_mean: Duration,
    /// Standard deviation of a log-normal latency's logarithm [default: 1].
    #[arg(long)]
    pub latency_sigma: Option<f64>,
    /// Share of requests that fail, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub error_rate: f64,
    /// Status of those, 400 to 599.
    #[arg(long, default_value_t = 500)]
    pub error_status: u16,
    /// Fail at once, ahead of queue and latency.
    #[arg(long)]
    pub error_fast: bool,
    /// Requests worked on at once [default: no limit].
    #[arg(long)]
    pub concurrency: Option<u32>,
    /// Requests that wait beyond those; further ones are answered 503.
    #[arg(long, default_value_t = default_queue())]
    pub queue: u32,
    /// CPU time that each request burns, at most 10s.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    pub cpu_burn: Duration,
    /// Utilization that responses report in endpoint-load-metrics, 0 to 1 [default: no report].
    #[arg(long)]
    pub utilization: Option<f64>,
    /// What /health says.
    #[arg(long, value_enum, default_value_t)]
    pub health: Health,
}

impl TryFrom<BehaviourArgs> for Behaviour {
    type Error = DocumentError;

    fn try_from(args: BehaviourArgs) -> Result<Self, DocumentError> {
        Self::try_from(Document {
            latency: LatencyDocument {
                distribution: args.latency_distribution,
                mean_ms: as_milliseconds(args.latency_mean),
                sigma: args.latency_sigma,
            },
            errors: ErrorsDocument {
                rate: args.error_rate,
                status: args.error_status,
                fast: args.error_fast,
            },
            concurrency: args.concurrency.map(|limit| ConcurrencyDocument { limit, queue: args.queue }),
            cpu_burn_ms: as_milliseconds(args.cpu_burn),
            utilization: args.utilization,
            health: args.health,
            connections: Connections::Accept,
        })
    }
}

/// Parses `250ms`, `1.5s` or `2m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let hint = || format!("{text:?} is not a time such as 250ms, 1.5s or 2m");
    let (number, seconds_per_unit) = [("ms", 1e-3), ("s", 1.0), ("m", 60.0)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(hint)?;
    let number: f64 = number.parse().map_err(|_not_a_number| hint())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_out_of_range| hint())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::behaviour::Latency;

    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(parse_time(text).ok(), expected, "{text}");
    }

    #[test]
    fn times() {
        check("250ms", Some(Duration::from_millis(250)));
        check("1.5s", Some(Duration::from_millis(1500)));
        check("2m", Some(Duration::from_secs(120)));
        check("0s", Some(Duration::ZERO));
        check("5", None);
        check("-1s", None);
        check("NaNs", None);
        check("ms", None);
        check("1h", None);
    }

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_flags_are_the_default() {
        let args = Args::parse_from(["evenkeel-demo"]);
        assert_eq!(Behaviour::try_from(args.behaviour).unwrap(), Behaviour::default());
    }

    #[test]
    fn flags_make_a_behaviour() {
        let flags = "evenkeel-demo --latency-distribution exponential --latency-mean 20ms --health failing";
        let args = Args::parse_from(flags.split(' '));
        let behaviour = Behaviour::try_from(args.behaviour).unwrap();
        assert_eq!(behaviour.latency, Latency::Exponential { mean: Duration::from_millis(20) });
        assert_eq!(behaviour.health, Health::Failing);
    }
}
