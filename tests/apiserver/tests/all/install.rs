//! The manifests: whether an API server takes them, whether the pods may run, and whether the controller may do its
//! work and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::SystemTime,
};

use evenkeel_api::{
    labels,
    object::{BalancerPool, BalancerPoolStatus},
};
use evenkeel_apiserver_tests::{Server, wait};
use evenkeel_controller::{
    certificates::Certificates,
    effect::{DesiredService, Effect},
    election::{Election, Fence, LeaseApi},
    event::{Event, ObjectName},
    metrics::Metrics,
    source::{EVENT_QUEUE, kubernetes},
    write::Writer,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
    discovery::{Scope, pinned_kind},
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::fixture::{create, pool};

const INSTALL: &str = "evenkeel-system";

/// Applies every object of a file, as `kubectl apply --server-side --validate=strict` does.
async fn apply(client: &Client, path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
        let object: DynamicObject = serde_json::from_value(document).unwrap();
        let types: TypeMeta = object.types.clone().unwrap();
        let (resource, capabilities) =
            pinned_kind(client, &GroupVersionKind::try_from(&types).unwrap()).await.unwrap();
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Namespaced => {
                Api::namespaced_with(client.clone(), &object.namespace().unwrap(), &resource)
            }
            Scope::Cluster => Api::all_with(client.clone(), &resource),
        };
        let parameters = PatchParams::apply("kubectl").force().validation_strict();
        let name = object.name_any();
        let applied = api.patch(&name, &parameters, &Patch::Apply(object)).await;
        applied.unwrap_or_else(|error| panic!("{}: {} {name}: {error}", path.display(), types.kind));
    }
}

