//! `evenkeel explain`: which endpoint a request would get, and why the others would not.

use std::process::ExitCode;

use evenkeel_proxy::explain::{Candidate, Explanation, Question, Score};

use crate::{
    args::{Explain, Format},
    output, server,
    table::Table,
};

/// Asks a proxy.
///
/// # Errors
/// If none answers, or there is no such pool, or it would refuse the request.
pub async fn run(explain: Explain) -> anyhow::Result<ExitCode> {
    let question = Question {
        namespace: explain.namespace,
        name: explain.pool,
        method: explain.method,
        path: explain.path,
        host: explain.host,
        client: explain.client,
        headers: explain.header,
        algorithm: explain.algorithm,
    };
    let path = format!("/explain?{}", question.to_query());
    let told: Explanation =
        server::of_proxy(explain.server.as_ref(), &explain.cluster, explain.proxy.as_deref(), &path).await?;
    match explain.output {
        Format::Json | Format::Yaml => output::data(&told, explain.output)?,
        Format::Name => picked(&told).iter().for_each(|picked| output::line(&picked.address)),
        Format::Table | Format::Wide => {
            lines(&told, explain.output == Format::Wide).iter().for_each(|line| output::line(line));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn picked(told: &Explanation) -> Option<&Candidate> {
    told.candidates.iter().find(|candidate| told.picked.as_ref() == Some(&candidate.id))
}

fn lines(told: &Explanation, wide: bool) -> Vec<String> {
    let who = match picked(told) {
        None => format!("no endpoint: {}", told.otherwise.as_deref().unwrap_or("503")),
        Some(Candidate { address, pod: Some(pod), .. }) => format!("{address} ({pod})"),
        Some(Candidate { address, .. }) => address.clone(),
    };
    let mut lines = vec![format!("{} by {}: {who}", told.pool, told.algorithm)];
    lines.extend(told.key.as_ref().map(|key| format!("key: {key}")));
    lines.extend(told.session.as_ref().map(|session| format!("session: {session}")));
    lines.extend(told.fallbacks.iter().cloned());
    let panics = |backend| {
        format!("backend {backend} is in a panic: too few of its endpoints are well, so all get requests")
    };
    lines.extend(told.panicking.iter().map(panics));
    let more: &[&str] = if wide { &["BACKEND", "POD", "ID"] } else { &[] };
    let headings = ["ENDPOINT", "FATE", "SCORE", "WEIGHT", "IN-FLIGHT", "RESPONSE", "WHY"];
    let mut table = Table::new(&[&headings, more].concat());
    for of in &told.candidates {
        let mut cells = vec![
            of.address.clone(),
            of.fate.clone(),
            of.score.as_ref().map(score).unwrap_or_default(),
            weight(of),
            of.in_flight.to_string(),
            of.response_time_ms.map(|time| format!("{time:.1} ms")).unwrap_or_default(),
            of.why.clone(),
        ];
        if wide {
            cells.extend([of.backend.clone(), of.pod.clone().unwrap_or_default(), of.id.clone()]);
        }
        table.row(cells);
    }
    lines.extend(table.lines());
    lines
}

fn score(score: &Score) -> String {
    let Score { kind, value, limit } = score;
    match (kind.as_str(), limit) {
        ("Cost", _) => format!("{value:.3}"),
        ("Cold", _) => format!("cold {value:.1} ms"),
        ("Full", Some(limit)) => format!("full {value:.0}/{limit:.0}"),
        (kind, _) => format!("{} {value:.1}", kind.to_lowercase()),
    }
}

/// As configured, and as it is if that differs.
fn weight(of: &Candidate) -> String {
    if (of.effective_weight - f64::from(of.weight)).abs() < 0.005 {
        of.weight.to_string()
    } else {
        format!("{} ({:.2})", of.weight, of.effective_weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_stable() {
        let told: Explanation = serde_json::from_str(
            r#"{"pool": "shop/web", "generation": 1, "algorithm": "LeastResponseTime", "picked": "u:1",
                "panicking": ["b"], "candidates": [
                {"id": "u:1", "address": "10.0.0.1:80", "pod": "web-1", "backend": "b", "weight": 1, "effectiveWeight": 1.0,
                 "inFlight": 2, "responseTimeMs": 1.25, "score": {"kind": "Cost", "value": 3.75}, "fate": "Picked",
                 "why": "the algorithm's choice"},
                {"id": "u:2", "address": "10.0.0.2:80", "backend": "b", "weight": 2, "effectiveWeight": 0.0, "inFlight": 0,
                 "fate": "Ejected", "why": "it answered requests badly"}]}"#,
        )
        .unwrap();
        insta::assert_snapshot!(lines(&told, false).join("\n"), @r"
        shop/web by LeastResponseTime: 10.0.0.1:80 (web-1)
        backend b is in a panic: too few of its endpoints are well, so all get requests
        ENDPOINT      FATE      SCORE   WEIGHT     IN-FLIGHT   RESPONSE   WHY
        10.0.0.1:80   Picked    3.750   1          2           1.2 ms     the algorithm's choice
        10.0.0.2:80   Ejected   -       2 (0.00)   0           -          it answered requests badly
        ");
    }
}
