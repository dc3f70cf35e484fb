//! Whom a program trusts, and what it shows to servers that ask.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::Error;
use crate::certificate::{self, Pair};

const CLIENT: Pair = Pair {
    certificate: "ROLECALL_CLIENT_CERT_FILE",
    key: "ROLECALL_CLIENT_KEY_FILE",
};

/// Options, each also an environment variable.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// PEM file with the certificates of the authorities that Kafka, the schema registry, PostgreSQL and other services
    /// may be certified by; those of the public by default.
    #[arg(long, env = "ROLECALL_CA_FILE", value_name = "FILE", global = true)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to servers that want one, with those that certify it.
    #[arg(long, env = CLIENT.certificate, value_name = "FILE", global = true)]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, env = CLIENT.key, value_name = "FILE", global = true)]
    pub client_key_file: Option<PathBuf>,
    /// Whether settings that make a connection plain, or leave out whom it is with, are accepted.
    #[arg(long, env = "ROLECALL_PLAINTEXT", value_enum, default_value_t, global = true)]
    pub plaintext: Plaintext,
}

/// Whether a connection may do without verified TLS.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    #[default]
    Refused,
    /// Where a setting asks for it.
    Allowed,
}

impl Trust {
    /// The authorities of the public, and no exception.
    pub const fn public() -> Self {
        Self {
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            plaintext: Plaintext::Refused,
        }
    }

    /// Reads each file once, so that what is wrong with it is said at the start and not by the first connection.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(file) = &self.ca_file {
            authorities(file)?;
        }
        if let Some((certificate, key)) = self.client()? {
            certificate::read(certificate, key)?;
        }
        Ok(())
    }

    /// The files of the certificate to show and of its key.
    pub fn client(&self) -> Result<Option<(&Path, &Path)>, Error> {
        CLIENT.both(self.client_cert_file.as_deref(), self.client_key_file.as_deref())
    }

    /// Refuses a plain connection unless they are allowed.
    ///
    /// # Errors
    /// [`Error::Plain`] with `what`, which names the setting and what it makes plain.
    pub fn permit(&self, what: impl FnOnce() -> String) -> Result<(), Error> {
        match self.plaintext {
            Plaintext::Allowed => Ok(()),
            Plaintext::Refused => Err(Error::Plain(what())),
        }
    }

    /// Refuses `http://`, unless that is allowed. What is no URL at all is told by whoever uses it.
    pub fn check_url(&self, setting: &str, url: &str) -> Result<(), Error> {
        let is_plain = url
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
        match is_plain {
            true => self.permit(|| format!("{setting} is the plain address {url}")),
            false => Ok(()),
        }
    }

    /// A client that follows no address with `http://`, unless that is allowed.
    pub fn http(&self) -> Result<reqwest::ClientBuilder, Error> {
        let mut builder = reqwest::Client::builder()
            // A server that completes no handshake must not be waited for.
            .connect_timeout(Duration::from_secs(10))
            .https_only(self.plaintext == Plaintext::Refused);
        if let Some(file) = &self.ca_file {
            let certificates = authorities(file)?;
            let parsed = certificates.iter().map(|it| reqwest::Certificate::from_der(it));
            let parsed: Result<Vec<_>, _> = parsed.collect();
            builder = builder.tls_certs_only(parsed.map_err(Error::Client)?);
        }
        if let Some((certificate, key)) = self.client()? {
            let mut pem = certificate::content(certificate)?;
            pem.push(b'\n');
            pem.extend(certificate::content(key)?);
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(Error::Client)?);
        }
        Ok(builder)
    }
}

/// Those in a PEM file. There is at least one.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = certificate::content(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|cause| Error::Content {
        path: path.to_owned(),
        cause: cause.to_string(),
    })?;
    match certificates.is_empty() {
        true => Err(Error::NoCertificate {
            path: path.to_owned(),
        }),
        false => Ok(certificates),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_address_is_refused_unless_it_is_allowed() {
        let refused = Trust::public().check_url("ROLECALL_COMMAND_URL", "HTTP://here:8080");
        let said = refused.unwrap_err().to_string();
        assert!(
            said.starts_with("ROLECALL_COMMAND_URL is the plain address")
                && said.contains("ROLECALL_PLAINTEXT")
        );
        assert!(Trust::public().check_url("x", "https://here").is_ok());
        let trust = Trust {
            plaintext: Plaintext::Allowed,
            ..Trust::public()
        };
        assert!(trust.check_url("x", "http://here").is_ok());
    }

    #[test]
    fn a_file_without_certificates_is_found_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let trust = Trust {
            ca_file: Some(file.clone()),
            ..Trust::public()
        };
        assert!(matches!(trust.check(), Err(Error::Read { .. })));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(matches!(trust.check(), Err(Error::NoCertificate { .. })));
        assert!(trust.http().is_err());
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let trust = Trust {
            client_cert_file: Some("c.pem".into()),
            ..Trust::public()
        };
        let said = trust.check().unwrap_err().to_string();
        assert!(
            said.starts_with("ROLECALL_CLIENT_CERT_FILE is set and ROLECALL_CLIENT_KEY_FILE is not"),
            "{said}"
        );
    }
}
