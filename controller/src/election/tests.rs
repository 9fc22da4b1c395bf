//! Elections in virtual time, over a Lease in memory that is slow, fails, and is deleted.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::*;

/// An API server with one Lease.
#[derive(Clone, Debug)]
struct Server(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    lease: Option<Lease>,
    version: u64,
    made: Instant,
    random: SmallRng,
    /// Longest time on the way to the server and back, and the share of answers that get lost.
    delay: Duration,
    loss: f64,
}

impl Server {
    fn new(seed: u64, delay: Duration, loss: f64) -> Self {
        let random = SmallRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State {
            lease: None,
            version: 0,
            made: Instant::now(),
            random,
            delay,
            loss,
        })))
    }

    fn perfect() -> Self {
        Self::new(0, Duration::ZERO, 0.0)
    }

    fn lease(&self) -> Option<Lease> {
        self.0.lock().unwrap().lease.clone()
    }

    fn epoch(&self) -> i32 {
        self.lease().unwrap().spec.unwrap().lease_transitions.unwrap()
    }

    /// Time since the Lease was made; none if there is none.
    fn age(&self) -> Duration {
        let state = self.0.lock().unwrap();
        if state.lease.is_some() { state.made.elapsed() } else { Duration::ZERO }
    }

    fn delete(&self) {
        self.0.lock().unwrap().lease = None;
    }

    fn partition(&self) {
        self.0.lock().unwrap().loss = 1.0;
    }

    /// Some requests are quick, some take as long as they can; a caller that gives up does not stop them.
    fn delay(&self) -> Duration {
        let state = &mut *self.0.lock().unwrap();
        let factor: f64 = state.random.random::<f64>().powi(4);
        state.delay.mul_f64(factor)
    }

    async fn request(
        &self,
        change: impl FnOnce(&mut State) -> Result<Option<Lease>, LeaseError> + Send + 'static,
    ) -> Result<Option<Lease>, LeaseError> {
        let server = self.clone();
        let (there, back) = (self.delay(), self.delay());
        let arrived = tokio::spawn(async move {
            sleep(there).await;
            let state = &mut *server.0.lock().unwrap();
            // Half of the losses are of the request, half of the answer.
            let luck: f64 = state.random.random();
            if luck < state.loss / 2.0 {
                return Err(LeaseError::TimedOut);
            }
            let answer = change(state);
            if luck < state.loss { Err(LeaseError::TimedOut) } else { answer }
        });
        let answer = arrived.await.unwrap();
        sleep(back).await;
        answer
    }
}

