//! What would become of a request: which endpoint it would get, with which scores, and why each of the others was
//! passed over. Nothing is sent and nothing is counted, though Prequal is brought the reports that such a request would
//! bring it. Where chance or a turn decides, it is what the next such request may get.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use evenkeel_balance::{self as balance, Absence, Algorithm, Balancer, Fallback, Fate};
use http::{Method, Request, request};
use serde::{Deserialize, Serialize};

use crate::{
    proxy::Proxy,
    request::{Wish, error::RequestError, headers::Host, sampling},
    respond,
    snapshot::{Bounds, Pool, PoolEndpoint},
};

/// A request that might come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub name: String,
    /// Method.
    pub method: Method,
    /// Path, and query if any.
    pub path: String,
    /// Host.
    pub host: String,
    /// Address that connects to the proxy.
    pub client: IpAddr,
    /// Other fields.
    pub headers: Vec<(String, String)>,
    /// The algorithm that it names; stands for `x-evenkeel-algorithm`.
    pub algorithm: Option<String>,
}

/// What would become of it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace and name of the pool.
    pub pool: String,
    /// Generation of the pool that is in use.
    pub generation: i64,
    /// The algorithm that decides.
    pub algorithm: String,
    /// The key that is hashed, if the algorithm is by key and the request has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Identity of the endpoint that has the request's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Identity of the endpoint that would get it at once; absent if none would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<String>,
    /// What becomes of it where no endpoint is picked, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// Simpler ways that were taken because something was missing, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// Keys of the backends that are in a panic: fewer of their endpoints are well than `healthCheck.panicThreshold`
    /// asks for, and all get requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub panicking: Vec<String>,
    /// All endpoints, those in rotation first.
    pub candidates: Vec<Candidate>,
}

/// An endpoint that might have got the request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Identity.
    pub id: String,
    /// Address and port.
    pub address: String,
    /// Name of the pod, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Key of its backend.
    pub backend: String,
    /// Weight as configured.
    pub weight: u32,
    /// Weight with all that adapts it; 0 out of rotation.
    pub effective_weight: f64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Smoothed response time in milliseconds, as far as it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_time_ms: Option<f64>,
    /// What the algorithm compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// What became of it, as a word.
    pub fate: String,
    /// The same as a sentence.
    pub why: String,
}

/// What an algorithm compared: the lowest takes the request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// `Cost`; of Prequal `Cold` (the latency in milliseconds), which goes before `Hot` (requests in flight); `Full` by
    /// bounded load (requests in flight).
    pub kind: String,
    /// The figure.
    pub value: f64,
    /// How much it may be at most, if it is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// No such pool.
    #[error("this proxy has no pool {0}")]
    NoPool(String),
    /// No request could be like that.
    #[error("{0}")]
    NoRequest(String),
    /// Such a request would be refused.
    #[error("such a request is refused: {reason}: {message}")]
    Refused {
        /// The word in `x-evenkeel-reason`.
        reason: &'static str,
        /// In words.
        message: String,
    },
}

impl From<RequestError> for ExplainError {
    fn from(error: RequestError) -> Self {
        Self::Refused { reason: respond::reason(&error), message: error.to_string() }
    }
}

