//! What the writer does to a real cluster, and what it leaves alone.

use std::collections::BTreeMap;

use evenkeel_api::{
    labels,
    object::{BalancerPool, BalancerPoolStatus, ProxyClass, ServiceTemplate, ServiceType},
};
use evenkeel_apiserver_tests::shared;
use evenkeel_controller::{
    effect::{DesiredService, Effect},
    election::Fence,
    event::ObjectName,
    metrics::Metrics,
    write::Writer,
};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fixture::{create, pool};

/// A writer at work.
struct Running {
    writer: Writer,
    metrics: Metrics,
    fence: Fence,
}

impl Running {
    fn start(client: Client) -> Self {
        let metrics = Metrics::new().unwrap();
        let (writer, task, _verdicts) = Writer::new(client, metrics.writes.clone());
        tokio::spawn(task.run());
        Self { writer, metrics, fence: Fence::unlimited() }
    }

    /// Carries these out, and expects these results, of any number of attempts.
    async fn check(&self, effects: Vec<Effect>, expect: &[(&str, &str)]) {
        let before = self.results();
        self.writer.submit(&self.fence, effects);
        timeout(evenkeel_apiserver_tests::wait::PATIENCE, self.writer.idle()).await.expect("idle in time");
        let after = self.results();
        let new: Vec<_> =
            after.iter().filter(|(key, count)| before.get(*key) != Some(count)).map(|(key, _)| key).collect();
        let expect: Vec<_> = expect
            .iter()
            .map(|(kind, result)| {
                format!("evenkeel_controller_writes_total{{kind=\"{kind}\",result=\"{result}\"}}")
            })
            .collect();
        assert_eq!(new, expect.iter().collect::<Vec<_>>());
    }

    fn results(&self) -> BTreeMap<String, String> {
        let text = String::from_utf8(self.metrics.encode(Vec::new()).unwrap()).unwrap();
        text.lines()
            .filter(|line| line.starts_with("evenkeel_controller_writes_total"))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}

fn status_of(name: &ObjectName, uid: &str, revision: &str) -> Effect {
    let status: BalancerPoolStatus = serde_json::from_value(json!({
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:04:05Z",
        }],
        "endpoints": {"total": 3, "healthy": 3, "draining": 0, "summary": "3/3"},
        "revision": revision,
    }))
    .unwrap();
    Effect::Status { pool: name.clone(), uid: uid.to_owned(), status: Box::new(status), news: Vec::new() }
}

