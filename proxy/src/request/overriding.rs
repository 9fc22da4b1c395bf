//! Another algorithm for one request, where its pool allows that.

use evenkeel_api::object::AlgorithmType;
use http::{HeaderName, request};

use super::{error::RequestError, key};
use crate::snapshot::Overrides;

const HEADER: HeaderName = HeaderName::from_static("x-evenkeel-algorithm");
const QUERY: &str = "algo";

/// The algorithm that a request names: by a header, which is taken out, or else in its query.
pub(crate) fn named(
    overrides: &Overrides,
    head: &mut request::Parts,
) -> Result<Option<AlgorithmType>, RequestError> {
    let header = head.headers.remove(&HEADER);
    let name = match &header {
        Some(value) => value.as_bytes(),
        None => match head.uri.query().and_then(|query| key::query(query, QUERY)) {
            Some(value) => value.as_bytes(),
            None => return Ok(None),
        },
    };
    let mut allowed = overrides.others.iter().map(|(of, _)| *of).chain([overrides.own]);
    let found = allowed.clone().find(|of| of.as_str().as_bytes().eq_ignore_ascii_case(name));
    found.map(Some).ok_or_else(|| {
        RequestError::AlgorithmNotAllowed(allowed.by_ref().map(AlgorithmType::as_str).collect())
    })
}