impl Question {
    /// Reads the query of a URL: `pool=NAMESPACE/NAME`, and as wanted `method`, `path`, `host`, `client`, `algo`, and
    /// any number of `header=NAME:VALUE`.
    ///
    /// # Errors
    /// If no request could be like that.
    pub fn parse(query: &str) -> Result<Self, ExplainError> {
        let wrong = |what: String| ExplainError::NoRequest(what);
        let mut pool = None;
        let mut question = Self {
            namespace: String::new(),
            name: String::new(),
            method: Method::GET,
            path: "/".to_owned(),
            host: "localhost".to_owned(),
            client: IpAddr::from([127, 0, 0, 1]),
            headers: Vec::new(),
            algorithm: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "pool" => pool = Some(value),
                "method" => {
                    let method = value.parse().ok();
                    question.method = method.ok_or_else(|| wrong(format!("{value:?} is no method")))?;
                }
                "path" => question.path = value,
                "host" => question.host = value,
                "client" => {
                    let client = value.parse().ok();
                    question.client = client.ok_or_else(|| wrong(format!("{value:?} is no IP address")))?;
                }
                "header" => {
                    let header = value
                        .split_once(':')
                        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
                    question
                        .headers
                        .push(header.ok_or_else(|| wrong(format!("{value:?} is not NAME:VALUE")))?);
                }
                "algo" => question.algorithm = Some(value),
                other => {
                    return Err(wrong(format!(
                        "{other:?} is unknown; there are pool, method, path, host, client, header and algo"
                    )));
                }
            }
        }
        let pool = pool.as_deref().and_then(|pool| pool.split_once('/'));
        let (namespace, name) = pool.ok_or_else(|| wrong("name a pool: pool=NAMESPACE/NAME".to_owned()))?;
        (question.namespace, question.name) = (namespace.to_owned(), name.to_owned());
        Ok(question)
    }

    /// The same as a query of a URL.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("pool", &format!("{}/{}", self.namespace, self.name));
        query.append_pair("method", self.method.as_str()).append_pair("path", &self.path);
        query.append_pair("host", &self.host).append_pair("client", &self.client.to_string());
        for (name, value) in &self.headers {
            query.append_pair("header", &format!("{name}:{value}"));
        }
        if let Some(algorithm) = &self.algorithm {
            query.append_pair("algo", algorithm);
        }
        query.finish()
    }

    fn head(&self) -> Result<request::Parts, ExplainError> {
        let mut request =
            Request::builder().method(self.method.clone()).uri(&self.path).header("host", &self.host);
        let algorithm = self.algorithm.as_ref().map(|name| ("x-evenkeel-algorithm", name.as_str()));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in headers.chain(algorithm) {
            request = request.header(name, value);
        }
        match request.body(()) {
            Ok(request) => Ok(request.into_parts().0),
            Err(error) => Err(ExplainError::NoRequest(format!("no request could be like that: {error}"))),
        }
    }
}

/// What would become of a request. O(n).
///
/// # Errors
/// If there is no such pool, or the request would be refused.
pub fn explain(proxy: &Proxy, question: &Question) -> Result<Explanation, ExplainError> {
    let snapshot = proxy.shared().snapshot.load();
    let is_it = |pool: &&Arc<Pool>| {
        pool.document.namespace == question.namespace && pool.document.name == question.name
    };
    let name = format!("{}/{}", question.namespace, question.name);
    let pool = snapshot.pools.values().find(is_it).ok_or_else(|| ExplainError::NoPool(name.clone()))?;
    let mut head = question.head()?;
    let host = Host::of(&head.uri, head.version, &head.headers)?;
    let wish = Wish::of(pool, &mut head, &host, question.client)?;
    let balancer = &pool.choice(wish.algorithm).balancer;
    sampling::bring_reports(pool, 0);
    let explained = balancer.explain(&wish.query(pool, &[], 0), &mut rand::rng());
    // Nobody goes before those that wait.
    let waits = pool.queue.waiting() > 0;
    let picked = explained.picked.filter(|_| !waits);
    let otherwise = picked.is_none().then(|| otherwise(pool, balancer));
    let known: HashMap<_, _> =
        pool.endpoints.iter().map(|endpoint| (endpoint.id.as_str(), endpoint)).collect();
    let key = wish.key.as_ref().filter(|_| matches!(explained.algorithm, Algorithm::ConsistentHash(_)));
    Ok(Explanation {
        pool: name,
        generation: pool.document.generation,
        algorithm: explained.algorithm.name().to_owned(),
        key: key.map(|key| String::from_utf8_lossy(key).into_owned()),
        session: wish.session.endpoint().map(|id| id.as_str().to_owned()),
        picked: picked.and_then(|index| id(balancer, index)),
        otherwise,
        fallbacks: explained.fallbacks.into_iter().map(|why| fallback(why).to_owned()).collect(),
        panicking: explained.panicking,
        candidates: explained
            .candidates
            .iter()
            .map(|of| candidate(known.get(of.id.as_str()).copied(), of, waits))
            .collect(),
    })
}

/// As a request finds it that no endpoint takes.
fn otherwise(pool: &Pool, balancer: &Balancer) -> String {
    let refused = |error: RequestError| format!("503 {}: {error}", respond::reason(&error));
    match pool.bounds.filter(|_| balancer.has_untried(&[])) {
        None => refused(RequestError::NoEndpoint),
        Some(Bounds { queue: None, .. }) => refused(RequestError::EndpointsFull),
        Some(Bounds { queue: Some(rules), .. }) => match pool.queue.waiting() {
            waiting if waiting >= rules.size => refused(RequestError::QueueFull { size: rules.size }),
            waiting => format!("it waits for one, for {:?} at most, beside {waiting} others", rules.timeout),
        },
    }
}

