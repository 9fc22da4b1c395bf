//! A page in the text format of Prometheus (version 0.0.4), of which only the lines of one metric are read, and those
//! strictly.
//!
//! Written here, since of the libraries that read this format one takes what is not in order for nothing at all and
//! splits the values of labels at commas and braces, and the other's licence does not fit.

use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with the lines of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("a line does not follow the text format of Prometheus")]
    Syntax,
    #[error("a value is NaN, infinite or negative")]
    Range,
    #[error("a series is given twice")]
    Duplicate,
}

/// Labels of a series by name, their values as they are written.
type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// The sum of all series of a metric; `None` if there is none.
pub(super) fn sum(page: &str, metric: &str) -> Result<Option<f64>, Invalid> {
    let mut seen: BTreeSet<Labels<'_>> = BTreeSet::new();
    let mut sum = 0.0;
    for rest in page.lines().filter_map(|line| of_metric(line, metric)) {
        let (labels, rest) = labels(rest)?;
        sum += value(rest)?;
        if !seen.insert(labels) {
            return Err(Invalid::Duplicate);
        }
    }
    let sum = (!seen.is_empty()).then_some(sum);
    if sum.is_some_and(f64::is_infinite) { Err(Invalid::Range) } else { Ok(sum) }
}

/// What follows the name on a line of this metric.
fn of_metric<'a>(line: &'a str, metric: &str) -> Option<&'a str> {
    let rest = line.trim_matches(BLANK).strip_prefix(metric)?;
    (rest.is_empty() || rest.starts_with(['{', ' ', '\t'])).then(|| rest.trim_start_matches(BLANK))
}

const BLANK: [char; 2] = [' ', '\t'];

/// The labels at the beginning, if there are any, and what follows them.
fn labels(text: &str) -> Result<(Labels<'_>, &str), Invalid> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    loop {
        rest = rest.trim_start_matches(BLANK);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or(Invalid::Syntax)?;
        let name = name.trim_end_matches(BLANK);
        let (value, after) = quoted(after.trim_start_matches(BLANK))?;
        if !is_label(name) || labels.insert(name, value).is_some() {
            return Err(Invalid::Syntax);
        }
        rest = after.trim_start_matches(BLANK);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(Invalid::Syntax),
        }
    }
}

fn is_label(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// What is within the quotes, escapes and all, and what follows.
fn quoted(text: &str) -> Result<(&str, &str), Invalid> {
    let text = text.strip_prefix('"').ok_or(Invalid::Syntax)?;
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' | b'"' | b'n' if is_escaped => is_escaped = false,
            _ if is_escaped => return Err(Invalid::Syntax),
            b'\\' => is_escaped = true,
            b'"' => return Ok((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    Err(Invalid::Syntax)
}

/// The value of a line, after which there may be a time in milliseconds.
fn value(text: &str) -> Result<f64, Invalid> {
    let mut words = text.split(BLANK).filter(|word| !word.is_empty());
    let value = words.next().and_then(|word| word.parse::<f64>().ok()).ok_or(Invalid::Syntax)?;
    let is_time = words.next().is_none_or(|word| word.parse::<i64>().is_ok());
    if !is_time || words.next().is_some() {
        return Err(Invalid::Syntax);
    }
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(Invalid::Range) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(page: &str, expect: Result<Option<f64>, Invalid>) {
        assert_eq!(sum(page, "cpu_total"), expect, "{page:?}");
    }

    #[test]
    fn the_series_of_a_metric_are_summed() {
        check("", Ok(None));
        check("# TYPE cpu_total counter\ncpu_total 1.5\n", Ok(Some(1.5)));
        check("cpu_total_more 1\nmy_cpu_total 2\ncpu_total:rate 3\n# cpu_total 4", Ok(None));
        check("  cpu_total\t2e+3 1395066363000 \r\nother nonsense here", Ok(Some(2000.0)));
        check("cpu_total{mode=\"user\"} 1\ncpu_total{mode=\"system\"} 2", Ok(Some(3.0)));
        check(r#"cpu_total { a = "x,}\"\\\n" , b="" , } 7"#, Ok(Some(7.0)));
        check("cpu_total{} 0", Ok(Some(0.0)));
    }

    #[test]
    fn what_is_not_in_order_is_refused() {
        for line in ["cpu_total", "cpu_total one", "cpu_total 1 now", "cpu_total 1 2 3", "cpu_total{a=1} 1"] {
            check(line, Err(Invalid::Syntax));
        }
        for labels in
            ["{", "{a", "{a=\"", "{a=\"\\x\"}", "{a=\"1\" b=\"2\"}", "{,}", "{0=\"\"}", "{a=\"\",a=\"\"}"]
        {
            check(&format!("cpu_total{labels} 1"), Err(Invalid::Syntax));
        }
        for value in ["NaN", "+Inf", "-1", "1e999"] {
            check(&format!("cpu_total {value}"), Err(Invalid::Range));
        }
        check("cpu_total{a=\"1\"} 1e308\ncpu_total{a=\"2\"} 1e308", Err(Invalid::Range));
        check("cpu_total{a=\"1\",b=\"2\"} 1\ncpu_total{b=\"2\",a=\"1\"} 1", Err(Invalid::Duplicate));
        check("cpu_total 1\ncpu_total 1", Err(Invalid::Duplicate));
    }

    proptest! {
        #[test]
        fn no_page_is_too_odd(page in "(cpu_total)?[a-z0-9{}=\"\\\\, .\n+-]{0,64}") {
            if let Ok(Some(sum)) = sum(&page, "cpu_total") {
                prop_assert!(sum.is_finite() && sum >= 0.0);
            }
        }
    }
}
