//! Labels, annotations and names that Evenkeel reads or writes on Kubernetes objects.

/// The API group of every object of ours.
pub const GROUP: &str = "evenkeel.dev";
/// UID of the pool that a Service or a Secret was made for.
pub const POOL_UID: &str = "evenkeel.dev/pool-uid";
/// Name of the pool that a Service was made for.
pub const POOL: &str = "evenkeel.dev/pool";
/// Namespace of the pool that a Service was made for.
pub const POOL_NAMESPACE: &str = "evenkeel.dev/pool-namespace";
/// Fingerprint of what a pool said of its Service when that was last written: what is given up has to be taken back.
pub const APPLIED: &str = "evenkeel.dev/applied";
/// The fleet that a proxy pod belongs to.
pub const PROXY_CLASS: &str = "evenkeel.dev/proxy-class";
/// Weight of a pod among the endpoints of its backend, 0 to 1,000; 0 drains.
pub const WEIGHT: &str = "evenkeel.dev/weight";
/// Who made an object (Kubernetes' recommended label).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What the name of the headless Service of a class's proxies starts with.
pub const PROXIES_PREFIX: &str = "evenkeel-proxies-";
/// Field manager, name of the Lease and of the controllers' Service, and the value of [`MANAGED_BY`] on what we make.
pub const CONTROLLER: &str = "evenkeel-controller";
/// The Service that a slice belongs to (Kubernetes').
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Zone that a node is in (Kubernetes').
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Region that a node is in (Kubernetes').
pub const REGION: &str = "topology.kubernetes.io/region";
