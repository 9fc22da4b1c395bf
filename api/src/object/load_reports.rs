//! What becomes of the load that endpoints report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the load that endpoints report in the header `endpoint-load-metrics` of their responses, or in a
/// trailer of that name (ORCA).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadReports {
    /// Clients get it, too. It tells them what is none of their business, so by default it is kept from them.
    pub keep_header: bool,
}
