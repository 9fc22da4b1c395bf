//! How a request's body gets on, as told by the body to whoever waits for the response.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A request's body on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    moved: Instant,
    /// It is the client's turn; else the endpoint's.
    waits: bool,
    ended: bool,
    answered: bool,
    fault: Option<Fault>,
}

/// What became of a body that did not arrive.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing came for so long.
    Stalled(Duration),
    /// It ended early.
    Broken(String),
}

/// Whose turn it is, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// The client is to send.
    Client,
    /// The endpoint is to take what was sent.
    Taking(Instant),
    /// All is sent; the endpoint is to answer.
    Answering(Instant),
}

impl Default for Upload {
    fn default() -> Self {
        let state = State { moved: Instant::now(), waits: false, ended: false, answered: false, fault: None };
        Self { state: Mutex::new(state), ended: Notify::new() }
    }
}

impl Upload {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body waits for the client.
    pub(super) fn waits(&self) {
        self.state().waits = true;
    }

    /// A part of the body has gone on, or its end.
    pub(super) fn moved(&self, end: bool) {
        let mut state = self.state();
        if !state.ended {
            state.moved = Instant::now();
        }
        state.waits = false;
        state.ended |= end;
        if end {
            self.ended.notify_one();
        }
    }

    /// The endpoint has begun to answer, so that this is a stream in both directions.
    pub(crate) fn answered(&self) {
        self.state().answered = true;
    }

    pub(super) fn is_answered(&self) -> bool {
        self.state().answered
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// What became of the body, if it did not arrive.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }

    /// When the last part of it went on.
    pub(crate) fn last_moved(&self) -> Instant {
        self.state().moved
    }

    pub(crate) fn turn(&self) -> Turn {
        let state = self.state();
        match (state.ended, state.waits) {
            (true, _) => Turn::Answering(state.moved),
            (false, true) => Turn::Client,
            (false, false) => Turn::Taking(state.moved),
        }
    }

    /// Completes when all is sent.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }
}
