//! One pool as it was sent, and whether it can be read.

use std::sync::Arc;

use evenkeel_api::{
    channel::{PoolDocument, PoolText, PoolUid, Rejection},
    schema,
};
use serde_json::Value;

use super::Refusal;

/// What members of a document say that a newer controller may mean.
const NEWER: &str = "a newer controller may say what this proxy does not know";

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) text: PoolText,
    pub(super) parsed: Result<Arc<PoolDocument>, Vec<Rejection>>,
    /// What was held to the rules of the spec; those take longer than to parse.
    shared: Value,
    /// The version in use.
    pub(super) active: Option<Version>,
    pub(super) rejections: Vec<Rejection>,
}

/// A version that can be read.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) text: PoolText,
    pub(super) document: Arc<PoolDocument>,
}

impl Pool {
    /// The verdict of the parser on what follows `old`; what did not change is not parsed again.
    pub(super) fn read(uid: &PoolUid, value: &Value, old: Option<&Self>) -> Result<Self, Refusal> {
        let text = canonical(uid, value)?;
        let shared = schema::shared(value);
        let parsed = match old {
            Some(old) if old.text == text => old.parsed.clone(),
            Some(old) if old.parsed.is_ok() && old.shared == shared => parse(value),
            _ => fitting(&shared).and_then(|()| parse(value)),
        };
        let active = old.and_then(|old| old.active.clone());
        let mut pool = Self { text, parsed, shared, active, rejections: Vec::new() };
        pool.rejections = pool.unreadable();
        Ok(pool)
    }

    /// This version, if it can be read.
    pub(super) fn received(&self) -> Option<Version> {
        let document = self.parsed.as_ref().ok()?.clone();
        Some(Version { text: self.text.clone(), document })
    }

    /// Why it cannot be read, before the request path has a say.
    pub(super) fn unreadable(&self) -> Vec<Rejection> {
        self.parsed.as_ref().err().cloned().unwrap_or_default()
    }
}

impl Version {
    /// One that was in use before: it is parsed, and not held to the rules of the spec again, which may have become
    /// stricter.
    pub(super) fn read(uid: &PoolUid, value: &Value) -> Result<Option<Self>, Refusal> {
        let text = canonical(uid, value)?;
        Ok(parse(value).ok().map(|document| Self { text, document }))
    }
}

fn canonical(uid: &PoolUid, value: &Value) -> Result<PoolText, Refusal> {
    PoolText::new(value)
        .map_err(|error| Refusal::NotCanonical { uid: uid.clone(), message: error.to_string() })
}

fn fitting(shared: &Value) -> Result<(), Vec<Rejection>> {
    let mut found = schema::check(shared);
    for rejection in &mut found {
        rejection.message.push_str(&format!("; {NEWER}"));
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn parse(value: &Value) -> Result<Arc<PoolDocument>, Vec<Rejection>> {
    serde_path_to_error::deserialize(value).map(Arc::new).map_err(|error| {
        let field = error.path().to_string();
        vec![Rejection { field, message: format!("{}; {NEWER}", error.inner()) }]
    })
}
