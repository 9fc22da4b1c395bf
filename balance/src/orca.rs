//! What endpoints report of their load: ORCA (Open Request Cost Aggregation), as a header of each response.
//!
//! Strict: a report that has anything wrong in it counts as none, since part of it may be all wrong. Parsing allocates,
//! and is no part of a pick.

mod binary;
mod json;
mod text;

use base64::{Engine as _, engine::general_purpose};

/// Header with a format's name and a report: `TEXT cpu_utilization=0.3`, `JSON {...}` or `BIN <base64>`.
pub const HEADER: &str = "endpoint-load-metrics";
/// Header with a report in base64.
pub const HEADER_BINARY: &str = "endpoint-load-metrics-bin";
/// Longest value of a header that is looked at.
pub const MAX_BYTES: usize = 16 * 1024;
/// Most named entries of a report.
const MAX_NAMED: usize = 128;

/// A report. All numbers are finite and not negative, names are unique within their kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// CPU in use by what is there; may be above 1.
    pub cpu_utilization: Option<f64>,
    /// Memory in use by what is there, up to 1.
    pub mem_utilization: Option<f64>,
    /// The application's own word; may be above 1.
    pub application_utilization: Option<f64>,
    /// Requests per second.
    pub rps_fractional: Option<f64>,
    /// Errors per second.
    pub eps: Option<f64>,
    /// Other utilizations, up to 1.
    pub utilization: Vec<(String, f64)>,
    /// What this request cost.
    pub request_cost: Vec<(String, f64)>,
    /// The application's own metrics.
    pub named_metrics: Vec<(String, f64)>,
}

/// What is wrong with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrcaError {
    /// It begins with no format that is known.
    #[error("unknown format, expected TEXT, JSON or BIN")]
    Format,
    /// It does not follow its format.
    #[error("malformed report")]
    Syntax,
    /// It names a field that there is not.
    #[error("unknown field")]
    UnknownField,
    /// It names a field twice.
    #[error("field given twice")]
    Duplicate,
    /// A number is NaN, infinite, negative, or above 1 where that cannot be.
    #[error("number out of range")]
    Range,
    /// It is longer than 16 KiB, or has more than 128 named entries.
    #[error("report too long")]
    TooLong,
    /// It is empty.
    #[error("report says nothing")]
    Empty,
}

impl LoadReport {
    /// The report in a value of [`HEADER`].
    ///
    /// # Errors
    ///
    /// If anything is wrong with it.
    pub fn parse(value: &[u8]) -> Result<Self, OrcaError> {
        check_length(value)?;
        let (format, rest) =
            value.iter().position(|byte| *byte == b' ').map_or((value, &[][..]), |at| value.split_at(at));
        let rest = rest.trim_ascii();
        match format {
            b"TEXT" => text::parse(rest),
            b"JSON" => json::parse(rest),
            b"BIN" => Self::parse_base64(rest),
            _ => Err(OrcaError::Format),
        }
        .and_then(Self::not_empty)
    }

    /// The report in a value of [`HEADER_BINARY`].
    ///
    /// # Errors
    ///
    /// If anything is wrong with it.
    pub fn parse_binary_header(value: &[u8]) -> Result<Self, OrcaError> {
        check_length(value)?;
        Self::parse_base64(value.trim_ascii()).and_then(Self::not_empty)
    }

    /// A named metric: `named_metrics.NAME`, `utilization.NAME`, or `NAME` in the first or else the second of them.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let find = |list: &[(String, f64)], name: &str| {
            list.iter().find(|(each, _)| each == name).map(|(_, value)| *value)
        };
        match name.split_once('.') {
            Some(("named_metrics", name)) => find(&self.named_metrics, name),
            Some(("utilization", name)) => find(&self.utilization, name),
            _ => find(&self.named_metrics, name).or_else(|| find(&self.utilization, name)),
        }
    }

    fn parse_base64(text: &[u8]) -> Result<Self, OrcaError> {
        let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        let Ok(bytes) = general_purpose::STANDARD_NO_PAD.decode(text) else { return Err(OrcaError::Syntax) };
        binary::parse(&bytes)
    }

    fn not_empty(self) -> Result<Self, OrcaError> {
        if self == Self::default() { Err(OrcaError::Empty) } else { Ok(self) }
    }

    /// Takes a number by the field's name, as text and JSON spell it.
    fn set(&mut self, field: &str, value: f64) -> Result<(), OrcaError> {
        let (slot, most) = match field {
            "cpu_utilization" | "cpuUtilization" => (&mut self.cpu_utilization, f64::MAX),
            "mem_utilization" | "memUtilization" => (&mut self.mem_utilization, 1.0),
            "application_utilization" | "applicationUtilization" => {
                (&mut self.application_utilization, f64::MAX)
            }
            "rps_fractional" | "rpsFractional" => (&mut self.rps_fractional, f64::MAX),
            "eps" => (&mut self.eps, f64::MAX),
            _ => return Err(OrcaError::UnknownField),
        };
        if slot.is_some() {
            return Err(OrcaError::Duplicate);
        }
        *slot = Some(checked(value, most)?);
        Ok(())
    }

    /// Takes an entry of a map by the map's name.
    fn set_named(&mut self, map: &str, name: &str, value: f64) -> Result<(), OrcaError> {
        if self.utilization.len() + self.request_cost.len() + self.named_metrics.len() >= MAX_NAMED {
            return Err(OrcaError::TooLong);
        }
        let (list, most) = match map {
            "utilization" => (&mut self.utilization, 1.0),
            "request_cost" | "requestCost" => (&mut self.request_cost, f64::MAX),
            "named_metrics" | "namedMetrics" => (&mut self.named_metrics, f64::MAX),
            _ => return Err(OrcaError::UnknownField),
        };
        if list.iter().any(|(each, _)| each == name) {
            return Err(OrcaError::Duplicate);
        }
        list.push((name.to_owned(), checked(value, most)?));
        Ok(())
    }
}

fn check_length(value: &[u8]) -> Result<(), OrcaError> {
    if value.len() > MAX_BYTES { Err(OrcaError::TooLong) } else { Ok(()) }
}

fn checked(value: f64, most: f64) -> Result<f64, OrcaError> {
    // NaN is in no range.
    if (0.0..=most).contains(&value) { Ok(value) } else { Err(OrcaError::Range) }
}

/// A decimal number, as JSON has it: no sign in front but a minus, no infinity, no bare point.
fn number(text: &str) -> Result<f64, OrcaError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = digits
        .split_once(['e', 'E'])
        .map_or((digits, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) =
        mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = |text: &str| all_digits(text.strip_prefix(['+', '-']).unwrap_or(text));
    if !all_digits(whole) || !fraction.is_none_or(all_digits) || !exponent.is_none_or(unsigned) {
        let named = ["nan", "inf", "infinity"].contains(&digits.to_ascii_lowercase().as_str());
        return Err(if named { OrcaError::Range } else { OrcaError::Syntax });
    }
    let Ok(value) = text.parse() else { return Err(OrcaError::Syntax) };
    Ok(value)
}

#[cfg(test)]
mod tests;
