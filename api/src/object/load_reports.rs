//! What becomes of the load that endpoints report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the load that endpoints report in the header `endpoint-load-metrics` of their responses (ORCA).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadReports {
    /// Clients get the header. Without it, it is kept from them where the algorithm goes by it, and passed on where not.
    pub keep_header: bool,
}