fn manifests() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// The pods that the Deployments of a namespace would make.
async fn may_run(client: &Client, namespace: &str) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let all = deployments.list(&Default::default()).await.unwrap().items;
    assert_eq!(all.len(), 2);
    for deployment in all {
        let template = deployment.spec.unwrap().template;
        let mut metadata = template.metadata.unwrap();
        metadata.name = deployment.metadata.name;
        let pod = Pod { metadata, spec: template.spec, status: None };
        pods.create(&parameters, &pod).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_are_taken_and_give_the_controller_what_it_needs_and_no_more() {
    let server = require!(Server::start());
    let client = server.client();
    apply(&client, &manifests().join("install.yaml")).await;
    let mut examples: Vec<_> =
        fs::read_dir(manifests().join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    for example in examples {
        apply(&client, &example).await;
    }
    may_run(&client, INSTALL).await;
    may_run(&client, "demo").await;

    let controller = server.client_as("system:serviceaccount:evenkeel-system:evenkeel-controller");
    controller_works(&client, &controller, &server.namespace().await).await;
    controller_does_no_more(&controller).await;
    let proxy = server.client_as("system:serviceaccount:evenkeel-system:evenkeel-proxy");
    let api: Api<Secret> = Api::namespaced(proxy, INSTALL);
    forbidden(api.list(&Default::default()).await);
}

/// Watches, leads, writes, and makes certificates, as the controller.
async fn controller_works(admin: &Client, controller: &Client, namespace: &str) {
    let metrics = Metrics::new().unwrap();
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let source =
        tokio::spawn(kubernetes::run(controller.clone(), INSTALL.to_owned(), sender, metrics.source.clone()));
    let first = wait::receive("the first lists", &mut events, |event| *event == Event::Synced).await;
    let pools = first.iter().filter(|event| matches!(event, Event::Pool(_, pool) if pool.spec.is_ok()));
    assert_eq!(pools.count(), 14, "a pool for every algorithm, and two more");
    source.abort();

    let leases = LeaseApi::new(controller.clone(), INSTALL);
    let (elector, election) = Election::new(leases, "a".to_owned(), metrics.leader.clone());
    let mut leadership = elector.leadership();
    let election = tokio::spawn(election.run(std::future::pending()));
    let leads = leadership.wait_for(|leadership| leadership.epoch().is_some());
    tokio::time::timeout(wait::PATIENCE, leads).await.expect("leads in time").unwrap();
    election.abort();

    let classes = BTreeSet::from(["default".to_owned()]);
    let certificates = Certificates::new(controller.clone(), INSTALL);
    certificates.ensure(&classes, SystemTime::now()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), INSTALL);
    secrets.get("evenkeel-proxy-default-tls").await.expect("the Secret that the proxies mount");

    writes(admin, controller, namespace, &metrics).await;
}

async fn writes(admin: &Client, controller: &Client, namespace: &str, metrics: &Metrics) {
    let (writer, task, _verdicts) = Writer::new(controller.clone(), metrics.writes.clone());
    let task = tokio::spawn(task.run());
    let made: BalancerPool = create(admin, namespace, pool("checkout")).await;
    let uid = made.uid().unwrap();
    let marks: BTreeMap<_, _> =
        [(labels::MANAGED_BY, labels::CONTROLLER), (labels::POOL_UID, &*uid), (labels::POOL, "checkout")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let service = ObjectName::new(INSTALL, "pool-checkout");
    let status = BalancerPoolStatus { revision: Some("1.1".to_owned()), ..BalancerPoolStatus::default() };
    let effects = vec![
        Effect::DefaultClass,
        Effect::Status {
            pool: ObjectName::new(namespace, "checkout"),
            uid,
            status: Box::new(status),
            news: Vec::new(),
        },
        Effect::Service(Box::new(DesiredService {
            name: service.clone(),
            labels: marks.clone(),
            selector: BTreeMap::from([(labels::PROXY_CLASS.to_owned(), "default".to_owned())]),
            ports: vec![("web".to_owned(), 80, 10_000)],
            template: made.spec.service.clone(),
        })),
        Effect::Alias {
            name: ObjectName::new(namespace, "checkout-lb"),
            labels: marks,
            external_name: "pool-checkout.evenkeel-system.svc.cluster.local".to_owned(),
        },
    ];
    let idle = |what: &'static str, effects: Vec<Effect>| {
        writer.submit(&Fence::unlimited(), effects);
        let idle = tokio::time::timeout(wait::PATIENCE, writer.idle());
        async move { idle.await.unwrap_or_else(|_| panic!("{what} cannot be written")) }
    };
    idle("something", effects).await;
    let services: Api<Service> = Api::namespaced(admin.clone(), INSTALL);
    let uid = services.get(&service.name).await.unwrap().uid().unwrap();
    idle("the deletion", vec![Effect::DeleteService { name: service, uid }]).await;
    task.abort();
    let text = String::from_utf8(metrics.encode(Vec::new()).unwrap()).unwrap();
    for line in [
        r#"{kind="alias",result="created"} 1"#,
        r#"{kind="default_class",result="created"} 1"#,
        r#"{kind="delete_service",result="deleted"} 1"#,
        r#"{kind="service",result="created"} 1"#,
        r#"{kind="status",result="applied"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

async fn controller_does_no_more(controller: &Client) {
    let secrets: Api<Secret> = Api::namespaced(controller.clone(), "demo");
    forbidden(secrets.list(&Default::default()).await);
    let secrets: Api<Secret> = Api::namespaced(controller.clone(), INSTALL);
    forbidden(secrets.delete("evenkeel-ca", &Default::default()).await);
    let pools: Api<BalancerPool> = Api::namespaced(controller.clone(), "demo");
    let patch = Patch::Merge(serde_json::json!({"metadata": {"labels": {"a": "b"}}}));
    forbidden(pools.patch("random", &PatchParams::default(), &patch).await);
    let pods: Api<Pod> = Api::namespaced(controller.clone(), INSTALL);
    forbidden(pods.delete("any", &Default::default()).await);
}

fn forbidden<T>(result: Result<T, kube::Error>) {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        Err(error) => panic!("not refused, but failed: {error}"),
        Ok(_) => panic!("not refused"),
    }
}
