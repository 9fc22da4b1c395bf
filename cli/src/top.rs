//! `evenkeel top`: what each endpoint takes right now.

use std::{
    collections::{BTreeMap, VecDeque},
    process::ExitCode,
    time::{Duration, Instant},
};

use evenkeel_controller::view::EndpointRow;
use tokio::time::{MissedTickBehavior, interval};

use crate::{args::Top, output, server, table::Table};

/// What a rate is taken over, at least: proxies report every two seconds, each in its own step.
const SPAN: Duration = Duration::from_secs(4);
/// Without a change for so long, nothing comes any more.
const CALM: Duration = Duration::from_secs(5);

/// Endpoint of a pool.
type Key = (String, String, String, String);

/// Shows shares and rates until interrupted, or as often as was asked for; the first when there is enough to tell a
/// rate from, after some 6 s or two looks.
///
/// # Errors
/// If no controller answers.
pub async fn run(top: Top) -> anyhow::Result<ExitCode> {
    let mut ticks = interval(top.every.into());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks: VecDeque<(Instant, BTreeMap<Key, u64>)> = VecDeque::new();
    let (mut shown, mut reported) = (0, false);
    loop {
        ticks.tick().await;
        let rows = server::rows::<EndpointRow>(&top.server, "endpoints").await?.items;
        let now = Instant::now();
        let counts = rows.iter().map(|row| (key(row), row.requests)).collect();
        // A look between two reports says nothing new: a rate that took it for a calm would jump.
        if looks.back().is_none_or(|(last, seen)| *seen != counts || now - *last >= CALM) {
            // Of what the first look found nobody knows when it was reported; but it was not long before.
            let first = looks.front().filter(|_| looks.len() == 1).map(|(then, _)| *then);
            if first.is_some_and(|then| !reported && now - then < SPAN) {
                looks.clear();
            }
            reported |= first.is_some();
            looks.push_back((now, counts));
        }
        while looks.len() > 2 && looks.get(1).is_some_and(|(next, _)| now - *next >= SPAN) {
            looks.pop_front();
        }
        if let (Some((then, before)), Some((last, _))) = (looks.front(), looks.back())
            && *last - *then >= SPAN
        {
            output::screen(&lines(&rows, before, (*last - *then).as_secs_f64()));
            shown += 1;
            if top.count.is_some_and(|count| shown >= count) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

fn key(row: &EndpointRow) -> Key {
    (row.namespace.clone(), row.pool.clone(), row.backend.clone(), row.id.clone())
}

fn lines(rows: &[EndpointRow], before: &BTreeMap<Key, u64>, seconds: f64) -> Vec<String> {
    // Counters start anew with a proxy: what fell is not shown as a rate.
    let since = |row: &EndpointRow| {
        row.requests.saturating_sub(before.get(&key(row)).copied().unwrap_or(row.requests))
    };
    let mut of_pool: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for row in rows {
        *of_pool.entry((&row.namespace, &row.pool)).or_default() += since(row);
    }
    let mut table =
        Table::new(&["NAMESPACE", "POOL", "ENDPOINT", "HEALTHY", "IN-FLIGHT", "REQUESTS/S", "SHARE", ""]);
    for row in rows {
        let (requests, all) = (since(row), of_pool[&(row.namespace.as_str(), row.pool.as_str())]);
        let share = if all == 0 { 0.0 } else { ratio(requests, all) };
        table.row(vec![
            row.namespace.clone(),
            row.pool.clone(),
            row.pod.clone().unwrap_or_else(|| row.address.clone()),
            format!("{}/{}", row.healthy_on, row.proxies),
            row.in_flight.to_string(),
            format!("{:.0}", ratio(requests, 1) / seconds.max(f64::EPSILON)),
            format!("{:.1}%", 100.0 * share),
            bar(share),
        ]);
    }
    table.lines()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

/// A bar of at most 40 characters.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
fn bar(share: f64) -> String {
    "#".repeat((share.clamp(0.0, 1.0) * 40.0).round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let row = |id: &str, requests: u64| EndpointRow {
            namespace: "default".to_owned(),
            pool: "demo".to_owned(),
            backend: "addresses".to_owned(),
            id: id.to_owned(),
            address: id.to_owned(),
            pod: None,
            weight: 1,
            effective_weight: None,
            recent: None,
            history: BTreeMap::new(),
            draining: false,
            healthy_on: 1,
            proxies: 1,
            unhealthy_reasons: BTreeMap::new(),
            in_flight: 0,
            requests,
            failures: 0,
        };
        let before = [row("a", 100), row("b", 100)].iter().map(|row| (key(row), row.requests)).collect();
        let lines = lines(&[row("a", 130), row("b", 110), row("new", 7)], &before, 2.0);
        assert!(
            lines[1].contains("a          1/1       0           15           75.0%   ####"),
            "{}",
            lines[1]
        );
        assert!(lines[2].contains("5            25.0%"), "{}", lines[2]);
        assert!(lines[3].contains("0            0.0%"), "{}", lines[3]);
    }
}