fn id(balancer: &Balancer, index: usize) -> Option<String> {
    Some(balancer.endpoint(index)?.id.as_str().to_owned())
}

fn candidate(known: Option<&PoolEndpoint>, of: &balance::Candidate, waits: bool) -> Candidate {
    let (fate, why) = match of.fate {
        Fate::Picked | Fate::PickedForSession if waits => {
            ("Awaited", "its turn, once those that wait are served")
        }
        other => fate(other),
    };
    Candidate {
        id: of.id.as_str().to_owned(),
        address: known.map(|known| known.address.to_string()).unwrap_or_default(),
        pod: known.and_then(|known| known.pod.clone()),
        backend: of.backend.clone(),
        weight: of.weight,
        effective_weight: of.effective_weight,
        in_flight: of.in_flight,
        response_time_ms: of.response_time_nanos.map(|nanos| nanos / 1e6),
        score: of.score.map(score),
        fate: fate.to_owned(),
        why: why.to_owned(),
    }
}

fn score(score: balance::Score) -> Score {
    let of = |kind: &str, value, limit| Score { kind: kind.to_owned(), value, limit };
    match score {
        balance::Score::Cost(cost) => of("Cost", cost, None),
        balance::Score::Cold(nanos) => of("Cold", nanos / 1e6, None),
        balance::Score::Hot(in_flight) => of("Hot", in_flight, None),
        balance::Score::Full(in_flight, room) => of("Full", in_flight as f64, Some(room as f64)),
    }
}

const fn fate(fate: Fate) -> (&'static str, &'static str) {
    match fate {
        Fate::Picked => ("Picked", "the algorithm's choice"),
        Fate::PickedForSession => ("PickedForSession", "the session is here"),
        Fate::ScoredWorse => ("ScoredWorse", "another one scored better"),
        Fate::Full => ("Full", "it has as many requests in flight as it may"),
        Fate::NotItsTurn => ("NotItsTurn", "it was not drawn, it was not its turn, or the key is another's"),
        Fate::OtherSet => ("OtherSet", "it was the turn of another backend, or of a nearer place"),
        Fate::Tried => ("Tried", "the request has been there before"),
        Fate::OnTrial => ("OnTrial", "one request is on trial there after an ejection"),
        Fate::Absent(Absence::Unhealthy) => ("Unhealthy", "checks say that it does not work"),
        Fate::Absent(Absence::Ejected) => ("Ejected", "it answered requests badly"),
        Fate::Absent(Absence::Draining) => ("Draining", "its weight, or its backend's, is 0"),
        Fate::Absent(Absence::Terminating) => ("Terminating", "it terminates, and others do not"),
    }
}

const fn fallback(why: Fallback) -> &'static str {
    match why {
        Fallback::NoKey => "the request has no key: a draw by weight",
        Fallback::FewAnswers => "fewer than two samples: a draw by weight",
        Fallback::AllDrawnExcluded => "all that were drawn were excluded: another draw, or the next after it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written() {
        let query = "pool=shop/checkout&path=/cart%3Fa=1%26b=2&header=x-user:ann&header=Cookie:+a=b&algo=Random&client=192.0.2.1";
        let question = Question::parse(query).unwrap();
        assert_eq!((question.namespace.as_str(), question.name.as_str()), ("shop", "checkout"));
        assert_eq!(question.path, "/cart?a=1&b=2");
        assert_eq!(question.headers[1], ("Cookie".to_owned(), "a=b".to_owned()));
        assert_eq!(Question::parse(&question.to_query()).unwrap(), question);
        assert_eq!(question.head().unwrap().headers["x-evenkeel-algorithm"], "Random");
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (query, expect) in [
            ("", "name a pool"),
            ("pool=checkout", "name a pool"),
            ("pool=a/b&client=here", "\"here\" is no IP address"),
            ("pool=a/b&header=x", "\"x\" is not NAME:VALUE"),
            ("pool=a/b&user=x", "\"user\" is unknown"),
        ] {
            let told = Question::parse(query).unwrap_err().to_string();
            assert!(told.starts_with(expect), "{query}: {told}");
        }
        let bad = Question::parse("pool=a/b&path=no path").unwrap();
        assert!(bad.head().unwrap_err().to_string().starts_with("no request could be"));
    }
}
