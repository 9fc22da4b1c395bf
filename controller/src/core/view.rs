//! The controller's state as rows to show.

use std::time::Instant;

use evenkeel_api::channel::{PoolDocument, PoolReport};

use super::{Core, pools::PoolState};
use crate::{
    event::ObjectName,
    fleet::Member,
    view::{EndpointRow, PoolRow, ProxyRow, View},
};

impl Core {
    /// Everything that is shown. O(endpoints x proxies).
    #[must_use]
    pub fn view(&self, now: Instant) -> View {
        let mut endpoints = Vec::new();
        for (name, state) in &self.pools {
            if let Some(document) = &state.document {
                self.endpoint_rows(name, state, document, now, &mut endpoints);
            }
        }
        let mut proxies: Vec<_> = self.fleet.members().map(|member| self.proxy_row(member, now)).collect();
        proxies.sort_by(|a, b| (&a.class, &a.name).cmp(&(&b.class, &b.name)));
        View {
            pools: self.pools.iter().map(|(name, state)| self.pool_row(name, state)).collect(),
            endpoints,
            proxies,
            problems: Vec::new(),
        }
    }

    fn pool_row(&self, name: &ObjectName, state: &PoolState) -> PoolRow {
        let spec = state.good.as_ref().map(|good| &good.spec);
        let listeners = spec.into_iter().flat_map(|spec| &spec.listeners);
        PoolRow {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            class: self.class_of(name, state),
            algorithm: spec.map(|spec| spec.algorithm.type_.as_str().to_owned()),
            service_type: spec.map(|spec| spec.service.type_),
            listeners: listeners.map(|listener| format!("{}:{}", listener.name, listener.port)).collect(),
            status: state.status.clone().unwrap_or_default(),
            requests: self.reports(&state.uid).map(|(_, report)| report.requests).sum(),
            retries: self.reports(&state.uid).map(|(_, report)| report.retries).sum(),
        }
    }

    /// What live proxies report of a pool.
    fn reports<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = (&'a Member, &'a PoolReport)> {
        let live = self.fleet.members().filter(|member| member.proxy.is_live());
        live.filter_map(|member| Some((member, member.report.as_ref()?.pools.get(pool)?)))
    }

    fn endpoint_rows(
        &self,
        name: &ObjectName,
        state: &PoolState,
        document: &PoolDocument,
        now: Instant,
        rows: &mut Vec<EndpointRow>,
    ) {
        let live = self.class_of(name, state).map_or(0, |class| self.fleet.live(&class).count());
        for (backend, of) in &document.backends {
            for (id, endpoint) in &of.endpoints {
                let mut row = EndpointRow {
                    namespace: name.namespace.clone(),
                    pool: name.name.clone(),
                    backend: backend.clone(),
                    id: id.clone(),
                    address: endpoint.address.to_string(),
                    pod: endpoint.pod.clone(),
                    weight: endpoint.weight,
                    effective_weight: None,
                    draining: endpoint.terminating || endpoint.weight == 0 || of.weight == 0,
                    healthy_on: 0,
                    proxies: u32::try_from(live).unwrap_or(u32::MAX),
                    unhealthy_reasons: Default::default(),
                    in_flight: 0,
                    requests: 0,
                    failures: 0,
                    recent: None,
                    history: Default::default(),
                };
                let mut weights = (0.0, 0.0);
                for (member, report) in self.reports(&state.uid) {
                    let Some(report) = report.endpoints.get(id) else { continue };
                    row.healthy_on += u32::from(member.holds_healthy(&state.uid, id, now));
                    row.in_flight += report.in_flight;
                    row.requests += report.requests;
                    row.failures += report.failures;
                    weights = (weights.0 + report.effective_weight, weights.1 + 1.0);
                    if let Some(recent) = &report.recent {
                        row.recent.get_or_insert_default().add(recent);
                    }
                    if !report.history.is_empty() {
                        row.history.insert(member.proxy.name.clone(), report.history.clone());
                    }
                    if let Some(reason) = report.why_not() {
                        row.unhealthy_reasons.insert(member.proxy.name.clone(), reason);
                    }
                }
                row.effective_weight = (weights.1 > 0.0).then(|| weights.0 / weights.1);
                rows.push(row);
            }
        }
    }

    fn proxy_row(&self, member: &Member, now: Instant) -> ProxyRow {
        let newest = self.classes.get(&member.proxy.class).and_then(super::ClassState::version);
        ProxyRow {
            name: member.proxy.name.clone(),
            class: member.proxy.class.clone(),
            address: member.proxy.address.to_string(),
            node: member.proxy.node.clone(),
            live: member.proxy.is_live(),
            revision: member.version().map(|(epoch, revision)| format!("{epoch}.{revision}")),
            in_sync: newest.is_some() && member.version() == newest,
            heard_seconds_ago: member.answered.then(|| now.duration_since(member.heard).as_secs()),
            rejected: member.rejected_count(),
            failure: member.failure.clone(),
        }
    }
}
