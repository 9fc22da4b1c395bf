//! The state that all connections of one endpoint share, and the work that it does per request.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time;

use crate::behaviour::document::DocumentError;
use crate::behaviour::{Behaviour, Share};
use crate::burn::Burner;
use crate::gate::{Gate, Turned};
use crate::metrics::Metrics;
use crate::name::Name;

/// Who an endpoint is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name it gives in every response.
    pub name: Name,
    /// What its latencies and errors are drawn from; chosen by the system unless given.
    pub seed: Option<u64>,
}

/// A demo endpoint. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<State>);

#[derive(Debug)]
struct State {
    name: Name,
    setting: watch::Sender<Setting>,
    rng: Mutex<SmallRng>,
    burner: Burner,
    metrics: Metrics,
}

/// A behaviour with the gate that goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) behaviour: Behaviour,
    gate: Option<Arc<Gate>>,
}

/// Why a request's work failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It was told to.
    Injected(StatusCode),
    /// Too many wait already.
    QueueFull,
}

impl Endpoint {
    /// An endpoint that serves nobody yet.
    ///
    /// # Errors
    /// Where its metrics cannot be registered.
    pub fn new(identity: Identity, behaviour: Behaviour) -> prometheus::Result<Self> {
        let metrics = Metrics::new(&identity.name)?;
        let gate = behaviour.concurrency.map(|concurrency| Arc::new(Gate::new(concurrency)));
        Ok(Self(Arc::new(State {
            name: identity.name,
            setting: watch::Sender::new(Setting { behaviour, gate }),
            rng: Mutex::new(identity.seed.map_or_else(SmallRng::from_os_rng, SmallRng::seed_from_u64)),
            burner: Burner::new(),
            metrics,
        })))
    }

    /// The name it gives in every response.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// What it does now.
    pub fn behaviour(&self) -> Behaviour {
        self.0.setting.borrow().behaviour
    }

    /// Changes what it does, from the next request on. Requests that wait for the concurrency limit
    /// wait for the new one; those that are worked on no longer count.
    pub fn set(&self, behaviour: Behaviour) {
        self.0.setting.send_modify(|setting| setting.change(behaviour));
    }

    /// All figures as of now, in the Prometheus text format, as `/metrics` shows them.
    ///
    /// # Errors
    /// Where they cannot be encoded.
    pub fn metrics_text(&self) -> prometheus::Result<String> {
        self.0.metrics.text()
    }

    /// Changes what it does by a function of what it does, which nothing comes between.
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&Behaviour) -> Result<Behaviour, DocumentError>,
    ) -> Result<Behaviour, DocumentError> {
        let mut result = Ok(Behaviour::default());
        self.0.setting.send_if_modified(|setting| {
            result = change(&setting.behaviour);
            result.as_ref().is_ok_and(|behaviour| {
                setting.change(*behaviour);
                true
            })
        });
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<Setting> {
        self.0.setting.subscribe()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The work of one request: queue, burn, latency and fault.
    pub(crate) async fn work(&self) -> Result<(), Fault> {
        let errors = self.behaviour().errors;
        let fault = self.chance(errors.rate).then_some(Fault::Injected(errors.status));
        if let (Some(fault), true) = (fault, errors.fast) {
            return Err(fault);
        }
        let _slot = self.enter().await?;
        let Behaviour { latency, cpu_burn, .. } = self.behaviour();
        self.0.burner.burn(cpu_burn).await;
        let latency = latency.sample(&mut *self.0.rng.lock().unwrap_or_else(PoisonError::into_inner));
        if !latency.is_zero() {
            time::sleep(latency).await;
        }
        fault.map_or(Ok(()), Err)
    }

    fn chance(&self, share: Share) -> bool {
        let draw = || self.0.rng.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>();
        share > Share::NONE && draw() < share.as_f64()
    }

    async fn enter(&self) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let _queued = self.0.metrics.queued();
        loop {
            let gate = self.0.setting.borrow().gate.clone();
            let Some(gate) = gate else { return Ok(None) };
            match gate.enter().await {
                Ok(slot) => return Ok(Some(slot)),
                Err(Turned::Full) => return Err(Fault::QueueFull),
                Err(Turned::Replaced) => {}
            }
        }
    }
}

impl Setting {
    fn change(&mut self, behaviour: Behaviour) {
        if behaviour.concurrency != self.behaviour.concurrency {
            let gate = behaviour.concurrency.map(|concurrency| Arc::new(Gate::new(concurrency)));
            // Those whom this sends on find the new gate: they read the setting only after this change.
            if let Some(old) = std::mem::replace(&mut self.gate, gate) {
                old.close();
            }
        }
        self.behaviour = behaviour;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::behaviour::{Concurrency, Errors, Latency};

    const MEAN: Duration = Duration::from_millis(100);

    fn endpoint(behaviour: Behaviour) -> Endpoint {
        Endpoint::new(Identity { name: "one".parse().unwrap(), seed: Some(1) }, behaviour).unwrap()
    }

    fn slow(limit: u32, queue: u32) -> Behaviour {
        let concurrency = NonZeroU32::new(limit).map(|limit| Concurrency { limit, queue });
        Behaviour { latency: Latency::Constant { mean: MEAN }, concurrency, ..Behaviour::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_limit_wait() {
        let endpoint = endpoint(slow(1, 2));
        let start = Instant::now();
        let results = tokio::join!(endpoint.work(), endpoint.work(), endpoint.work(), endpoint.work());
        assert_eq!(results, (Ok(()), Ok(()), Ok(()), Err(Fault::QueueFull)));
        assert!(start.elapsed() >= MEAN * 3 && start.elapsed() < MEAN * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_lifted_lets_in_those_who_wait() {
        let endpoint = endpoint(slow(1, 8));
        let start = Instant::now();
        let lift = async { endpoint.set(Behaviour { concurrency: None, ..endpoint.behaviour() }) };
        let (first, second, third, ()) =
            tokio::join!(biased; endpoint.work(), endpoint.work(), endpoint.work(), lift);
        assert_eq!((first, second, third), (Ok(()), Ok(()), Ok(())));
        assert!(start.elapsed() < MEAN * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_come_at_their_rate_and_fast_ones_at_once() {
        let rate = Share::new(0.25).unwrap();
        let errors = Errors { rate, status: StatusCode::BAD_GATEWAY, fast: true };
        let endpoint = endpoint(Behaviour { errors, ..slow(1, 0) });
        let (mut failed, start) = (0_u32, Instant::now());
        for _ in 0..1000 {
            failed += u32::from(endpoint.work().await == Err(Fault::Injected(StatusCode::BAD_GATEWAY)));
        }
        assert!((200..300).contains(&failed), "{failed}");
        assert!(start.elapsed() < (MEAN + Duration::from_millis(2)) * (1000 - failed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_update_changes_nothing() {
        let endpoint = endpoint(slow(1, 0));
        let result = endpoint.update(|_| Err(DocumentError::field("health", "no")));
        assert!(result.is_err());
        assert_eq!(endpoint.behaviour(), slow(1, 0));
    }
}
