//! `evenkeel get pools|endpoints|proxies`.

use std::process::ExitCode;

use anyhow::bail;
use evenkeel_api::{channel::Quantiles, object::condition};
use evenkeel_controller::{
    admin::List,
    view::{EndpointRow, PoolRow, ProxyRow},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    args::{Format, Get, Kind},
    output, server,
    table::Table,
};

/// Lists what was asked for.
///
/// # Errors
/// If no controller answers, or a name was given and there is none such.
pub async fn run(get: Get) -> anyhow::Result<ExitCode> {
    match get.what {
        Kind::Pools => list::<PoolRow>(&get, "pools").await,
        Kind::Endpoints => list::<EndpointRow>(&get, "endpoints").await,
        Kind::Proxies => list::<ProxyRow>(&get, "proxies").await,
    }
}

/// A row that can be shown in columns.
trait Row: Serialize + DeserializeOwned {
    const HEADINGS: &'static [&'static str];
    const WIDE: &'static [&'static str];
    /// Namespace, if rows of this kind have one.
    fn namespace(&self) -> Option<&str>;
    /// What `-o name` prints, and what a name on the command line chooses by.
    fn name(&self) -> &str;
    fn cells(&self) -> Vec<String>;
    fn wide(&self) -> Vec<String>;
}

async fn list<T: Row>(get: &Get, kind: &str) -> anyhow::Result<ExitCode> {
    let mut rows: List<T> = server::rows(&get.server, kind).await?;
    rows.items.retain(|row| chosen(row, get));
    if let Some(name) = &get.name
        && rows.items.is_empty()
    {
        bail!("there is no such thing among the {kind}: {name}");
    }
    print(&rows, get)?;
    Ok(ExitCode::SUCCESS)
}

fn chosen<T: Row>(row: &T, get: &Get) -> bool {
    let namespace = get.namespace.as_deref().filter(|_| !get.all_namespaces);
    let in_namespace = row.namespace().is_none_or(|of| namespace.is_none_or(|namespace| namespace == of));
    in_namespace && get.name.as_deref().is_none_or(|name| name == row.name())
}

fn print<T: Row>(rows: &List<T>, get: &Get) -> anyhow::Result<()> {
    match get.output {
        Format::Json | Format::Yaml => return output::data(&rows.items, get.output),
        Format::Name => rows.items.iter().for_each(|row| output::line(row.name())),
        Format::Table | Format::Wide => {
            for line in lines(&rows.items, get.output == Format::Wide) {
                output::line(&line);
            }
        }
    }
    rows.problems.iter().for_each(|problem| output::note(problem));
    Ok(())
}

fn lines<T: Row>(rows: &[T], wide: bool) -> Vec<String> {
    if rows.is_empty() {
        return vec!["nothing found".to_owned()];
    }
    let more = if wide { T::WIDE } else { &[] };
    let mut table = Table::new(&[T::HEADINGS, more].concat());
    for row in rows {
        let more = if wide { row.wide() } else { Vec::new() };
        table.row([row.cells(), more].concat());
    }
    table.lines()
}

impl Row for PoolRow {
    const HEADINGS: &'static [&'static str] =
        &["NAMESPACE", "NAME", "ALGORITHM", "ENDPOINTS", "PROXIES", "ACCEPTED", "PROGRAMMED", "READY"];
    const WIDE: &'static [&'static str] = &["LISTENERS", "REQUESTS", "RETRIES", "REVISION", "ADDRESS"];

    fn namespace(&self) -> Option<&str> {
        Some(&self.namespace)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn cells(&self) -> Vec<String> {
        let status = |type_: &str| {
            let condition = self.status.conditions.iter().find(|condition| condition.type_ == type_);
            condition.map(|condition| condition.status.clone()).unwrap_or_default()
        };
        vec![
            self.namespace.clone(),
            self.name.clone(),
            self.algorithm.clone().unwrap_or_default(),
            self.status.endpoints.as_ref().map(|counts| counts.summary.clone()).unwrap_or_default(),
            self.status.proxies.as_ref().map(|counts| counts.summary.clone()).unwrap_or_default(),
            status(condition::ACCEPTED),
            status(condition::PROGRAMMED),
            status(condition::READY),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.listeners.join(","),
            self.requests.to_string(),
            self.retries.to_string(),
            self.status.revision.clone().unwrap_or_default(),
            self.status.address.as_ref().map(|address| address.alias.clone()).unwrap_or_default(),
        ]
    }
}

