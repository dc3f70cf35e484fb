//! The certificate that a service serves with, read again while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{Error, Trust};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds since 1970.
const EXPIRES: &str = "tls_certificate_expires_timestamp_seconds";

/// The names of the settings of a certificate and of its key.
pub(crate) struct Pair {
    pub certificate: &'static str,
    pub key: &'static str,
}

impl Pair {
    /// Both or none.
    pub fn both<'a>(
        &self,
        certificate: Option<&'a Path>,
        key: Option<&'a Path>,
    ) -> Result<Option<(&'a Path, &'a Path)>, Error> {
        let (given, missing) = match (certificate, key) {
            (Some(certificate), Some(key)) => return Ok(Some((certificate, key))),
            (None, None) => return Ok(None),
            (Some(_), None) => (self.certificate, self.key),
            (None, Some(_)) => (self.key, self.certificate),
        };
        Err(Error::Half { given, missing })
    }
}

const SERVED: Pair = Pair {
    certificate: "ROLECALL_TLS_CERT_FILE",
    key: "ROLECALL_TLS_KEY_FILE",
};

/// Options of a service, each also an environment variable.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CertificateFiles {
    /// PEM file of the certificate to serve HTTPS with, then those that certify it. Read again when it changes.
    #[arg(long, env = SERVED.certificate, value_name = "FILE", global = true)]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, env = SERVED.key, value_name = "FILE", global = true)]
    pub tls_key_file: Option<PathBuf>,
}

impl CertificateFiles {
    /// Whether HTTPS is served.
    pub fn are_given(&self) -> bool {
        self.tls_cert_file.is_some()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.are_given() { "https" } else { "http" }
    }

    /// What to serve with; `None` where plain HTTP is meant and allowed.
    pub fn open(&self, trust: &Trust) -> Result<Option<Arc<Certificate>>, Error> {
        let (certificate, key) = (self.tls_cert_file.as_deref(), self.tls_key_file.as_deref());
        let Some((certificate, key)) = SERVED.both(certificate, key)? else {
            let (certificate, key) = (SERVED.certificate, SERVED.key);
            trust
                .permit(|| format!("without {certificate} and {key} this service would serve plain HTTP"))?;
            return Ok(None);
        };
        Certificate::open(certificate, key).map(Some)
    }
}

/// A certificate with its key, as the files have them now.
#[derive(Debug)]
pub struct Certificate {
    files: (PathBuf, PathBuf),
    served: ArcSwap<CertifiedKey>,
}

impl Certificate {
    pub fn open(certificate: &Path, key: &Path) -> Result<Arc<Self>, Error> {
        let served = read(certificate, key)?.tell();
        Ok(Arc::new(Self {
            files: (certificate.to_owned(), key.to_owned()),
            served: ArcSwap::from_pointee(served),
        }))
    }

    /// Does the handshakes of a service that speaks this protocol, by its name for ALPN (RFC 7301): `http/1.1`, `h2`.
    pub fn acceptor(self: &Arc<Self>, protocol: &str) -> Result<TlsAcceptor, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| self.content(error.to_string()))?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again; connections from now on see what they hold. What does not fit together leaves everything
    /// as it is.
    pub fn reread(&self) -> Result<(), Error> {
        let new = read(&self.files.0, &self.files.1)?.tell();
        if new.cert != self.served.load().cert {
            tracing::info!("The certificate in {} is another one now", self.files.0.display());
            self.served.store(Arc::new(new));
        }
        Ok(())
    }

    /// Reads the files again, for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let this = Arc::clone(&self);
            // Only at the end of the runtime.
            let Ok(read) = tokio::task::spawn_blocking(move || this.reread()).await else {
                return;
            };
            let failure = read.err().map(|error| error.to_string());
            if let Some(error) = failure.as_ref().filter(|_| failure != last) {
                // Said once, not every second. Two files do not change at the same moment either.
                tracing::warn!("The certificate stays as it is: {error}");
            }
            last = failure;
        }
    }

    fn content(&self, cause: String) -> Error {
        Error::Content {
            path: self.files.0.clone(),
            cause,
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.served.load_full())
    }
}

/// A certificate that is good now, with those that certify it and its own key.
pub(crate) struct Good {
    pair: CertifiedKey,
    /// In seconds since 1970.
    expires: i64,
}

impl Good {
    /// Has the metric tell until when it is good.
    fn tell(self) -> CertifiedKey {
        metrics::gauge!(EXPIRES).set(self.expires as f64);
        self.pair
    }
}

pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Good, Error> {
    let failed = |path: &Path, cause: &dyn std::fmt::Display| Error::Content {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content(certificate)?).collect();
    let chain = chain.map_err(|error| failed(certificate, &error))?;
    let own = chain.first().ok_or_else(|| Error::NoCertificate {
        path: certificate.to_owned(),
    })?;
    let expires = good_until(certificate, own)?;
    let private = PrivateKeyDer::from_pem_slice(&content(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::NoKey { path: key.to_owned() },
        error => failed(key, &error),
    })?;
    let private = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(private);
    let private = private.map_err(|error| failed(key, &error))?;
    let pair = CertifiedKey::new(chain, private);
    match pair.keys_match() {
        // Nothing is known to be wrong with a key whose public half cannot be told.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Good { pair, expires })
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
        Err(error) => Err(failed(certificate, &error)),
    }
}

/// Nobody would accept a certificate out of its time, so it is better told here.
fn good_until(path: &Path, certificate: &CertificateDer<'_>) -> Result<i64, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| Error::Content {
        path: path.to_owned(),
        cause: error.to_string(),
    })?;
    let validity = parsed.validity();
    if !validity.is_valid() {
        return Err(Error::OutOfTime {
            path: path.to_owned(),
            from: validity.not_before.to_string(),
            until: validity.not_after.to_string(),
        });
    }
    Ok(validity.not_after.timestamp())
}

pub(crate) fn content(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|cause| Error::Read {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests;
