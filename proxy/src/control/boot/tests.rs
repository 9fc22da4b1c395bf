use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::SystemTime,
};

use evenkeel_api::channel::{PoolDocument, PoolReport, PoolUid, ReceivedSnapshot, Rejection, snapshot_hash};
use http::StatusCode;
use prometheus::Registry;
use tokio::time::Instant;

use super::*;
use crate::control::{ControlMetrics, Origin};

/// Remembers the origins that it was asked to activate.
#[derive(Default)]
struct Plane(Mutex<Vec<Origin>>);

impl Activate for Plane {
    async fn activate(
        &self,
        _desired: BTreeMap<PoolUid, Arc<PoolDocument>>,
        origin: Origin,
    ) -> BTreeMap<PoolUid, Vec<Rejection>> {
        self.0.lock().unwrap().push(origin);
        BTreeMap::new()
    }

    fn report(&self) -> BTreeMap<PoolUid, PoolReport> {
        BTreeMap::new()
    }
}

fn control() -> Arc<Control<Plane>> {
    Control::new(Plane::default(), 0, ControlMetrics::register(&Registry::new()).unwrap())
}

fn origins(control: &Control<Plane>) -> Vec<Origin> {
    control.plane().0.lock().unwrap().clone()
}

fn snapshot(epoch: u64) -> SnapshotDocument {
    SnapshotDocument { epoch, revision: 1, hash: snapshot_hash([]), pools: BTreeMap::new() }
}

fn kept() -> Kept {
    let snapshot =
        ReceivedSnapshot { epoch: 3, revision: 9, hash: snapshot_hash([]), ..ReceivedSnapshot::default() };
    Kept { snapshot, fence: 3, contact: SystemTime::UNIX_EPOCH + Duration::from_secs(1000) }
}

fn not_yet() -> PullError {
    PullError::Status("10.0.0.1:9443".parse().unwrap(), StatusCode::SERVICE_UNAVAILABLE)
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_answers_is_asked_until_it_can_tell() {
    let control = control();
    let answers = Mutex::new(VecDeque::from([Err(not_yet()), Err(not_yet()), Ok(snapshot(0))]));
    pull(&control, || async { answers.lock().unwrap().pop_front().unwrap() }).await;
    assert_eq!(control.received().source(), Source::Follower);
    assert_eq!(origins(&control), [Origin::Controller]);
}

#[tokio::test(start_paused = true)]
async fn a_push_ends_the_asking() {
    let control = control();
    let asking = pull(&control, std::future::pending);
    let pushed = async { control.put(snapshot(1)).await.unwrap() };
    tokio::join!(asking, pushed);
    assert_eq!(control.received().position(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_state_serves_after_five_seconds() {
    let (control, started) = (control(), Instant::now());
    let booting = tokio::spawn(boot(control.clone(), None, Some(kept())));
    control.ready().await;
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(origins(&control), [Origin::Disk]);
    assert_eq!(control.received().position(), (3, 9));
    while control.contact().last() != kept().contact {
        tokio::task::yield_now().await;
    }
    assert!(!booting.is_finished());
    control.put(snapshot(3)).await.unwrap_err();
    control.put(snapshot(4)).await.unwrap();
    booting.await.unwrap();
    assert_eq!(origins(&control), [Origin::Disk, Origin::Controller]);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_state_is_left_alone_if_a_controller_was_faster() {
    let control = control();
    control.put(snapshot(1)).await.unwrap();
    boot(control.clone(), None, Some(kept())).await;
    assert!(!control.restore(&kept().snapshot).await.unwrap());
    assert_eq!(origins(&control), [Origin::Controller]);
}

#[tokio::test(start_paused = true)]
async fn without_anything_a_proxy_is_not_ready() {
    let control = control();
    let booting = tokio::spawn(boot(control.clone(), None, None));
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(!control.is_ready());
    booting.abort();
}
