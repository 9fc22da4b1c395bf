//! Which Services and aliases pools lack, which are left of pools that are gone, and what keeps them from being as they
//! should be.

use std::collections::BTreeMap;

use evenkeel_api::object::{Address, ServiceType, reason};

use super::{Core, pools::PoolState};
use crate::{
    compile::Mode,
    effect::Effect,
    event::{ObjectName, Service},
    problem::{Problem, Subject},
    services,
};

impl Core {
    /// What the pools' Services lack. A pool's status says that it waits for that.
    pub(super) fn services(&mut self, namespace: &str, effects: &mut Vec<Effect>) {
        let work: Vec<_> =
            self.pools.iter().map(|(pool, state)| self.service_work(pool, state, namespace)).collect();
        for (state, work) in self.pools.values_mut().zip(work) {
            state.service_pending = !work.is_empty();
            for (name, effect) in work {
                self.issued.service(&name, effect, effects);
            }
        }
    }

    /// What has to be done to the Services of a pool. Those of others are not touched.
    fn service_work(
        &self,
        pool: &ObjectName,
        state: &PoolState,
        namespace: &str,
    ) -> Vec<(ObjectName, Effect)> {
        let Some(good) = &state.good else { return Vec::new() };
        let published = self.published_ports(pool, state);
        let bound = self.bound_ports(state);
        let ports: BTreeMap<_, _> = bound
            .into_iter()
            .filter(|(name, (port, everywhere))| *everywhere || published.get(name) == Some(port))
            .map(|(name, (port, _))| (name, port))
            .collect();
        if ports.is_empty() {
            return Vec::new();
        }
        let mut work = Vec::new();
        let foreign = |service: &Service| services::made_for(service) != Some(&state.uid);
        let desired = services::desired(pool, &state.uid, &good.spec, namespace, &ports);
        let name = desired.name.clone();
        let right = |service: &Service| foreign(service) || services::is_as_desired(service, &desired);
        if !self.index.services().get(&name).is_some_and(right) {
            work.push((name.clone(), Effect::Service(Box::new(desired))));
        }
        let alias = services::alias_name(pool);
        let target = self.dns_name(&name);
        let right = |service: &Service| foreign(service) || service.external_name.as_ref() == Some(&target);
        if !self.index.services().get(&alias).is_some_and(right) {
            let effect = services::alias(pool, &state.uid, &good.spec.proxy_class, target.clone());
            work.push((alias, effect));
        }
        work
    }

    /// Ports of the pool's Service as it is; none while it leads to the proxies of another class.
    pub(super) fn published_ports(&self, pool: &ObjectName, state: &PoolState) -> BTreeMap<String, u16> {
        let Some(service) = self.pool_service(pool) else { return BTreeMap::new() };
        if services::made_for(service) != Some(&state.uid) || services::class_of(service) != state.class() {
            return BTreeMap::new();
        }
        service.ports.iter().filter_map(|port| Some((port.name.clone(), port.target_port?))).collect()
    }

    fn pool_service(&self, pool: &ObjectName) -> Option<&Service> {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return None };
        self.index.services().get(&ObjectName::new(&**namespace, services::service_name(pool)))
    }

    /// Ports of the pool's listeners, and whether every live proxy (and at least one) has bound them.
    pub(super) fn bound_ports(&self, state: &PoolState) -> BTreeMap<String, (u16, bool)> {
        let (Some(good), Some(document)) = (&state.good, &state.document) else { return BTreeMap::new() };
        let class = &good.spec.proxy_class;
        let mut live = self.fleet.live(class).peekable();
        let bound = live.peek().is_some() && live.all(|member| member.uses(&state.uid, document.generation));
        let wanted = good.spec.listeners.iter().filter_map(|listener| {
            let port = document.listeners.get(&listener.name)?.port;
            Some((listener.name.clone(), (port, bound)))
        });
        wanted.collect()
    }

    fn dns_name(&self, service: &ObjectName) -> String {
        let domain = match &self.mode {
            Mode::Kubernetes { cluster_domain, .. } => cluster_domain.as_str(),
            Mode::Files(_) => "local",
        };
        format!("{}.{}.svc.{domain}", service.name, service.namespace)
    }

    /// Deletes what was made for pools that are gone, or for whom it has another name or place now.
    pub(super) fn sweep(&mut self, effects: &mut Vec<Effect>) {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return };
        let wanted = |pool: &ObjectName, name: &ObjectName| {
            *name == services::alias_name(pool)
                || *name == ObjectName::new(&**namespace, services::service_name(pool))
        };
        let by_uid: BTreeMap<&str, (&ObjectName, bool)> = self
            .pools
            .iter()
            .map(|(name, state)| {
                (state.uid.as_str(), (name, state.good.is_some() || state.document.is_some()))
            })
            .collect();
        for (name, service) in self.index.services() {
            let Some(uid) = services::made_for(service) else { continue };
            let keep = by_uid.get(uid).is_some_and(|(pool, serves)| *serves && wanted(pool, name));
            if !keep {
                let effect = Effect::DeleteService { name: name.clone(), uid: service.uid.clone() };
                self.issued.service(name, effect, effects);
            }
        }
    }

    /// What keeps the pool's Services from being as they should be.
    pub(super) fn service_problems(&self, pool: &ObjectName, state: &PoolState) -> Vec<Problem> {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return Vec::new() };
        let names = [ObjectName::new(&**namespace, services::service_name(pool)), services::alias_name(pool)];
        let problem = |name: &ObjectName| {
            let observed = self.index.services().get(name);
            if observed.is_some_and(|service| services::made_for(service) != Some(&state.uid)) {
                let message = format!("Service {name} exists and is not ours: delete or rename it");
                return Some(Problem::new(Subject::Programmed, reason::SERVICE_CONFLICT, message));
            }
            let refusal = self.refused.get(name)?;
            let message = format!("the API server refuses Service {name}: {refusal}");
            Some(Problem::new(Subject::Programmed, reason::SERVICE_REFUSED, message))
        };
        names.iter().filter_map(problem).collect()
    }

    pub(super) fn address(&self, pool: &ObjectName, state: &PoolState) -> (Option<Address>, bool) {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return (None, false) };
        let ours = self.pool_service(pool).filter(|service| services::made_for(service) == Some(&state.uid));
        let balanced = state.good.as_ref().is_some_and(|g| g.spec.service.type_ == ServiceType::LoadBalancer);
        let Some(service) = ours else { return (None, balanced) };
        let name = ObjectName::new(&**namespace, services::service_name(pool));
        let address = Address {
            service: self.dns_name(&name),
            alias: self.dns_name(&services::alias_name(pool)),
            external: service.ingress.clone(),
        };
        (Some(address), balanced && service.ingress.is_empty())
    }
}
