//! A certificate, its key and the bundle of those whom it trusts, as a Secret mounts them; replaced while in use.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, ClientConfig, RootCertStore, ServerConfig,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};

use crate::{limits::RELOAD_EVERY, role, role::Role};

/// The three members of a Secret of type `kubernetes.io/tls`, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Files {
    /// `tls.crt`: the certificate, and what leads from it to the bundle.
    pub certificate: Vec<u8>,
    /// `tls.key`: its private key.
    pub key: Vec<u8>,
    /// `ca.crt`: the bundle of those whose signature counts.
    pub authorities: Vec<u8>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

impl Files {
    /// Reads `tls.crt`, `tls.key` and `ca.crt` of `dir`.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn read(dir: &Path) -> Result<Self, IdentityError> {
        let read = |name| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| IdentityError::Read { path, source })
        };
        Ok(Self { certificate: read("tls.crt")?, key: read("tls.key")?, authorities: read("ca.crt")? })
    }
}

/// Why a set of files is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; a Secret with tls.crt, tls.key and ca.crt belongs there", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM of its kind.
    #[error("{0} holds no PEM of its kind, or half of one")]
    Pem(&'static str),
    /// Certificate, key and bundle do not belong together.
    #[error("tls.crt, tls.key and ca.crt do not belong together: {0}")]
    Unfit(#[from] rustls::Error),
    /// The certificate names no role of this install.
    #[error("tls.crt names no role of the install {0}, such as controller.{0}.evenkeel.internal")]
    NoRole(String),
}

/// Who this process is to its peers. Connections that are open keep what they were opened with.
#[derive(Debug)]
pub struct Identity {
    install: String,
    dir: Option<PathBuf>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    files: Files,
    role: Role,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// The identity in the files of `dir`, within `install`. Run [`Identity::follow`] to follow them.
    ///
    /// # Errors
    /// If the files cannot be read or are no identity. An expired certificate is one: a proxy must be able to restart
    /// while its controller is away.
    pub fn load(dir: &Path, install: &str) -> Result<Self, IdentityError> {
        let current = Current::new(Files::read(dir)?, install)?;
        Ok(Self {
            install: install.to_owned(),
            dir: Some(dir.to_owned()),
            current: ArcSwap::from_pointee(current),
        })
    }

    /// An identity of files that came some other way; [`Identity::replace`] is how it changes.
    ///
    /// # Errors
    /// If they are no identity.
    pub fn new(files: Files, install: &str) -> Result<Self, IdentityError> {
        let current = Current::new(files, install)?;
        Ok(Self { install: install.to_owned(), dir: None, current: ArcSwap::from_pointee(current) })
    }

    /// Takes `files` for new connections; false if they are what it has.
    ///
    /// # Errors
    /// If they are no identity; it keeps what it has.
    pub fn replace(&self, files: Files) -> Result<bool, IdentityError> {
        if self.current.load().files == files {
            return Ok(false);
        }
        self.current.store(Arc::new(Current::new(files, &self.install)?));
        Ok(true)
    }

    /// Reads the files again, as [`Identity::follow`] does.
    ///
    /// # Errors
    /// If they cannot be read or are no identity, half-written ones for instance; it keeps what it has.
    pub fn reload(&self) -> Result<bool, IdentityError> {
        self.dir.as_deref().map_or(Ok(false), |dir| self.replace(Files::read(dir)?))
    }

    /// Follows the files for ever, by their content: a Secret's files are links that are swapped, which notifications
    /// miss. A bad set is logged once, until it changes.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(RELOAD_EVERY);
        let mut logged = String::new();
        loop {
            ticks.tick().await;
            match self.reload() {
                Ok(false) => logged.clear(),
                Ok(true) => {
                    logged.clear();
                    tracing::info!(role = ?self.role(), "took new certificates");
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != logged {
                        tracing::warn!(%error, "new certificates are unusable, the old ones stay in use");
                        logged = error;
                    }
                }
            }
        }
    }

    /// The install that it is part of.
    #[must_use]
    pub fn install(&self) -> &str {
        &self.install
    }

    /// The role that its certificate names.
    #[must_use]
    pub fn role(&self) -> Role {
        self.current.load().role.clone()
    }

    /// For a connection to accept.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load().server.clone()
    }

    /// For a connection to open, to the DNS name of the role expected. The same `Arc` until the identity changes.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.current.load().client.clone()
    }
}

impl Current {
    fn new(files: Files, install: &str) -> Result<Self, IdentityError> {
        let chain = certificates(&files.certificate, "tls.crt")?;
        let key =
            PrivateKeyDer::from_pem_slice(&files.key).map_err(|_private| IdentityError::Pem("tls.key"))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.authorities, "ca.crt")? {
            roots.add(authority)?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
        let role =
            role::peer_role(&chain, install).ok_or_else(|| IdentityError::NoRole(install.to_owned()))?;
        verify_own(&chain, &role, install, &roots, &provider)?;
        let server = server_config(&chain, key.clone_key(), &roots, &provider)?;
        let client = client_config(chain, key, roots, provider)?;
        Ok(Self { files, role, server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificates(pem: &[u8], file: &'static str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(parsed) if !parsed.is_empty() => Ok(parsed),
        _ => Err(IdentityError::Pem(file)),
    }
}

/// Our own bundle must lead to our own certificate, or peers with the same bundle will refuse us: the files are of two
/// sets.
fn verify_own(
    chain: &[CertificateDer<'static>],
    role: &Role,
    install: &str,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), IdentityError> {
    let none = || IdentityError::NoRole(install.to_owned());
    let name = role.server_name(install).ok_or_else(none)?;
    let (leaf, rest) = chain.split_first().ok_or_else(none)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    match verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => {
            tracing::warn!(%error, "the own certificate is out of date, peers will refuse it");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Neither side resumes sessions: a resumed one would outlive the bundle that it was verified with.
fn server_config(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
