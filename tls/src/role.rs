//! Roles, and the DNS names that carry them.

use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate makes of its holder. The names end in the install, so that installs that share a CA (as with
/// cert-manager) stay apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `controller.<install>.evenkeel.internal`: may write.
    Controller,
    /// `<class>.proxy.<install>.evenkeel.internal`: may read what its class is to carry.
    Proxy {
        /// The fleet.
        class: String,
    },
}

impl Role {
    /// The DNS name of this role in `install`.
    #[must_use]
    pub fn dns_name(&self, install: &str) -> String {
        match self {
            Self::Controller => format!("controller.{}", domain(install)),
            Self::Proxy { class } => format!("{class}.proxy.{}", domain(install)),
        }
    }

    pub(crate) fn server_name(&self, install: &str) -> Option<ServerName<'static>> {
        ServerName::try_from(self.dns_name(install)).ok()
    }

    fn parse(name: &str, install: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let role = name.strip_suffix(&domain(install))?.strip_suffix('.')?;
        if role == "controller" {
            return Some(Self::Controller);
        }
        let class = role.strip_suffix(".proxy")?;
        (!class.is_empty() && !class.contains('*')).then(|| Self::Proxy { class: class.to_owned() })
    }
}

/// What every name of an install ends in.
pub(crate) fn domain(install: &str) -> String {
    format!("{install}.evenkeel.internal")
}

/// The role that the first of `certificates` names in `install`; `None` if it names none, or two that differ.
///
/// Says nothing of who signed it: for certificates that a handshake has verified.
#[must_use]
pub fn peer_role(certificates: &[CertificateDer<'_>], install: &str) -> Option<Role> {
    let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut roles = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Role::parse(name, install),
        _ => None,
    });
    let role = roles.next()?;
    roles.all(|other| other == role).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expect: Option<&Role>) {
        assert_eq!(Role::parse(name, "evenkeel-system").as_ref(), expect, "{name}");
    }

    #[test]
    fn names_are_roles_of_one_install() {
        let proxy = |class: &str| Role::Proxy { class: class.to_owned() };
        check("controller.evenkeel-system.evenkeel.internal", Some(&Role::Controller));
        check("CONTROLLER.evenkeel-system.Evenkeel.internal", Some(&Role::Controller));
        check("default.proxy.evenkeel-system.evenkeel.internal", Some(&proxy("default")));
        check("controller.proxy.evenkeel-system.evenkeel.internal", Some(&proxy("controller")));
        check("a.b.proxy.evenkeel-system.evenkeel.internal", Some(&proxy("a.b")));
        check("controller.other.evenkeel.internal", None);
        check("controller.xevenkeel-system.evenkeel.internal", None);
        check("*.proxy.evenkeel-system.evenkeel.internal", None);
        check(".proxy.evenkeel-system.evenkeel.internal", None);
        check("proxy.evenkeel-system.evenkeel.internal", None);
        check("evenkeel-system.evenkeel.internal", None);
    }

    #[test]
    fn a_role_reads_its_own_name() {
        for role in [Role::Controller, Role::Proxy { class: "edge".to_owned() }] {
            assert_eq!(Role::parse(&role.dns_name("x"), "x").as_ref(), Some(&role));
        }
    }
}
