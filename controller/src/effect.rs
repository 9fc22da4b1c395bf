//! What the controller wants done to the world; carried out by `write`, and only as leader.

use std::collections::BTreeMap;

use evenkeel_api::object::{BalancerPoolStatus, ServiceTemplate};

use crate::{event::ObjectName, status::News};

/// A change to make. The writer retries one until it is done or a newer one of the same object replaces it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Apply the status of a pool (server-side apply of the status subresource).
    Status {
        /// The pool.
        pool: ObjectName,
        /// Its UID: a pool made anew under the name must not get it.
        uid: String,
        /// The whole status.
        status: Box<BalancerPoolStatus>,
        /// What is told as Events once it is written.
        news: Vec<News>,
    },
    /// Create or apply the Service through which a pool's clients come.
    Service(Box<DesiredService>),
    /// Create or apply the ExternalName Service in the pool's namespace.
    Alias {
        /// Where it lies.
        name: ObjectName,
        /// Labels, our mark among them.
        labels: BTreeMap<String, String>,
        /// The DNS name that it stands for.
        external_name: String,
    },
    /// Delete a Service that carries our mark.
    DeleteService {
        /// Where it lies.
        name: ObjectName,
        /// Its UID, as a precondition.
        uid: String,
    },
    /// Create the class `default`, unless there is one.
    DefaultClass,
}

/// A pool's Service as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredService {
    /// Where it lies: in the namespace of the proxies.
    pub name: ObjectName,
    /// Labels, our mark among them.
    pub labels: BTreeMap<String, String>,
    /// Selector of the proxies.
    pub selector: BTreeMap<String, String>,
    /// Listener name, port, and the port that the proxies bind.
    pub ports: Vec<(String, u16, u16)>,
    /// What the pool says of it.
    pub template: ServiceTemplate,
}
