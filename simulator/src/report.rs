//! Results for people: columns of text, Markdown, JSON, and charts.

mod chart;
mod gallery;
mod html;
mod json;
mod markdown;
mod text;

pub use gallery::latency;
pub use html::html;
pub use json::json;
pub(crate) use json::option;
pub use markdown::{markdown, replaced};
pub use text::{compact, table, verdicts};
