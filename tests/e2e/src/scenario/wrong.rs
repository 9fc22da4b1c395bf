//! 7. What is wrong is refused or told, by name, and hurts no other pool.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use evenkeel_api::object::{condition, reason};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use crate::{
    cluster::{Cluster, SYSTEM, address},
    fetch::{self, header},
    load::{Load, Plan},
    pools::{APP, Shop},
    wait,
};

/// Port that pools with hostnames share, on the proxies.
const SHARED_PORT: u16 = 8080;
const HOST: &str = "shop.example.com";
const LISTENERS: &str = "[{name: web, port: 80, protocol: HTTP}]";

pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let shop = Shop::open(cluster, "wrong", 2).await?;
    shop.pool("good", "algorithm: {type: RoundRobin}").await?;
    shop.ready("good").await?;
    let load = Load::start(Plan { rate: 100, ..Plan::to(shop.address("good").await?) });
    a_missing_service(&shop).await.context("a missing Service")?;
    refused_pools(&shop).await.context("a pool that is refused")?;
    one_hostname_twice(&shop).await.context("one hostname twice")?;
    services_of_others(&shop).await.context("Services of others")?;
    let counts = load.stop().await?;
    counts.none_failed().context("the good pool")?;
    shop.check("good", "Ready=True,Ready").await?;
    shop.close().await?;
    Ok(vec![format!("the good pool meanwhile: {}", counts.line())])
}

async fn a_missing_service(shop: &Shop) -> anyhow::Result<()> {
    shop.pool_of("missing", "nowhere", LISTENERS, "algorithm: {type: RoundRobin}").await?;
    shop.says("missing", "ResolvedRefs=False,BackendNotFound").await?;
    shop.says("missing", "Ready=False,NotResolved").await?;
    shop.says("missing", "Programmed=True,Programmed").await?;
    let at = shop.address("missing").await?;
    wait::until("503 with a reason", Duration::from_secs(20), || async {
        let answer = fetch::page(at, "missing", "/").await?;
        let reason = header(answer.headers(), "x-evenkeel-reason");
        ensure!(answer.status() == 503 && reason == "no_endpoint", "{} {reason}", answer.status());
        Ok(())
    })
    .await?;
    told_as_event(shop, "missing", reason::BACKEND_NOT_FOUND).await?;
    // The Service comes, and no edit is needed.
    let namespace = &shop.namespace;
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: nowhere, namespace: {namespace}}}\n\
         spec: {{selector: {{app: {APP}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n"
    );
    shop.cluster.apply(&service).await?;
    shop.ready("missing").await?;
    shop.delete_pool("missing").await
}

/// What `kubectl describe` shows.
async fn told_as_event(shop: &Shop, pool: &str, reason: &str) -> anyhow::Result<()> {
    let events: Api<Event> = Api::namespaced(shop.cluster.client.clone(), &shop.namespace);
    let fields = format!("regarding.name={pool},regarding.kind=BalancerPool,reason={reason}");
    wait::until("the event", Duration::from_secs(20), || async {
        let found = events.list(&ListParams::default().fields(&fields)).await?;
        ensure!(
            found.items.iter().any(|event| event.type_.as_deref() == Some("Warning")),
            "no event {reason}"
        );
        Ok(())
    })
    .await
}

async fn refused_pools(shop: &Shop) -> anyhow::Result<()> {
    let cases = [
        (
            "algorithm: {type: PowerOfTwoChoices, powerOfTwoChoices: {choices: 11}}",
            "spec.algorithm.powerOfTwoChoices.choices",
        ),
        ("algorithm: {type: RoundRobin, leastRequest: {choices: 4}}", "spec.algorithm.leastRequest"),
        ("algorithm: {type: Fastest}", "spec.algorithm.type"),
        ("algoritm: {type: Random}", "algoritm"),
        ("timeouts: {connect: 2h}", "spec.timeouts.connect"),
    ];
    for (spec, field) in cases {
        let refusal = shop.pool("refused", spec).await;
        let message = refusal.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(message.contains(field), "{spec}: the refusal does not name {field}: {message:?}");
        ensure!(shop.status("refused").await.is_err(), "{spec}: it is stored");
    }
    let long = "x".repeat(61);
    let refusal = shop.pool(&long, "algorithm: {type: Random}").await;
    let message = refusal.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(message.contains("metadata.name"), "a name of 61 characters: {message:?}");
    Ok(())
}

async fn one_hostname_twice(shop: &Shop) -> anyhow::Result<()> {
    let listeners = format!("[{{name: web, port: 80, protocol: HTTP, hostnames: [{HOST}]}}]");
    let timeouts = |ms: u32| format!("timeouts: {{connect: {ms}ms}}");
    shop.pool_of("older", APP, &listeners, &timeouts(900)).await?;
    shop.ready("older").await?;
    // Creation has a resolution of a second: the younger one is really younger.
    let older = created(shop, "older").await?;
    wait::until("the next second", Duration::from_secs(5), || async {
        ensure!(now(shop).await? > older, "not yet");
        Ok(())
    })
    .await?;
    shop.pool_of("younger", "absent", &listeners, &timeouts(900)).await?;
    shop.says("younger", "Accepted=True,Accepted").await?;
    listener_says(shop, "younger", "False", reason::CONFLICTED).await?;
    listener_says(shop, "older", "True", reason::ACCEPTED).await?;
    by_host(shop, 200, "").await.context("by the older one")?;

    shop.delete_pool("older").await?;
    listener_says(shop, "younger", "True", reason::ACCEPTED).await?;
    // It has no endpoint, which tells it from the older one.
    by_host(shop, 503, "no_endpoint").await.context("by the younger one")?;
    shop.delete_pool("younger").await?;
    by_host(shop, 404, "unknown_host").await.context("by nobody")
}

async fn created(shop: &Shop, pool: &str) -> anyhow::Result<String> {
    let args = format!("-n {} get bp {pool} -o jsonpath={{.metadata.creationTimestamp}}", shop.namespace);
    shop.cluster.kubectl(&args).await
}

/// The API server's clock, as it would stamp a new object.
async fn now(shop: &Shop) -> anyhow::Result<String> {
    let manifest = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"clock-"}}"#;
    let args = format!(
        "-n {} create -f - --dry-run=server -o jsonpath={{.metadata.creationTimestamp}}",
        shop.namespace
    );
    shop.cluster.kubectl_with(&args, manifest).await
}

