//! Runs the core: events, answers, questions and time go in, versions and effects come out. The only place where the
//! pure core meets tasks and clocks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use evenkeel_api::channel::ReceivedSnapshot;
use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    admin::{Question, Questions},
    core::{Core, Now, Step},
    effect::Effect,
    election::{Elector, Fence, Leadership},
    event::Event,
    metrics::Metrics,
    publish::{Publisher, Versions},
    published::{Proxy, ProxyEvent, ProxyId},
    write::Verdict,
};

/// Events taken in before a step at most: the more there are, the fewer steps.
const BATCH: usize = 1024;
/// How long a new leader waits for what a proxy has.
const ADOPTION: Duration = Duration::from_secs(2);

/// Carries effects out.
pub trait CarryOut: Send {
    /// Has them carried out, as long as the fence holds.
    fn carry_out(&self, fence: &Fence, effects: Vec<Effect>);
}

/// What the core is connected to.
pub struct Connections {
    /// Changes of the world.
    pub events: mpsc::Receiver<Event>,
    /// What proxies say.
    pub told: mpsc::Receiver<(ProxyId, ProxyEvent)>,
    /// Questions of the admin pages.
    pub questions: Questions,
    /// Whether this process leads.
    pub leadership: watch::Receiver<Leadership>,
    /// Told of epochs above our own; `None` where nobody else can lead.
    pub elector: Option<Elector>,
    /// The newest version of each class.
    pub versions: Versions,
    /// Pushes them.
    pub publisher: Publisher,
    /// Writes to the world.
    pub writer: Box<dyn CarryOut>,
    /// What the API server says of Services; closed where there is none.
    pub verdicts: mpsc::Receiver<Verdict>,
    /// Figures.
    pub metrics: Metrics,
    /// Told when every source has told all that there is.
    pub synced: watch::Sender<bool>,
    /// What is wrong with files, where files are the source.
    pub problems: watch::Receiver<Vec<String>>,
}

/// The core at work.
pub struct Engine {
    core: Core,
    to: Connections,
    /// The leadership that the core knows of.
    led: Option<(u64, Fence)>,
    /// What the proxies have, on its way to a leadership that begins.
    adoption: Option<oneshot::Receiver<Vec<ReceivedSnapshot>>>,
    proxies: BTreeMap<ProxyId, Proxy>,
    wake: Option<Instant>,
}

impl Engine {
    /// A core with its connections.
    #[must_use]
    pub const fn new(core: Core, to: Connections) -> Self {
        Self { core, to, led: None, adoption: None, proxies: BTreeMap::new(), wake: None }
    }

    /// Works until `stop` completes or the source ends. Nothing is pushed or submitted afterwards.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut batch = Vec::with_capacity(BATCH);
        let mut told = Vec::with_capacity(BATCH);
        loop {
            let due = self.wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                () = &mut stop => break,
                count = self.to.events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    batch.drain(..).for_each(|event| self.core.apply(event));
                }
                1.. = self.to.told.recv_many(&mut told, BATCH) => {
                    told.drain(..).for_each(|(proxy, event)| self.core.tell(&proxy, event, now()));
                }
                Some(verdict) = self.to.verdicts.recv() => self.core.judged(verdict),
                Some(question) = self.to.questions.recv() => {
                    self.answer(question);
                    continue;
                }
                Ok(()) = self.to.leadership.changed() => {}
                adopted = adopted(&mut self.adoption) => self.lead(&adopted),
                () = sleep_until(due) => {}
            }
            self.step();
        }
        self.to.publisher.lead(None);
    }

    fn step(&mut self) {
        self.look_at_leadership();
        let started = Instant::now();
        let Step { versions, effects, wake, raise_above } = self.core.step(now());
        self.to.metrics.reconciled(started.elapsed());
        for (class, version) in versions {
            self.to.metrics.config_revision.set(i64::try_from(version.revision).unwrap_or(i64::MAX));
            self.to.versions.publish(&class, version);
        }
        if self.core.index().is_synced() {
            self.to.metrics.synced.set(1);
            self.to.synced.send_replace(true);
        }
        if self.proxies != *self.core.index().proxies() {
            self.proxies = self.core.index().proxies().clone();
            self.to.publisher.set_proxies(&self.proxies.values().cloned().collect::<Vec<_>>());
        }
        if let Some((_, fence)) = &self.led {
            self.to.writer.carry_out(fence, effects);
        }
        if let (Some(epoch), Some(elector)) = (raise_above, &self.to.elector) {
            warn!(epoch, "a proxy has had a push of a later epoch");
            elector.raise_above(epoch);
        }
        self.wake = wake.map(Instant::from_std);
    }

    /// Stops leading at once when the leadership is over; begins to when there is a new one and all is known.
    fn look_at_leadership(&mut self) {
        let leads = match &*self.to.leadership.borrow_and_update() {
            Leadership::Leader { epoch, fence } => Some((*epoch, fence.clone())),
            Leadership::Follower => None,
        };
        let (known, new) =
            (self.led.as_ref().map(|(epoch, _)| *epoch), leads.as_ref().map(|(epoch, _)| *epoch));
        if known.is_some() && known != new {
            info!(epoch = known, "leads no more");
            self.to.publisher.lead(None);
            self.core.follow();
            self.led = None;
        }
        if self.led.is_none() && new.is_none() {
            self.adoption = None;
        }
        if self.led.is_none() && new.is_some() && self.adoption.is_none() && self.core.index().is_synced() {
            self.adoption = Some(self.ask_proxies());
        }
    }

    /// Asks every proxy for what it has. One that does not answer in time is left out.
    fn ask_proxies(&self) -> oneshot::Receiver<Vec<ReceivedSnapshot>> {
        let proxies = self.core.index().proxies().values();
        let fetches: Vec<_> =
            proxies.map(|proxy| timeout(ADOPTION, self.to.publisher.fetch(proxy))).collect();
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let answers = join_all(fetches).await.into_iter().filter_map(|answer| answer.ok()?.ok());
            _ = tell.send(answers.collect()); // the leadership may be over
        });
        told
    }

    fn lead(&mut self, adopted: &[ReceivedSnapshot]) {
        self.adoption = None;
        let Leadership::Leader { epoch, fence } = self.to.leadership.borrow().clone() else { return };
        info!(epoch, proxies = adopted.len(), "leads");
        self.core.lead(epoch, adopted, now());
        self.led = Some((epoch, fence.clone()));
        self.step(); // versions of this epoch come before the permit to push them
        if self.led.is_some() {
            self.to.publisher.lead(Some(Arc::new(move || fence.holds())));
        }
    }

    fn answer(&self, question: Question) {
        match question {
            Question::Alive(answer) => _ = answer.send(()), // who asked may have gone
            Question::View(answer) => {
                let mut view = self.core.view(now().instant);
                view.problems.clone_from(&self.to.problems.borrow());
                _ = answer.send(view);
            }
        }
    }
}

async fn adopted(adoption: &mut Option<oneshot::Receiver<Vec<ReceivedSnapshot>>>) -> Vec<ReceivedSnapshot> {
    match adoption {
        Some(answers) => answers.await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), time: Timestamp::now() }
}
