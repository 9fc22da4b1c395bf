//! Every combination of a matrix: the base, merged (RFC 7396) with one entry of each axis; and where in the file what
//! is wrong with one is written.

use std::{collections::BTreeMap, path::Path};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Case, Problem, check::ensure};

/// Where what all have in common is written.
const BASE: &str = "base";

/// A combination.
#[derive(Clone, Debug)]
pub(super) struct Mix<'a> {
    /// One of each axis.
    pub(super) labels: Vec<String>,
    /// What is merged, each over those before, and where it is written.
    pub(super) layers: Vec<(String, &'a Value)>,
}

/// All of them.
pub(super) fn mixes<'a>(base: &'a Value, matrix: &'a [BTreeMap<String, Value>]) -> Vec<Mix<'a>> {
    let mut mixes = vec![Mix { labels: Vec::new(), layers: vec![(BASE.to_owned(), base)] }];
    for axis in matrix {
        let with = |mix: &Mix<'a>, label: &str, patch: &'a Value| {
            let mut mix = mix.clone();
            mix.labels.push(label.to_owned());
            mix.layers.push((format!("matrix.{label}"), patch));
            mix
        };
        let each =
            |mix: Mix<'a>| axis.iter().map(|(label, patch)| with(&mix, label, patch)).collect::<Vec<_>>();
        mixes = mixes.into_iter().flat_map(each).collect();
    }
    mixes
}

impl Mix<'_> {
    /// The case, whose trace is looked for in `folder`.
    pub(super) fn case(&self, folder: &Path) -> Result<Case, Problem> {
        self.read(folder).map_err(|problem| match problem {
            Problem::Field { field, reason } => Problem::Field { field: self.written(&field), reason },
            Problem::Value { field, must } => Problem::Value { field: self.written(&field), must },
            other => other,
        })
    }

    fn read(&self, folder: &Path) -> Result<Case, Problem> {
        let mut merged = Value::Null;
        self.layers.iter().for_each(|(_, patch)| merge(&mut merged, (*patch).clone()));
        ensure(merged.is_object(), BASE, "be a map of fields")?;
        let case: Case = typed(merged, BASE)?;
        case.check()?;
        case.arrivals.check(&case, folder)?;
        Ok(case)
    }

    /// Where a field has its value from: the last that says anything of it.
    fn written(&self, field: &str) -> String {
        let from = self.layers.iter().rev().find(|(_, patch)| says(patch, field));
        let place = from.map_or(BASE, |(place, _)| place);
        if place != BASE {
            return format!("{place}.{field}");
        }
        let field = if field == BASE { BASE.to_owned() } else { format!("{BASE}.{field}") };
        // What is wrong with it may come from another field.
        if self.labels.is_empty() { field } else { format!("{field} (with {})", self.labels.join(", ")) }
    }
}

/// Whether a patch gives a field its value. A list is replaced as a whole.
fn says(patch: &Value, field: &str) -> bool {
    let mut at = patch;
    for key in field.split('.') {
        let (name, list) = key.split_once('[').map_or((key, false), |(name, _)| (name, true));
        let Value::Object(fields) = at else { return !at.is_null() && at != patch };
        match fields.get(name) {
            Some(Value::Null) | None => return false,
            Some(_) if list => return true,
            Some(value) => at = value,
        }
    }
    true
}

/// Of each axis, a label that is wanted, or any if none of that axis is.
pub(super) fn selected(axes: &[Vec<String>], wanted: &[String], labels: &[String]) -> bool {
    axes.iter().zip(labels).all(|(axis, label)| {
        let mut asked = wanted.iter().filter(|wanted| axis.contains(wanted)).peekable();
        asked.peek().is_none() || asked.any(|wanted| wanted == label)
    })
}

/// Reads a value, which is called `whole` where what is wrong is no field of it.
pub(super) fn typed<T: DeserializeOwned>(from: Value, whole: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { whole.to_owned() } else { path };
        Problem::Field { field, reason: error.into_inner().to_string() }
    })
}

/// JSON Merge Patch.
fn merge(base: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !base.is_object() {
                *base = Value::Object(serde_json::Map::new());
            }
            let Some(base) = base.as_object_mut() else { return };
            for (key, patch) in patch {
                if patch.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), patch);
                }
            }
        }
        Value::Null => {}
        other => *base = other,
    }
}
