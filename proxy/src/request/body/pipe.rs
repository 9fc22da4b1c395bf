//! A response's body over HTTP/2. There a client holds a stream back by its window, and hyper then asks the body for
//! nothing more, for as long as the client likes. So a task asks in its place: a client that takes nothing for the
//! limit keeps its stream, but no longer the endpoint.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::{sync::mpsc, time};

use super::{Forwarded, Stalled};
use crate::{connection::contain, request::error::Cause};

/// What a stream gets of its body: a frame, an error, or the end.
type Item = Option<Result<Frame<Bytes>, Cause>>;

/// The client's end of a body.
#[derive(Debug)]
pub(crate) struct Pipe {
    items: mpsc::Receiver<Item>,
    hint: SizeHint,
    idle: Duration,
}

impl Pipe {
    /// Starts the task. `idle`: how long the client may take nothing.
    pub(super) fn new(forwarded: Forwarded, idle: Duration) -> Self {
        let (sender, items) = mpsc::channel(1);
        let hint = forwarded.inner.size_hint();
        tokio::spawn(contain(feed(Box::new(forwarded), sender, idle)));
        Self { items, hint, idle }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Item> {
        // Without a word of the end, the task has given up.
        let stalled = || Some(Err(Stalled(self.idle).into()));
        self.items.poll_recv(context).map(|item| item.unwrap_or_else(stalled))
    }

    pub(super) const fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

async fn feed(mut forwarded: Box<Forwarded>, sender: mpsc::Sender<Item>, idle: Duration) {
    loop {
        let item = tokio::select! {
            biased;
            () = sender.closed() => return,
            item = poll_fn(|context| forwarded.poll(context)) => item,
        };
        let last = !matches!(item, Some(Ok(_)));
        match time::timeout(idle, sender.send(item)).await {
            Ok(Ok(())) if !last => {}
            Ok(_) => return,
            Err(_elapsed) => return forwarded.abandoned(),
        }
    }
}
