//! The newest version of every class: what tasks push and pulls are answered with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::published::Published;

type Newest = watch::Sender<Option<Arc<Published>>>;

/// The newest version of each class. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Versions(Arc<Mutex<HashMap<String, Newest>>>);

impl Versions {
    /// Makes `version` the newest of `class`. One of epoch 0 answers pulls and is not pushed. A class without pools has
    /// a version too, or its proxies wait for ever.
    pub fn publish(&self, class: &str, version: Arc<Published>) {
        self.with(class, |newest| newest.send_replace(Some(version)));
    }

    /// Follows the newest version of `class`.
    #[must_use]
    pub fn follow(&self, class: &str) -> watch::Receiver<Option<Arc<Published>>> {
        self.with(class, watch::Sender::subscribe)
    }

    /// The newest version of `class`, if there is one yet.
    #[must_use]
    pub fn newest(&self, class: &str) -> Option<Arc<Published>> {
        let classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        classes.get(class).and_then(|newest| newest.borrow().clone())
    }

    fn with<T>(&self, class: &str, act: impl FnOnce(&Newest) -> T) -> T {
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(classes.entry(class.to_owned()).or_default())
    }
}
