//! The plain, read-only port: probes, metrics, and what `evenkeel get` and the dashboard read. Nothing here changes
//! anything, and nothing secret is behind it.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::proto::MetricFamily;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    metrics::Metrics,
    view::{EndpointRow, PoolRow, ProxyRow, View},
};

/// How long the core may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the core is asked, with where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// Whether it answers.
    Alive(oneshot::Sender<()>),
    /// What is to be shown. O(endpoints x proxies).
    View(oneshot::Sender<View>),
}

/// The core's end of the questions.
pub type Questions = mpsc::Receiver<Question>;

/// Figures of somebody else.
pub type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// What the port shows.
#[derive(Clone)]
pub struct Admin {
    /// Figures.
    pub metrics: Metrics,
    /// Whether every watch has had its first full list.
    pub synced: watch::Receiver<bool>,
    /// Where the lists come from.
    pub questions: mpsc::Sender<Question>,
    /// Figures of others in this process, shown with ours.
    pub others: Option<Gather>,
}

/// A list, as it is served.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct List<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// What is wrong with files, beside pools, where files are the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Which of a list's items are wanted; all that are given must fit.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    namespace: Option<String>,
    pool: Option<String>,
    class: Option<String>,
}

impl Filter {
    fn takes_pool(&self, namespace: &str, pool: &str) -> bool {
        fits(self.namespace.as_ref(), namespace) && fits(self.pool.as_ref(), pool)
    }
}

fn fits(wanted: Option<&String>, value: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

impl Admin {
    /// The paths.
    pub fn router(self) -> Router {
        Router::new()
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/v1/pools", get(pools))
            .route("/api/v1/endpoints", get(endpoints))
            .route("/api/v1/proxies", get(proxies))
            .with_state(self)
    }

    /// Serves until `stop` completes, then answers what is open.
    ///
    /// # Errors
    /// None at present: an accept that fails is tried again.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }

    async fn ask<T>(&self, question: fn(oneshot::Sender<T>) -> Question) -> Result<T, Response> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.questions.send(question(answer)).await.ok()?;
            answered.await.ok()
        };
        let stuck = || (StatusCode::SERVICE_UNAVAILABLE, "the controller does not answer\n").into_response();
        timeout(PATIENCE, asked).await.ok().flatten().ok_or_else(stuck)
    }
}

/// Alive as long as the core answers.
async fn live(State(admin): State<Admin>) -> Response {
    admin.ask(Question::Alive).await.map_or_else(|stuck| stuck, |()| "ok\n".into_response())
}

async fn ready(State(admin): State<Admin>) -> Response {
    if *admin.synced.borrow() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first full lists of the watches\n").into_response()
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let others = admin.others.as_ref().map(|gather| gather()).unwrap_or_default();
    match admin.metrics.encode(others) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

type Listed<T> = Result<Json<List<T>>, Response>;

async fn pools(State(admin): State<Admin>, Query(filter): Query<Filter>) -> Listed<PoolRow> {
    let view = admin.ask(Question::View).await?;
    let is_wanted = |pool: &PoolRow| {
        let class = pool.class.as_deref().unwrap_or_default();
        filter.takes_pool(&pool.namespace, &pool.name) && fits(filter.class.as_ref(), class)
    };
    let items = view.pools.into_iter().filter(is_wanted).collect();
    Ok(Json(List { items, problems: view.problems }))
}

async fn endpoints(State(admin): State<Admin>, Query(filter): Query<Filter>) -> Listed<EndpointRow> {
    let view = admin.ask(Question::View).await?;
    let is_wanted = |endpoint: &EndpointRow| filter.takes_pool(&endpoint.namespace, &endpoint.pool);
    Ok(Json(List { items: view.endpoints.into_iter().filter(is_wanted).collect(), problems: Vec::new() }))
}

async fn proxies(State(admin): State<Admin>, Query(filter): Query<Filter>) -> Listed<ProxyRow> {
    let view = admin.ask(Question::View).await?;
    let is_wanted = |proxy: &ProxyRow| fits(filter.class.as_ref(), &proxy.class);
    Ok(Json(List { items: view.proxies.into_iter().filter(is_wanted).collect(), problems: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt;

    use super::*;

    fn proxy(class: &str) -> ProxyRow {
        ProxyRow {
            name: format!("proxy-{class}"),
            class: class.to_owned(),
            address: "10.0.0.1:9443".to_owned(),
            node: None,
            live: true,
            revision: Some("1.7".to_owned()),
            in_sync: true,
            heard_seconds_ago: Some(0),
            rejected: 0,
            failure: None,
        }
    }

    struct Fixture {
        synced: watch::Sender<bool>,
        router: Router,
    }

    fn fixture() -> Fixture {
        let (synced, synced_receiver) = watch::channel(false);
        let view = View {
            proxies: vec![proxy("default"), proxy("edge")],
            problems: vec!["a.yaml:1: no".to_owned()],
            ..View::default()
        };
        let (questions, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                match question {
                    Question::Alive(answer) => _ = answer.send(()),
                    Question::View(answer) => _ = answer.send(view.clone()),
                }
            }
        });
        let admin =
            Admin { metrics: Metrics::new().unwrap(), synced: synced_receiver, questions, others: None };
        Fixture { synced, router: admin.router() }
    }

    impl Fixture {
        async fn check(&self, path: &str, status: u16, contains: &str) {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = self.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains(contains), "{path}: {body:?} does not contain {contains:?}");
        }
    }

    #[tokio::test]
    async fn is_ready_once_synced() {
        let fixture = fixture();
        fixture.check("/livez", 200, "ok").await;
        fixture.check("/readyz", 503, "waiting for").await;
        fixture.synced.send(true).unwrap();
        fixture.check("/readyz", 200, "ok").await;
    }

    #[tokio::test]
    async fn shows_what_the_view_has() {
        let fixture = fixture();
        fixture.check("/metrics", 200, "evenkeel_controller_build_info").await;
        fixture.check("/api/v1/pools", 200, r#"{"items":[],"problems":["a.yaml:1: no"]}"#).await;
        fixture.check("/api/v1/endpoints?namespace=a&pool=b", 200, r#"{"items":[]}"#).await;
        fixture.check("/api/v1/proxies?class=edge", 200, r#"{"items":[{"name":"proxy-edge""#).await;
        fixture.check("/api/v1/secrets", 404, "").await;
    }
}
