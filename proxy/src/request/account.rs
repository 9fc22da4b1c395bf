//! What is counted of a request.

use std::{sync::Arc, time::Instant};

use crate::{metrics::PoolMetrics, snapshot::Pool};

/// A request of a pool, from its head to the end of its response; its drop counts it, once.
#[derive(Debug)]
pub(crate) struct Account {
    pool: Arc<Pool>,
    started: Instant,
    code: Option<u16>,
}

impl Account {
    pub(crate) fn begin(pool: &Arc<Pool>, started: Instant) -> Self {
        pool.metrics.begin();
        Self { pool: Arc::clone(pool), started, code: None }
    }

    /// As of the snapshot that the request came with.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn metrics(&self) -> &PoolMetrics {
        &self.pool.metrics
    }

    /// The client gets a response with this status; without it, the request was cancelled.
    pub(crate) const fn answered(&mut self, code: u16) {
        self.code = Some(code);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.metrics.end(self.code, self.started.elapsed());
    }
}
