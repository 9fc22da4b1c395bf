//! `cpu_utilization=0.3,named_metrics.foo=123`.

use super::{LoadReport, OrcaError, number};

pub(super) fn parse(text: &[u8]) -> Result<LoadReport, OrcaError> {
    let Ok(text) = std::str::from_utf8(text) else { return Err(OrcaError::Syntax) };
    let mut report = LoadReport::default();
    if text.is_empty() {
        return Ok(report);
    }
    for entry in text.split(',') {
        let (key, value) = entry.split_once('=').ok_or(OrcaError::Syntax)?;
        let (key, value) = (key.trim(), number(value.trim())?);
        match key.split_once('.') {
            Some((_, "")) => return Err(OrcaError::Syntax),
            Some((map, name)) => report.set_named(map, name, value)?,
            None => report.set(key, value)?,
        }
    }
    Ok(report)
}
