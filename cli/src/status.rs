//! `evenkeel status`: a few lines, and an exit code for scripts.

use std::process::ExitCode;

use evenkeel_api::object::condition;
use evenkeel_controller::view::{PoolRow, ProxyRow};
use serde::Serialize;

use crate::{
    args::{Format, Status},
    output, server,
};

/// Exit code if something is not well.
const NOT_WELL: u8 = 3;

/// The answer as data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    well: bool,
    pools: usize,
    pools_ready: usize,
    proxies: usize,
    proxies_in_sync: usize,
    problems: Vec<String>,
}

/// Says whether all is well.
///
/// # Errors
/// If no controller answers.
pub async fn run(status: Status) -> anyhow::Result<ExitCode> {
    let pools = server::rows::<PoolRow>(&status.server, "pools").await?;
    let proxies = server::rows::<ProxyRow>(&status.server, "proxies").await?;
    let summary = summary(&pools.items, &proxies.items, pools.problems);
    match status.output {
        Format::Json | Format::Yaml => output::data(&summary, status.output)?,
        _ => lines(&summary).iter().for_each(|line| output::line(line)),
    }
    Ok(if summary.well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
}

fn summary(pools: &[PoolRow], proxies: &[ProxyRow], files: Vec<String>) -> Summary {
    let mut problems = files;
    let mut pools_ready = 0;
    for pool in pools {
        let ready = pool.status.conditions.iter().find(|condition| condition.type_ == condition::READY);
        match ready {
            Some(ready) if ready.status == "True" => pools_ready += 1,
            Some(ready) => {
                problems.push(format!(
                    "pool {}/{}: {}: {}",
                    pool.namespace, pool.name, ready.reason, ready.message
                ));
            }
            None => problems.push(format!("pool {}/{}: no status yet", pool.namespace, pool.name)),
        }
    }
    let live: Vec<_> = proxies.iter().filter(|proxy| proxy.live).collect();
    for proxy in live.iter().filter(|proxy| !proxy.in_sync || proxy.rejected > 0) {
        if !proxy.in_sync {
            let failure = proxy.failure.as_deref().unwrap_or("it has not taken the last push yet");
            problems.push(format!("proxy {}: not in sync: {failure}", proxy.name));
        }
        match proxy.rejected {
            0 => {}
            1 => problems.push(format!("proxy {}: rejects a pool, as that pool's status says", proxy.name)),
            rejected => {
                problems
                    .push(format!("proxy {}: rejects {rejected} pools, as their status says", proxy.name));
            }
        }
    }
    if live.is_empty() {
        problems.push("no proxy is live".to_owned());
    }
    Summary {
        well: problems.is_empty(),
        pools: pools.len(),
        pools_ready,
        proxies: live.len(),
        proxies_in_sync: live.iter().filter(|proxy| proxy.in_sync).count(),
        problems,
    }
}

fn lines(summary: &Summary) -> Vec<String> {
    let mut lines = vec![
        format!("pools: {} of {} ready", summary.pools_ready, summary.pools),
        format!("proxies: {} of {} in sync", summary.proxies_in_sync, summary.proxies),
    ];
    lines.extend(summary.problems.iter().cloned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_not_well() {
        let proxy = |in_sync: bool| -> ProxyRow {
            serde_json::from_value(serde_json::json!({
                "name": "p", "class": "default", "address": "[::1]:9443", "node": null, "live": true, "revision": "1.1",
                "inSync": in_sync, "heardSecondsAgo": 0, "rejected": 0, "failure": "connection refused",
            }))
            .unwrap()
        };
        let bad_file = vec!["a.yaml:3: spec: unknown field".to_owned()];
        let found = summary(&[], &[proxy(false)], bad_file);
        assert_eq!(
            lines(&found),
            [
                "pools: 0 of 0 ready",
                "proxies: 0 of 1 in sync",
                "a.yaml:3: spec: unknown field",
                "proxy p: not in sync: connection refused",
            ]
        );
        let rejects = ProxyRow { rejected: 1, ..proxy(true) };
        let told = lines(&summary(&[], &[rejects], Vec::new()));
        assert_eq!(
            told[1..],
            ["proxies: 1 of 1 in sync", "proxy p: rejects a pool, as that pool's status says"]
        );
        let both = ProxyRow { rejected: 2, ..proxy(false) };
        let told = summary(&[], &[both], Vec::new()).problems;
        assert_eq!(
            told,
            ["proxy p: not in sync: connection refused", "proxy p: rejects 2 pools, as their status says"]
        );
        assert!(summary(&[], &[proxy(true)], Vec::new()).well);
        assert!(!summary(&[], &[], Vec::new()).well);
    }
}
