//! Results for people: columns of text, Markdown, JSON, and charts.

mod chart;
mod html;
mod json;
mod markdown;
mod text;

pub use html::{html, latency, share};
pub use json::json;
pub use markdown::{markdown, replaced};
pub use text::{compact, table, verdicts};
