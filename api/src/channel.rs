//! What the controller and the proxies say to each other: JSON over HTTP, written down in `openapi.yaml`.
//!
//! A snapshot is the whole state of a class, a map from pool UID to [`PoolDocument`]; a change is a JSON Merge Patch
//! (RFC 7396) of that map. Both sides hash what was *sent*, so that a pool which a proxy rejects does not look like a
//! lost push.

mod canonical;
mod document;
mod merge;
mod report;

pub use canonical::{Digest, PoolText, snapshot_hash};
pub use document::{
    BackendDocument, EndpointDocument, ListenerDocument, PoolDocument, SnapshotDocument, SnapshotPatch,
};
pub use merge::{merge, merge_patch};
pub use report::{
    Acknowledgement, AutoReport, EjectionReport, EndpointReport, ErrorCode, ErrorReport, Health,
    HealthChange, HealthState, PoolReport, PoolsReport, Quantiles, ReceivedSnapshot, RecentReport, Rejection,
    SessionsReport, UsageReport,
};

/// UID of a pool: what its state at a proxy is kept under. With files in place of Kubernetes see [`file_pool_uid`].
pub type PoolUid = String;

/// Path of the snapshot: GET, PUT, PATCH.
pub const SNAPSHOT_PATH: &str = "/v1/snapshot";
/// Path of the report on pools: GET.
pub const POOLS_PATH: &str = "/v1/pools";
/// Largest body of a PUT or PATCH, in bytes; a larger one is answered 413.
pub const MAX_SNAPSHOT_BYTES: usize = 64 << 20;
/// Media type of a PATCH.
pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// The UID of a pool that comes from a file: UUIDv5 of `namespace/name`.
#[must_use]
pub fn file_pool_uid(namespace: &str, name: &str) -> PoolUid {
    let space = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, b"pools.evenkeel.dev");
    uuid::Uuid::new_v5(&space, format!("{namespace}/{name}").as_bytes()).to_string()
}