fn marks(uid: &str) -> BTreeMap<String, String> {
    [(labels::MANAGED_BY, labels::CONTROLLER), (labels::POOL_UID, uid), (labels::POOL, "checkout")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn service_of(name: &ObjectName, uid: &str, ports: &[(&str, u16, u16)], annotation: Option<&str>) -> Effect {
    Effect::Service(Box::new(DesiredService {
        name: name.clone(),
        labels: marks(uid),
        selector: BTreeMap::from([(labels::PROXY_CLASS.to_owned(), "default".to_owned())]),
        ports: ports.iter().map(|(name, port, target)| ((*name).to_owned(), *port, *target)).collect(),
        template: ServiceTemplate {
            type_: ServiceType::ClusterIP,
            annotations: annotation
                .map(|value| ("example.com/a".to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            ..ServiceTemplate::default()
        },
    }))
}

fn services(client: &Client, namespace: &str) -> Api<Service> {
    Api::namespaced(client.clone(), namespace)
}

fn ports(service: &Service) -> Vec<(i32, Value)> {
    let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
    ports.iter().map(|port| (port.port, json!(port.target_port))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_applied_once_and_only_to_its_own_pool() {
    let server = require!(shared());
    let (client, namespace) = (server.client(), server.namespace().await);
    let running = Running::start(client.clone());
    let made: BalancerPool = create(&client, &namespace, pool("checkout")).await;
    let (name, uid) = (ObjectName::new(&namespace, "checkout"), made.uid().unwrap());
    let pools: Api<BalancerPool> = Api::namespaced(client.clone(), &namespace);

    running.check(vec![status_of(&name, &uid, "1.1")], &[("status", "applied")]).await;
    let first = pools.get("checkout").await.unwrap();
    assert_eq!(first.status.as_ref().unwrap().revision.as_deref(), Some("1.1"));
    assert_eq!(first.metadata.generation, made.metadata.generation);
    let owner =
        first.managed_fields().iter().find(|entry| entry.subresource.as_deref() == Some("status")).unwrap();
    assert_eq!(
        (owner.manager.as_deref(), owner.operation.as_deref()),
        (Some("evenkeel-controller"), Some("Apply"))
    );

    running.check(vec![status_of(&name, &uid, "1.1")], &[("status", "unchanged")]).await;
    assert_eq!(
        pools.get("checkout").await.unwrap().resource_version(),
        first.resource_version(),
        "nothing changed"
    );

    running.check(vec![status_of(&name, "another-uid", "1.2")], &[("status", "gone")]).await;
    assert_eq!(pools.get("checkout").await.unwrap().resource_version(), first.resource_version());

    pools.delete("checkout", &DeleteParams::default()).await.unwrap();
    running.check(vec![status_of(&name, &uid, "1.3")], &[("status", "gone")]).await;
    assert!(pools.get_opt("checkout").await.unwrap().is_none(), "a status makes no pool");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_after_the_end_of_the_leadership() {
    let server = require!(shared());
    let (client, namespace) = (server.client(), server.namespace().await);
    let running = Running::start(client.clone());
    let made: BalancerPool = create(&client, &namespace, pool("checkout")).await;
    let name = ObjectName::new(&namespace, "checkout");
    running.fence.revoke();
    let effects = vec![
        status_of(&name, &made.uid().unwrap(), "1.1"),
        service_of(&ObjectName::new(&namespace, "shop-checkout"), "u1", &[("web", 80, 10_000)], None),
    ];
    running.check(effects, &[("service", "fenced"), ("status", "fenced")]).await;
    let pools: Api<BalancerPool> = Api::namespaced(client.clone(), &namespace);
    assert!(pools.get("checkout").await.unwrap().status.is_none());
    assert!(services(&client, &namespace).list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_made_changed_and_deleted() {
    let server = require!(shared());
    let (client, namespace) = (server.client(), server.namespace().await);
    let running = Running::start(client.clone());
    let name = ObjectName::new(&namespace, "shop-checkout");
    let api = services(&client, &namespace);
    let two = [("web", 80, 10_000), ("admin", 81, 10_001)];

    running.check(vec![service_of(&name, "u1", &two, Some("1"))], &[("service", "created")]).await;
    let made = api.get("shop-checkout").await.unwrap();
    assert_eq!(ports(&made), [(80, json!(10_000)), (81, json!(10_001))]);
    assert_eq!(made.annotations()["example.com/a"], "1");

    // The first time it gives up what it owned only because it was filled in; the second time there is nothing to do.
    running.check(vec![service_of(&name, "u1", &two, Some("1"))], &[("service", "applied")]).await;
    let again = api.get("shop-checkout").await.unwrap();
    assert_eq!(again.spec, made.spec);
    running.check(vec![service_of(&name, "u1", &two, Some("1"))], &[("service", "unchanged")]).await;
    assert_eq!(api.get("shop-checkout").await.unwrap().resource_version(), again.resource_version());

    // What was there from the start goes, too; what others added stays.
    let other = json!({"metadata": {"annotations": {"example.com/other": "x"}}});
    api.patch("shop-checkout", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    running
        .check(vec![service_of(&name, "u1", &[("web", 80, 10_005)], None)], &[("service", "applied")])
        .await;
    let changed = api.get("shop-checkout").await.unwrap();
    assert_eq!(ports(&changed), [(80, json!(10_005))]);
    assert_eq!(
        changed.annotations().keys().collect::<Vec<_>>(),
        ["evenkeel.dev/applied", "example.com/other"]
    );
    assert_eq!(changed.uid(), made.uid());

    let delete = |uid: &str| Effect::DeleteService { name: name.clone(), uid: uid.to_owned() };
    running.check(vec![delete("another")], &[("delete_service", "gone")]).await;
    assert!(api.get_opt("shop-checkout").await.unwrap().is_some());
    running.check(vec![delete(&made.uid().unwrap())], &[("delete_service", "deleted")]).await;
    assert!(api.get_opt("shop-checkout").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_ours_stays_as_it_is() {
    let server = require!(shared());
    let (client, namespace) = (server.client(), server.namespace().await);
    let running = Running::start(client.clone());
    let api = services(&client, &namespace);
    for (name, labels) in [
        ("users", BTreeMap::new()),
        ("half", BTreeMap::from([(labels::MANAGED_BY.to_owned(), labels::CONTROLLER.to_owned())])),
        ("other-pools", marks("u2")),
    ] {
        let object =
            json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 1234}]}});
        let made: Service = create(&client, &namespace, object).await;
        let at = ObjectName::new(&namespace, name);
        let alias =
            Effect::Alias { name: at.clone(), labels: marks("u1"), external_name: "x.example".to_owned() };
        running
            .check(vec![service_of(&at, "u1", &[("web", 80, 10_000)], None)], &[("service", "foreign")])
            .await;
        running.check(vec![alias], &[("alias", "foreign")]).await;
        if name != "other-pools" {
            let delete = Effect::DeleteService { name: at, uid: made.uid().unwrap() };
            running.check(vec![delete], &[("delete_service", "foreign")]).await;
        }
        assert_eq!(api.get(name).await.unwrap().resource_version(), made.resource_version(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_belongs_to_its_pool() {
    let server = require!(shared());
    let (client, namespace) = (server.client(), server.namespace().await);
    let running = Running::start(client.clone());
    let made: BalancerPool = create(&client, &namespace, pool("checkout")).await;
    let name = ObjectName::new(&namespace, "checkout-lb");
    let alias = |to: &str| Effect::Alias {
        name: name.clone(),
        labels: marks(&made.uid().unwrap()),
        external_name: to.to_owned(),
    };
    running.check(vec![alias("a.example")], &[("alias", "created")]).await;
    running.check(vec![alias("b.example")], &[("alias", "applied")]).await;
    let stored = services(&client, &namespace).get("checkout-lb").await.unwrap();
    assert_eq!(stored.owner_references()[0].uid, made.uid().unwrap());
    let spec = stored.spec.unwrap();
    assert_eq!(
        (spec.type_.as_deref(), spec.external_name.as_deref()),
        (Some("ExternalName"), Some("b.example"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_class_is_made_once_and_never_changed() {
    let server = require!(shared());
    let client = server.client();
    let running = Running::start(client.clone());
    let classes: Api<ProxyClass> = Api::all(client.clone());
    running.check(vec![Effect::DefaultClass], &[("default_class", "created")]).await;
    let patch = json!({"spec": {"serviceTypes": ["ClusterIP", "NodePort"]}});
    let edited = classes.patch("default", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    running.check(vec![Effect::DefaultClass], &[("default_class", "unchanged")]).await;
    assert_eq!(classes.get("default").await.unwrap().resource_version(), edited.resource_version());
}
