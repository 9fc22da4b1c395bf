//! Results for people: columns of text, Markdown, JSON, and charts.

mod text;

pub use text::{table, verdicts};