async fn listener_says(shop: &Shop, pool: &str, status: &str, reason: &str) -> anyhow::Result<()> {
    wait::until(&format!("{pool}'s listener to say {reason}"), Duration::from_secs(30), || async {
        let (_, found) = shop.status(pool).await?;
        let listener = found.listeners.first().context("no listener")?;
        let accepted = listener.conditions.iter().find(|one| one.type_ == condition::ACCEPTED);
        let accepted = accepted.context("no condition")?;
        ensure!(
            accepted.status == status && accepted.reason == reason,
            "{} {}",
            accepted.status,
            accepted.reason
        );
        Ok(())
    })
    .await
}

/// Waits until every proxy answers so for the host name on the shared port.
async fn by_host(shop: &Shop, status: u16, reason: &str) -> anyhow::Result<()> {
    for proxy in shop.cluster.pods_of("proxy").await? {
        let at = SocketAddr::new(address(&proxy)?, SHARED_PORT);
        wait::until(&format!("{status}"), Duration::from_secs(20), || async {
            let answer = fetch::page(at, HOST, "/").await?;
            let found = header(answer.headers(), "x-evenkeel-reason");
            ensure!(answer.status() == status && found == reason, "{} {found}", answer.status());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A Service that is not ours stays as it is, and the pool says so; once it goes, ours comes.
async fn services_of_others(shop: &Shop) -> anyhow::Result<()> {
    for (pool, namespace, name) in [
        ("taken", SYSTEM, format!("pool-{}-taken", shop.namespace)),
        ("named", shop.namespace.as_str(), "named-lb".to_owned()),
    ] {
        let manifest = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{selector: {{not: ours}}, ports: [{{name: theirs, port: 81}}]}}\n"
        );
        shop.cluster.apply(&manifest).await?;
        let services = shop.cluster.services(namespace);
        let before = services.get(&name).await?;
        shop.pool(pool, "algorithm: {type: Random}").await?;
        shop.says(pool, "Programmed=False,ServiceConflict").await?;
        let after = services.get(&name).await?;
        ensure!(
            after.resource_version() == before.resource_version(),
            "{namespace}/{name} was changed: {after:?}"
        );
        services.delete(&name, &DeleteParams::default()).await?;
        shop.ready(pool).await.with_context(|| format!("after {namespace}/{name} went"))?;
        shop.delete_pool(pool).await?;
    }
    Ok(())
}
