//! New endpoints take less at first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// The weight of an endpoint grows with the time since its pod became ready (without a pod: since the proxy came to
/// know it), or since it came back from an ejection. Works with every algorithm. If most endpoints of a backend are
/// new, all take their full weight.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SlowStart {
    /// Time until an endpoint takes its full weight.
    pub window: Duration,

    /// Shape of the rise, in per cent: 100 is a straight line, more rises faster at first.
    #[schemars(range(min = 10, max = 1000))]
    pub aggression_percent: u16,

    /// Weight at the beginning, in per cent of the full one.
    #[schemars(range(min = 1, max = 100))]
    pub minimum_percent: u8,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::from_secs(30), aggression_percent: 100, minimum_percent: 10 }
    }
}
