//! An authority of a stack's own, and certificates by it for servers on this machine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Error, Result, files};

/// Of every certificate.
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
const AUTHORITY: &str = "ca";
const SERVER: &str = "server";

/// A folder with an authority (`ca.pem`) and the certificate and key of this machine's servers by it (`server.pem`,
/// `server.key`), all in PEM form. No other authority knows this one, so nothing else trusts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    folder: PathBuf,
    /// Besides the usual ones.
    hosts: Vec<String>,
}

/// A certificate and its key, each in a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// The authority in the folder, made if there is none, with a new certificate for localhost, 127.0.0.1 and these
    /// hosts.
    pub fn open(
        folder: impl Into<PathBuf>,
        hosts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let this = Self {
            folder: folder.into(),
            hosts: hosts.into_iter().map(Into::into).collect(),
        };
        files::create_dir(&this.folder)?;
        if !this.authority().is_file() {
            this.write_authority()?;
        }
        this.issue(SERVER)?;
        Ok(this)
    }

    /// What clients must trust.
    pub fn authority(&self) -> PathBuf {
        self.folder.join(format!("{AUTHORITY}.pem"))
    }

    /// Of all servers of the stack.
    pub fn server(&self) -> CertificatePair {
        self.pair(SERVER)
    }

    /// The key, then the certificate, in one file, as Kafka reads them.
    pub(crate) fn key_store(&self) -> PathBuf {
        self.folder.join(format!("{SERVER}-store.pem"))
    }

    /// A further certificate of this machine, with a key of its own, in files of this name. Replaces those that are
    /// there.
    pub fn issue(&self, name: &str) -> Result<CertificatePair> {
        let authority = KeyPair::from_pem(&files::read(&self.pair(AUTHORITY).key)?).map_err(failed)?;
        let issuer = Issuer::new(self.authority_params(), authority);
        let key = KeyPair::generate().map_err(failed)?;
        let hosts = HOSTS.iter().map(|&host| host.to_owned());
        let hosts: Vec<String> = hosts.chain(self.hosts.iter().cloned()).collect();
        let mut params = CertificateParams::new(hosts).map_err(failed)?;
        params.distinguished_name = named(name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Kafka's nodes are clients of each other.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        self.write(name, &certificate.pem(), &key)?;
        if name == SERVER {
            let store = format!("{}{}", key.serialize_pem(), certificate.pem());
            files::write_secret(&self.key_store(), &store)?;
        }
        Ok(self.pair(name))
    }

    fn write_authority(&self) -> Result<()> {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = self.authority_params().self_signed(&key).map_err(failed)?;
        self.write(AUTHORITY, &certificate.pem(), &key)
    }

    /// The same each time, so that the key is all that needs to be kept. Authorities of two folders differ in name too.
    fn authority_params(&self) -> CertificateParams {
        let mut hasher = DefaultHasher::new();
        self.folder.hash(&mut hasher);
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("Rolecall's local stack {:016x}", hasher.finish()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> Result<()> {
        let pair = self.pair(name);
        files::write_secret(&pair.key, &key.serialize_pem())?;
        files::write(&pair.certificate, certificate)
    }

    fn pair(&self, name: &str) -> CertificatePair {
        CertificatePair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn failed(error: rcgen::Error) -> Error {
    Error::io("make a certificate")(io::Error::other(error))
}

/// A connection, plain or by TLS.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Connects to `host:port`, by TLS where an authority is named.
pub(crate) async fn connect(address: &str, authority: Option<&Path>) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(address).await?;
    let Some(authority) = authority else {
        return Ok(Box::new(stream));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(connector(authority)?.connect(name, stream).await?))
}

fn connector(authority: &Path) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
        roots
            .add(certificate.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_of_a_folder_stays_and_its_certificates_are_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Certificates::open(dir.path(), ["127.0.0.2"]).unwrap();
        let first = open();
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        let (authority, server) = (read(first.authority()), read(first.server().certificate));
        let second = open();
        assert_eq!(read(second.authority()), authority);
        assert_ne!(read(second.server().certificate), server);
        let store = read(second.key_store());
        assert!(store.contains("PRIVATE KEY") && store.ends_with(&read(second.server().certificate)));
    }
}