impl Row for EndpointRow {
    const HEADINGS: &'static [&'static str] =
        &["NAMESPACE", "POOL", "ENDPOINT", "WEIGHT", "HEALTHY", "IN-FLIGHT", "REQUESTS", "FAILURES"];
    const WIDE: &'static [&'static str] =
        &["EFFECTIVE", "SUCCESS", "P50", "P95", "P99", "BACKEND", "POD", "DRAINING", "REASON"];

    fn namespace(&self) -> Option<&str> {
        Some(&self.namespace)
    }

    fn name(&self) -> &str {
        &self.address
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.namespace.clone(),
            self.pool.clone(),
            self.address.clone(),
            self.weight.to_string(),
            format!("{}/{}", self.healthy_on, self.proxies),
            self.in_flight.to_string(),
            self.requests.to_string(),
            self.failures.to_string(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        let recent = self.recent.as_ref();
        let quantile = |of: fn(&Quantiles) -> f64| {
            let times = recent.and_then(|recent| recent.response_time.as_ref());
            times.map(|times| format!("{:.1} ms", of(times))).unwrap_or_default()
        };
        vec![
            self.effective_weight.map(|weight| format!("{weight:.2}")).unwrap_or_default(),
            recent.map(|recent| format!("{:.1} %", 100.0 * recent.success_rate)).unwrap_or_default(),
            quantile(|of| of.p50_ms),
            quantile(|of| of.p95_ms),
            quantile(|of| of.p99_ms),
            self.backend.clone(),
            self.pod.clone().unwrap_or_default(),
            if self.draining { "yes" } else { "no" }.to_owned(),
            self.unhealthy_reasons.values().next().cloned().unwrap_or_default(),
        ]
    }
}

impl Row for ProxyRow {
    const HEADINGS: &'static [&'static str] =
        &["NAME", "CLASS", "LIVE", "REVISION", "IN-SYNC", "HEARD", "REJECTED"];
    const WIDE: &'static [&'static str] = &["ADDRESS", "NODE", "FAILURE"];

    fn namespace(&self) -> Option<&str> {
        None
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn cells(&self) -> Vec<String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        vec![
            self.name.clone(),
            self.class.clone(),
            yes(self.live),
            self.revision.clone().unwrap_or_default(),
            yes(self.in_sync),
            self.heard_seconds_ago.map(|seconds| format!("{seconds}s ago")).unwrap_or_default(),
            self.rejected.to_string(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.address.clone(),
            self.node.clone().unwrap_or_default(),
            self.failure.clone().unwrap_or_default(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(json: &str) -> EndpointRow {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn columns_and_fields_are_stable() {
        let row = endpoint(
            r#"{"namespace":"shop","pool":"a","backend":"app:http","id":"u:1","address":"10.0.0.1:8080","pod":null,
            "weight":1,"draining":false,"healthyOn":1,"proxies":2,"unhealthyReasons":{"p2":"timed out"},
            "inFlight":3,"requests":10,"failures":0,"effectiveWeight":0.5,"recent":{"requests":8,"failures":2,
            "successRate":0.75,"responseTime":{"p50Ms":1.5,"p95Ms":2.0,"p99Ms":30.25}},
            "history":{"p2":[{"secondsAgo":7,"to":"Unhealthy","reason":"timed out"}]}}"#,
        );
        let columns = lines(std::slice::from_ref(&row), true).join("\n");
        insta::assert_snapshot!(columns, @r"
        NAMESPACE   POOL   ENDPOINT        WEIGHT   HEALTHY   IN-FLIGHT   REQUESTS   FAILURES   EFFECTIVE   SUCCESS   P50      P95      P99       BACKEND    POD   DRAINING   REASON
        shop        a      10.0.0.1:8080   1        1/2       3           10         0          0.50        75.0 %    1.5 ms   2.0 ms   30.2 ms   app:http   -     no         timed out
        ");
        let json = serde_json::to_string_pretty(&row).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "namespace": "shop",
          "pool": "a",
          "backend": "app:http",
          "id": "u:1",
          "address": "10.0.0.1:8080",
          "pod": null,
          "weight": 1,
          "effectiveWeight": 0.5,
          "draining": false,
          "healthyOn": 1,
          "proxies": 2,
          "unhealthyReasons": {
            "p2": "timed out"
          },
          "inFlight": 3,
          "requests": 10,
          "failures": 0,
          "recent": {
            "requests": 8,
            "failures": 2,
            "successRate": 0.75,
            "responseTime": {
              "p50Ms": 1.5,
              "p95Ms": 2.0,
              "p99Ms": 30.25
            }
          },
          "history": {
            "p2": [
              {
                "secondsAgo": 7,
                "to": "Unhealthy",
                "reason": "timed out"
              }
            ]
          }
        }
        "#);
        assert_eq!(lines::<EndpointRow>(&[], false), ["nothing found"]);
    }
}
