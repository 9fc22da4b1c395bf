//! Events of Kubernetes, for those who look with `kubectl describe`. They are told once and may be lost: the status is
//! what counts.

use std::sync::{Mutex, PoisonError};

use evenkeel_api::{labels::CONTROLLER, object::BalancerPool};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder},
};
use tokio::{sync::mpsc, time::timeout};

use super::ATTEMPT;
use crate::{event::ObjectName, status::News};

/// Events that wait at most. More are dropped.
const WAITING: usize = 256;
/// Longest text of an Event, in bytes (Kubernetes takes 1 KiB).
const MAX_NOTE: usize = 1000;

/// Tells the news.
pub(super) struct Announcer {
    recorder: Recorder,
    sender: mpsc::Sender<(ObjectReference, Event)>,
    receiver: Mutex<Option<mpsc::Receiver<(ObjectReference, Event)>>>,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            recorder: Recorder::new(client, CONTROLLER.into()),
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }

    pub(super) fn submit(&self, pool: &ObjectName, uid: &str, news: &[News]) {
        for news in news {
            let _full = self.sender.try_send((reference(pool, uid), event(news)));
        }
    }

    /// Publishes until it is dropped. To be called once.
    pub(super) async fn run(&self) {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return };
        while let Some((pool, event)) = receiver.recv().await {
            match timeout(ATTEMPT, self.recorder.publish(&event, &pool)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(pool = ?pool.name, %error, "an event is lost"),
                Err(_) => tracing::debug!(pool = ?pool.name, "an event is lost: no answer in time"),
            }
        }
    }
}

fn reference(pool: &ObjectName, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(BalancerPool::api_version(&()).into_owned()),
        kind: Some(BalancerPool::kind(&()).into_owned()),
        namespace: Some(pool.namespace.clone()),
        name: Some(pool.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

fn event(news: &News) -> Event {
    let end = news.message.floor_char_boundary(MAX_NOTE);
    Event {
        type_: if news.is_warning { EventType::Warning } else { EventType::Normal },
        reason: news.reason.clone(),
        note: Some(news.message[..end].to_owned()),
        action: news.condition.clone(),
        secondary: None,
    }
}
