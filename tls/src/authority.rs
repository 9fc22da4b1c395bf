//! The own certificate authority: pure functions from a time to PEM. What keeps the PEM is elsewhere.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

use crate::{Files, Role, role::domain};

/// How long an authority lives.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long a certificate of a role lives.
pub const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Certificates are valid from this long before they are made: clocks of nodes differ.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// rcgen cannot make or read it.
    #[error("cannot make or read a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Not a certificate in PEM.
    #[error("not a certificate in PEM")]
    Unreadable,
}

/// An authority: its certificate and its key. It signs names of its install only, and says so (name constraints).
pub struct Authority {
    certificate: String,
    key: KeyPair,
}

impl Authority {
    /// A new authority of `install`.
    ///
    /// # Errors
    /// If `install` is no DNS label.
    pub fn generate(install: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Evenkeel authority of {install}"));
        (params.not_before, params.not_after) = span(now, AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain(install))],
            excluded_subtrees: Vec::new(),
        });
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key })
    }

    /// The authority of a certificate and a key, in PEM.
    ///
    /// # Errors
    /// If they are not in PEM.
    pub fn parse(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)?;
        Issuer::from_ca_cert_pem(certificate, &key)?;
        Ok(Self { certificate: certificate.to_owned(), key })
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, in PEM.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate for `role`, for both ends of a connection, with `bundle` for those whom it is to trust.
    ///
    /// # Errors
    /// If class or install are no DNS names.
    pub fn issue(
        &self,
        role: &Role,
        install: &str,
        bundle: &str,
        now: SystemTime,
    ) -> Result<Files, AuthorityError> {
        let name = role.dns_name(install);
        let mut params = CertificateParams::new(vec![name.clone()])?;
        // At most 64 characters may stand here, and nobody reads it.
        params.distinguished_name = common_name(&name.chars().take(64).collect::<String>());
        (params.not_before, params.not_after) = span(now, LEAF_LIFE);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &self.key)?;
        Ok(Files {
            certificate: params.signed_by(&key, &issuer)?.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            authorities: bundle.as_bytes().to_vec(),
        })
    }
}

/// When the first certificate of `pem` is to be replaced: after two thirds of its life.
///
/// # Errors
/// If there is none.
pub fn renew_at(pem: &[u8]) -> Result<SystemTime, AuthorityError> {
    let (_, pem) = parse_x509_pem(pem).map_err(|_not_pem| AuthorityError::Unreadable)?;
    let certificate = pem.parse_x509().map_err(|_not_x509| AuthorityError::Unreadable)?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let from = seconds(certificate.validity().not_before.timestamp());
    let until = seconds(certificate.validity().not_after.timestamp());
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(from + until.saturating_sub(from) / 3 * 2))
}

fn span(now: SystemTime, life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    (OffsetDateTime::from(now - BACKDATED), OffsetDateTime::from(now + life))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    const INSTALL: &str = "evenkeel-system";

    #[test]
    fn an_authority_signs_what_an_identity_takes() {
        let now = SystemTime::now();
        let authority = Authority::generate(INSTALL, now).unwrap();
        let again = Authority::parse(authority.certificate(), &authority.key()).unwrap();
        for role in [Role::Controller, Role::Proxy { class: "default".to_owned() }] {
            let files = again.issue(&role, INSTALL, again.certificate(), now).unwrap();
            let identity = Identity::new(files.clone(), INSTALL).unwrap();
            assert_eq!(identity.role(), role);
            Identity::new(files, "elsewhere").unwrap_err();
        }
    }

    #[test]
    fn an_authority_cannot_speak_for_another_install() {
        let now = SystemTime::now();
        let authority = Authority::generate("other", now).unwrap();
        let files = authority.issue(&Role::Controller, INSTALL, authority.certificate(), now).unwrap();
        let error = Identity::new(files, INSTALL).unwrap_err();
        assert!(error.to_string().contains("do not belong together"), "{error}");
    }

    #[test]
    fn an_expired_certificate_is_an_identity_still() {
        let then = SystemTime::now() - LEAF_LIFE - BACKDATED;
        let authority = Authority::generate(INSTALL, then).unwrap();
        let files = authority.issue(&Role::Controller, INSTALL, authority.certificate(), then).unwrap();
        Identity::new(files, INSTALL).unwrap();
    }

    #[test]
    fn renewal_is_due_after_two_thirds() {
        let now = SystemTime::now();
        let authority = Authority::generate(INSTALL, now).unwrap();
        let files = authority.issue(&Role::Controller, INSTALL, authority.certificate(), now).unwrap();
        let due = renew_at(&files.certificate).unwrap().duration_since(now).unwrap();
        let days = due.as_secs() / (24 * 3600);
        assert_eq!(days, 59);
        assert!(matches!(renew_at(b"nonsense"), Err(AuthorityError::Unreadable)));
    }
}
