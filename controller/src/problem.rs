//! What is wrong with a pool, on its way to a condition.

/// The condition that a problem belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The pool's own fields.
    Accepted,
    /// What the pool refers to.
    ResolvedRefs,
    /// Bringing the pool to the proxies.
    Programmed,
}

/// Something that is wrong with a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The condition that it makes false.
    pub subject: Subject,
    /// The listener, if only that is concerned: then its condition is false, and the pool's stays.
    pub listener: Option<String>,
    /// Reason of the condition; `None` for a warning, which is only told.
    pub reason: Option<&'static str>,
    /// What is wrong and the way out, for people.
    pub message: String,
}

impl Problem {
    /// A problem of the pool as a whole.
    pub fn new(subject: Subject, reason: &'static str, message: impl Into<String>) -> Self {
        Self { subject, listener: None, reason: Some(reason), message: message.into() }
    }

    /// A problem of one listener.
    pub fn of_listener(
        subject: Subject,
        listener: &str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { listener: Some(listener.to_owned()), ..Self::new(subject, reason, message) }
    }

    /// Something to be told that makes no condition false.
    pub fn warning(subject: Subject, message: impl Into<String>) -> Self {
        Self { subject, listener: None, reason: None, message: message.into() }
    }
}
