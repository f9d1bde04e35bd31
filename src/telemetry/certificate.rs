//! The certificate under which metrics are served: one of the cluster's, mounted as files, or one made at start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How often mounted files are read again. A renewed certificate is in the files long before the old one ends.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Made at start, for these names, and signed by nobody: it hides what is said, and proves nothing about who says it.
    SelfSigned(Vec<String>),
    /// PEM files, which may be renewed at any time.
    Files {
        /// The certificate, and those between it and its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that cannot be used.
    #[error("reading {path}: {source}; see --metrics-cert-path")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// Certificate and key cannot be used together.
    #[error("the certificate of the metrics: {0}")]
    Tls(#[from] rustls::Error),
    /// None could be made.
    #[error("making a certificate for the metrics: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate in use.
pub struct Certificate {
    source: Source,
    acceptor: TlsAcceptor,
    read: Instant,
}

impl Certificate {
    /// Reads or makes it.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn new(source: Source, now: Instant) -> Result<Self, CertificateError> {
        Ok(Self { acceptor: load(&source)?, source, read: now })
    }

    /// For the next connection. Files that have become unusable are logged, and the certificate stays.
    pub fn acceptor(&mut self, now: Instant) -> TlsAcceptor {
        if matches!(self.source, Source::Files { .. }) && now.duration_since(self.read) >= READ_AGAIN_AFTER {
            self.read = now;
            match load(&self.source) {
                Ok(acceptor) => self.acceptor = acceptor,
                Err(error) => tracing::warn!(%error, "Certificate of the metrics was not read again"),
            }
        }
        self.acceptor.clone()
    }
}

fn load(source: &Source) -> Result<TlsAcceptor, CertificateError> {
    let (chain, key) = match source {
        Source::SelfSigned(names) => {
            let made = rcgen::generate_simple_self_signed(names.clone())?;
            let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
            (vec![made.cert.into()], key.into())
        }
        Source::Files { certificate, key } => {
            let refuse = |path: &PathBuf| {
                let path = path.clone();
                move |source| CertificateError::File { path, source }
            };
            let chain = CertificateDer::pem_file_iter(certificate).map_err(refuse(certificate))?;
            let chain = chain.collect::<Result<Vec<_>, _>>().map_err(refuse(certificate))?;
            (chain, PrivateKeyDer::from_pem_file(key).map_err(refuse(key))?)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(folder: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    }

    fn files(folder: &Path) -> Source {
        Source::Files { certificate: folder.join("tls.crt"), key: folder.join("tls.key") }
    }

    /// Which certificate is in use, as far as that can be told apart.
    fn in_use(acceptor: &TlsAcceptor) -> *const ServerConfig {
        Arc::as_ptr(acceptor.config())
    }

    #[test]
    fn a_renewed_certificate_is_used_after_a_while_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "one.example");
        let start = Instant::now();
        let mut certificate = Certificate::new(files(folder.path()), start).unwrap();
        let first = in_use(&certificate.acceptor(start));
        write(folder.path(), "two.example");
        assert_eq!(in_use(&certificate.acceptor(start + READ_AGAIN_AFTER / 2)), first);
        let second = certificate.acceptor(start + READ_AGAIN_AFTER);
        assert_ne!(in_use(&second), first);
        std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
        assert_eq!(in_use(&certificate.acceptor(start + 2 * READ_AGAIN_AFTER)), in_use(&second));
    }

    #[test]
    fn files_that_are_no_certificate_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |source| Certificate::new(source, Instant::now()).err().unwrap().to_string();
        assert!(error(files(folder.path())).contains("tls.crt"), "{}", error(files(folder.path())));
        write(folder.path(), "one.example");
        std::fs::remove_file(folder.path().join("tls.key")).unwrap();
        assert!(error(files(folder.path())).contains("tls.key"));
    }
}