impl State {
    fn store(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

impl Leases for Server {
    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        self.request(|state| Ok(state.lease.clone())).await
    }

    async fn create(&self, mut lease: Lease) -> Result<Lease, LeaseError> {
        let made = self.request(move |state| {
            if state.lease.is_some() {
                return Err(LeaseError::Conflict);
            }
            state.made = Instant::now();
            lease.metadata.uid = Some(format!("uid-{}", state.version));
            Ok(Some(state.store(lease)))
        });
        made.await.map(Option::unwrap)
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, LeaseError> {
        let replaced = self.request(move |state| match &state.lease {
            // As for a deleted Lease that is replaced under its old version.
            None => Err(if state.random.random() { LeaseError::Missing } else { LeaseError::Conflict }),
            Some(stored) if stored.metadata.resource_version != lease.metadata.resource_version => {
                Err(LeaseError::Conflict)
            }
            Some(_) => Ok(Some(state.store(lease))),
        });
        replaced.await.map(Option::unwrap)
    }
}

struct Replica {
    elector: Elector,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Server, name: &str) -> Self {
        let gauge = IntGauge::new("leader", "leads").unwrap();
        let (elector, election) = Election::new(server.clone(), name.to_owned(), gauge);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(election.run(async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Self { elector, stop, task }
    }

    fn epoch(&self) -> Option<u64> {
        self.elector.leadership.borrow().epoch()
    }

    async fn leads(&self) -> u64 {
        let mut leadership = self.elector.leadership();
        let leads = leadership.wait_for(|leadership| leadership.epoch().is_some());
        leads.await.unwrap().epoch().unwrap()
    }

    async fn follows(&self) {
        let mut leadership = self.elector.leadership();
        leadership.wait_for(|leadership| matches!(leadership, Leadership::Follower)).await.unwrap();
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_leader_has_epoch_1_and_keeps_it() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    assert_eq!(a.leads().await, 1);
    sleep(Duration::from_mins(10)).await;
    assert_eq!((a.leads().await, server.epoch()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_hands_over_at_once() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    let b = Replica::start(&server, "b");
    sleep(RENEW).await;
    assert_eq!(b.epoch(), None);
    let start = Instant::now();
    a.stop().await;
    assert_eq!(b.leads().await, 2);
    assert!(start.elapsed() <= RENEW, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced_after_the_lease() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    let b = Replica::start(&server, "b");
    sleep(RENEW).await;
    let start = Instant::now();
    a.task.abort();
    assert_eq!(b.leads().await, 2);
    assert!(start.elapsed() > HOLD && start.elapsed() <= LEASE + RENEW, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_an_api_server_stops_in_time_and_comes_back_under_a_new_epoch() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    let start = Instant::now();
    server.partition();
    a.follows().await;
    assert!(start.elapsed() <= HOLD, "{:?}", start.elapsed());
    server.0.lock().unwrap().loss = 0.0;
    assert!(a.leads().await > 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_makes_a_deleted_lease_anew() {
    let server = Server::perfect();
    let (a, b) = (Replica::start(&server, "a"), Replica::start(&server, "b"));
    tokio::select! { _ = a.leads() => {}, _ = b.leads() => {} }
    sleep(RENEW).await;
    let leader = if a.epoch().is_some() { &a } else { &b };
    server.delete();
    let mut leadership = leader.elector.leadership();
    leadership.wait_for(|leadership| leadership.epoch() == Some(2)).await.unwrap();
    assert_eq!(server.epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_of_another_epoch_takes_a_higher_one() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    let old = a.elector.leadership.borrow().clone();
    a.elector.raise_above(7);
    a.elector.raise_above(5);
    a.elector.raise_above(u64::MAX);
    let mut leadership = a.elector.leadership();
    leadership.wait_for(|leadership| leadership.epoch() == Some(8)).await.unwrap();
    assert_eq!(server.epoch(), 8);
    assert_eq!(old.epoch(), None, "the fence of the old epoch no longer holds");
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_told_of_an_epoch_does_not_touch_the_lease() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    let b = Replica::start(&server, "b");
    sleep(RENEW).await;
    b.elector.raise_above(7);
    sleep(3 * RENEW).await;
    assert_eq!((a.epoch(), b.epoch(), server.epoch()), (Some(1), None, 1));
    a.stop().await;
    assert_eq!(b.leads().await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_does_not_depose_the_leader() {
    let server = Server::perfect();
    let a = Replica::start(&server, "a");
    a.leads().await;
    {
        let state = &mut *server.0.lock().unwrap();
        let lease = state.lease.clone().unwrap();
        state.store(lease);
    }
    sleep(3 * RENEW).await;
    assert_eq!((a.epoch(), server.epoch()), (Some(1), 1));
}

/// Runs three replicas for a while, and looks every 50 ms at who leads.
async fn simulate(seed: u64, delay: Duration, loss: f64, is_deleted: bool) -> Result<(), TestCaseError> {
    let server = Server::new(seed, delay, loss);
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut replicas: Vec<_> = (0..3).map(|n| Replica::start(&server, &format!("r{n}"))).collect();
    let mut highest = 0;
    for tick in 1..=4800 {
        sleep(Duration::from_millis(50)).await;
        let leaders: Vec<_> = replicas.iter().filter_map(Replica::epoch).collect();
        let epochs: BTreeSet<_> = leaders.iter().collect();
        prop_assert_eq!(leaders.len(), epochs.len(), "an epoch has two leaders: {:?}", leaders);
        prop_assert!(leaders.len() <= 1, "two leaders: {leaders:?}");
        // A process that never saw a deleted Lease knows its epochs only from the proxies, which are not here.
        prop_assert!(
            is_deleted || epochs.iter().all(|epoch| **epoch >= highest),
            "{leaders:?} after {highest}"
        );
        highest = highest.max(leaders.iter().copied().max().unwrap_or(0));
        if is_deleted && tick % 100 == 0 && server.age() > HOLD + LEASE {
            server.delete();
        }
        // A new name each time: a process that starts anew is another one.
        if tick % 400 == 0 {
            let n = random.random_range(0..3);
            let reborn = Replica::start(&server, &format!("r{n}-{tick}"));
            let old = std::mem::replace(&mut replicas[n], reborn);
            if random.random() { old.task.abort() } else { old.stop().await }
        }
    }
    prop_assert!(highest >= 1 || loss > 0.2 || delay > REQUEST, "nobody ever led");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_two_leaders_share_an_epoch(seed: u64, delay_ms in 0u64..30_000, loss in 0.0..0.4, is_deleted: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulate(seed, Duration::from_millis(delay_ms), loss, is_deleted))?;
    }
}
