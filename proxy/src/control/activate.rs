//! The seam to the data plane.

use std::{collections::BTreeMap, sync::Arc};

use evenkeel_api::channel::{PoolDocument, PoolReport, PoolUid, Rejection};

/// Where a state comes from, as the data plane sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a controller: its endpoints take requests at once.
    Controller,
    /// From disk: its endpoints take requests after they have passed a check.
    Disk,
}

/// What carries pools out.
pub trait Activate: Send + Sync + 'static {
    /// Makes `desired` the whole set of pools. Completes once the request path uses it. Answers which pools cannot be
    /// carried out; those keep the version that they had.
    fn activate(
        &self,
        desired: BTreeMap<PoolUid, Arc<PoolDocument>>,
        origin: Origin,
    ) -> impl Future<Output = BTreeMap<PoolUid, Vec<Rejection>>> + Send;

    /// What is known of the pools in use.
    fn report(&self) -> BTreeMap<PoolUid, PoolReport>;
}
