//! Two electors over a real Lease.

use std::{future::pending, time::Duration};

use evenkeel_apiserver_tests::{Server, shared, wait};
use evenkeel_controller::election::{
    Election, Elector, HOLD, LEASE, Leadership, LeaseApi, RENEW, holder, identity,
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use prometheus::IntGauge;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

struct Replica {
    elector: Elector,
    identity: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Server, namespace: &str, pod: &str) -> Self {
        let identity = identity(pod);
        let gauge = IntGauge::new("leader", "leads").unwrap();
        let leases = LeaseApi::new(server.client(), namespace);
        let (elector, election) = Election::new(leases, identity.clone(), gauge);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(election.run(async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Self { elector, identity, stop, task }
    }

    async fn leads(&self) -> u64 {
        let mut leadership = self.elector.leadership();
        let leads = leadership.wait_for(|leadership| leadership.epoch().is_some());
        tokio::time::timeout(wait::PATIENCE, leads).await.expect("leads in time").unwrap().epoch().unwrap()
    }

    fn is_follower(&self) -> bool {
        matches!(*self.elector.leadership().borrow(), Leadership::Follower)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A namespace with a Lease that nobody holds, as the chart lays it down.
async fn namespace(server: &Server) -> String {
    let namespace = server.namespace().await;
    let metadata = ObjectMeta { name: Some("evenkeel-controller".to_owned()), ..ObjectMeta::default() };
    let free = Lease { metadata, spec: None };
    leases(server, &namespace).create(&PostParams::default(), &free).await.unwrap();
    namespace
}

fn leases(server: &Server, namespace: &str) -> Api<Lease> {
    Api::namespaced(server.client(), namespace)
}

async fn patch(server: &Server, namespace: &str, patch: Value) {
    let (api, parameters) = (leases(server, namespace), PatchParams::default());
    api.patch("evenkeel-controller", &parameters, &Patch::Merge(patch)).await.unwrap();
}

async fn lease(server: &Server, namespace: &str) -> Lease {
    leases(server, namespace).get("evenkeel-controller").await.unwrap()
}

fn transitions(lease: &Lease) -> Option<i32> {
    lease.spec.as_ref()?.lease_transitions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_hands_over_and_a_silent_end_expires() {
    let server = require!(shared());
    let namespace = namespace(&server).await;
    let a = Replica::start(&server, &namespace, "a");
    assert_eq!(a.leads().await, 1);
    let stored = lease(&server, &namespace).await;
    assert_eq!((holder(&stored), transitions(&stored)), (Some(a.identity.as_str()), Some(1)));
    let b = Replica::start(&server, &namespace, "b");
    assert!(b.is_follower());

    let start = Instant::now();
    a.stop().await;
    assert_eq!(b.leads().await, 2);
    assert!(start.elapsed() < 2 * RENEW + Duration::from_secs(2), "{:?}", start.elapsed());

    let c = Replica::start(&server, &namespace, "c");
    wait::until("a renewal", async || {
        let renewed = lease(&server, &namespace).await.spec?.renew_time;
        (renewed != stored.spec.as_ref()?.renew_time).then_some(())
    })
    .await;
    let start = Instant::now();
    b.task.abort();
    assert_eq!(c.leads().await, 3);
    assert!(start.elapsed() > HOLD && start.elapsed() < LEASE + 3 * RENEW, "{:?}", start.elapsed());
    assert_eq!(transitions(&lease(&server, &namespace).await), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lease_is_made_anew_under_a_higher_epoch() {
    let server = require!(shared());
    let namespace = namespace(&server).await;
    let leader = Replica::start(&server, &namespace, "a");
    leader.leads().await;
    let rival = Replica::start(&server, &namespace, "b");
    let old = lease(&server, &namespace).await.metadata.uid;
    leases(&server, &namespace).delete("evenkeel-controller", &DeleteParams::default()).await.unwrap();
    let fresh = Replica::start(&server, &namespace, "c"); // never saw the Lease
    let mut leadership = leader.elector.leadership();
    let raised = leadership.wait_for(|leadership| leadership.epoch() == Some(2));
    tokio::time::timeout(wait::PATIENCE, raised).await.expect("the leader goes on").unwrap();
    let new = lease(&server, &namespace).await;
    assert_ne!(new.metadata.uid, old);
    assert_eq!((holder(&new), transitions(&new)), (Some(leader.identity.as_str()), Some(2)));
    assert!(rival.is_follower() && fresh.is_follower());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_outdoes_the_epoch_that_a_proxy_tells_of() {
    let server = require!(shared());
    let namespace = namespace(&server).await;
    let a = Replica::start(&server, &namespace, "a");
    a.leads().await;
    // Somebody's label must not cost the leadership.
    let label = json!({"metadata": {"labels": {"team": "shop"}}});
    patch(&server, &namespace, label).await;
    a.elector.raise_above(41);
    let mut leadership = a.elector.leadership();
    let raised = leadership.wait_for(|leadership| leadership.epoch() == Some(42));
    tokio::time::timeout(wait::PATIENCE, raised).await.expect("it is raised in time").unwrap();
    let stored = lease(&server, &namespace).await;
    assert_eq!(transitions(&stored), Some(42));
    assert_eq!(stored.metadata.labels.unwrap()["team"], "shop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_another_holds_deposes_at_the_next_renewal() {
    let server = require!(shared());
    let namespace = namespace(&server).await;
    let a = Replica::start(&server, &namespace, "a");
    a.leads().await;
    let fence = match &*a.elector.leadership().borrow() {
        Leadership::Leader { fence, .. } => fence.clone(),
        Leadership::Follower => panic!("it leads"),
    };
    let taken = json!({"spec": {"holderIdentity": "other", "leaseTransitions": 9}});
    patch(&server, &namespace, taken).await;
    wait::until("the end of the leadership", async || a.is_follower().then_some(())).await;
    assert!(!fence.holds());
}
