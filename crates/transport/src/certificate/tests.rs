use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::Plaintext;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles {
            tls_cert_file: Some(self.0.path().join("cert.pem")),
            tls_key_file: Some(self.0.path().join("key.pem")),
        }
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn put_pair(&self, change: impl FnOnce(&mut CertificateParams)) {
        let (certificate, key) = pair(change);
        self.put("cert.pem", &certificate);
        self.put("key.pem", &key);
    }

    fn refusal(&self) -> Error {
        self.files().open(&Trust::public()).unwrap_err()
    }
}

fn pair(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn plain_http_is_served_only_where_it_is_allowed() {
    let none = CertificateFiles::default();
    let refused = none.open(&Trust::public()).unwrap_err();
    assert!(matches!(refused, Error::Plain(_)), "{refused}");
    assert!(
        refused.to_string().contains("ROLECALL_TLS_CERT_FILE"),
        "{refused}"
    );
    let trust = Trust {
        plaintext: Plaintext::Allowed,
        ..Trust::public()
    };
    assert!(none.open(&trust).unwrap().is_none());
    // Allowed or not, half a setting is a mistake.
    let half = CertificateFiles {
        tls_cert_file: Some("cert.pem".into()),
        tls_key_file: None,
    };
    assert!(matches!(half.open(&trust), Err(Error::Half { .. })));
}

#[test]
fn what_is_wrong_with_the_files_is_told_at_the_start() {
    let folder = Folder::new();
    assert!(matches!(folder.refusal(), Error::Read { .. }));
    folder.put_pair(|_| {});
    assert!(folder.files().open(&Trust::public()).unwrap().is_some());

    folder.put("key.pem", &pair(|_| {}).1);
    assert!(matches!(folder.refusal(), Error::Mismatch { .. }));
    folder.put("key.pem", "");
    assert!(matches!(folder.refusal(), Error::NoKey { .. }));
    folder.put("cert.pem", "");
    assert!(matches!(folder.refusal(), Error::NoCertificate { .. }));

    folder.put_pair(|params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    let expired = folder.refusal().to_string();
    assert!(expired.contains("2021") && !expired.contains('\n'), "{expired}");
    folder.put_pair(|params| params.not_before = date_time_ymd(2999, 1, 1));
    assert!(matches!(folder.refusal(), Error::OutOfTime { .. }));
}

#[test]
fn a_new_pair_is_taken_up_and_half_of_one_is_not() {
    let folder = Folder::new();
    folder.put_pair(|_| {});
    let certificate = folder.files().open(&Trust::public()).unwrap().unwrap();
    let served = || certificate.served.load().cert.clone();
    let first = served();
    let (new_certificate, new_key) = pair(|_| {});
    folder.put("cert.pem", &new_certificate);
    assert!(matches!(certificate.reread(), Err(Error::Mismatch { .. })));
    assert_eq!(served(), first);
    folder.put("key.pem", &new_key);
    certificate.reread().unwrap();
    assert_ne!(served(), first);
}
