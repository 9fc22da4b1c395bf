//! Scenarios as files: a base, a matrix of what varies, who takes part, and what must hold. Strict: an unknown field is
//! refused, and every complaint names the field.

mod case;
mod check;
mod file;
pub(crate) mod limits;
mod matrix;

pub use case::{Case, Change, Effect, Group, Keys, Kind, Noise, Range, Weights};
pub use file::{Expect, Figure, Over, Page, Published, Scenario, Variant};

pub use limits::SEEDS;

use std::{io, path::PathBuf};

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no YAML.
    #[error("not YAML: {0}")]
    Yaml(String),
    /// A field is missing, unknown, or not of its kind.
    #[error("{field}: {reason}")]
    Field {
        /// Where.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A value is out of range.
    #[error("{field} must {must}")]
    Value {
        /// Where.
        field: String,
        /// What it must be.
        must: String,
    },
}

pub(crate) fn value(field: &str, must: &str) -> Problem {
    Problem::Value { field: field.to_owned(), must: must.to_owned() }
}
