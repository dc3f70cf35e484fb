//! Keys of access tokens: Ed25519 for EdDSA (RFC 8037) and P-256 for ES256 (RFC 7518).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signer as _, Verifier as _};
use p256::elliptic_curve::Generate as _;
use schemas::Sha256Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// How a key signs. A token says it too, and is refused unless it says what its key does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    #[default]
    #[value(name = "eddsa")]
    EdDsa,
    #[value(name = "es256")]
    Es256,
}

impl Algorithm {
    /// As RFC 7518 and RFC 8037 register it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// Neither PKCS#8 nor SPKI in PEM of a key of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an Ed25519 nor a P-256 key in PEM (PKCS#8)")]
pub struct NotAKey;

/// Signs. Never printed.
#[derive(Clone)]
pub enum PrivateKey {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl PrivateKey {
    pub fn generate(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => {
                let seed = Zeroizing::new(rand::random::<[u8; 32]>());
                Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed))
            }
            Algorithm::Es256 => Self::P256(p256::ecdsa::SigningKey::generate_from_rng(&mut rand::rng())),
        }
    }

    pub fn from_pem(pem: &str) -> Result<Self, NotAKey> {
        let ed25519 = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map(Self::Ed25519);
        ed25519
            .or_else(|_| p256::ecdsa::SigningKey::from_pkcs8_pem(pem).map(Self::P256))
            .map_err(|_| NotAKey)
    }

    pub fn to_pem(&self) -> Result<Zeroizing<String>, NotAKey> {
        let pem = match self {
            Self::Ed25519(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map_err(|_| NotAKey)
    }

    pub fn public(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
        }
    }

    /// Equal messages give equal signatures with either algorithm (RFC 8032, RFC 6979).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_bytes().into()
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().kid())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    pub fn from_pem(pem: &str) -> Result<Self, NotAKey> {
        let ed25519 = ed25519_dalek::VerifyingKey::from_public_key_pem(pem).map(Self::Ed25519);
        ed25519
            .or_else(|_| p256::ecdsa::VerifyingKey::from_public_key_pem(pem).map(Self::P256))
            .map_err(|_| NotAKey)
    }

    pub fn to_pem(&self) -> Result<String, NotAKey> {
        let pem = match self {
            Self::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
            Self::P256(key) => key.to_public_key_pem(LineEnding::LF),
        };
        pem.map_err(|_| NotAKey)
    }

    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
        }
    }

    /// Whether this is the one signature of the message: what fits several messages, or is one of two that
    /// fit, is refused.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| {
                signature == signature.normalize_s() && key.verify(message, &signature).is_ok()
            }),
        }
    }

    pub fn jwk(&self) -> Jwk {
        let (kty, crv, x, y) = self.members();
        Jwk {
            kid: self.kid(),
            kty: kty.to_owned(),
            crv: crv.to_owned(),
            x,
            y,
            usage: "sig".to_owned(),
            alg: self.algorithm().name().to_owned(),
        }
    }

    /// RFC 7638: the digest of the key's required members, in this order and without spaces.
    pub fn kid(&self) -> String {
        let (kty, crv, x, y) = self.members();
        let y = y.map_or_else(String::new, |y| format!(r#","y":"{y}""#));
        let members = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"{y}}}"#);
        URL_SAFE_NO_PAD.encode(Sha256Digest::of(members.as_bytes()).0)
    }

    fn members(&self) -> (&'static str, &'static str, String, Option<String>) {
        match self {
            Self::Ed25519(key) => ("OKP", "Ed25519", URL_SAFE_NO_PAD.encode(key.as_bytes()), None),
            Self::P256(key) => {
                // Uncompressed: 0x04, then both coordinates of 32 bytes.
                let point = key.to_sec1_point(false);
                let (x, y) = point.as_bytes()[1..].split_at(32);
                let [x, y] = [x, y].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
                ("EC", "P-256", x, Some(y))
            }
        }
    }
}

/// A key set as `/.well-known/jwks.json` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 7517) of Ed25519 (RFC 8037) or P-256 (RFC 7518).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    #[schema(example = "OKP")]
    pub kty: String,
    #[schema(example = "Ed25519")]
    pub crv: String,
    pub x: String,
    /// Of P-256 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    pub kid: String,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    pub usage: String,
    #[schema(example = "EdDSA")]
    pub alg: String,
}

impl Jwks {
    /// In the order of the key ids, so that equal sets give equal documents.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        let mut keys: Vec<Jwk> = keys.into_iter().map(PublicKey::jwk).collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        Self { keys }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::EdDsa, Algorithm::Es256];

    #[test]
    fn a_key_survives_its_pem_and_signs_the_same() {
        for algorithm in BOTH {
            let key = PrivateKey::generate(algorithm);
            let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
            assert_eq!(key.sign(b"message"), again.sign(b"message"));
            let public = PublicKey::from_pem(&key.public().to_pem().unwrap()).unwrap();
            assert_eq!((public, public.algorithm()), (key.public(), algorithm));
            assert!(public.verifies(b"message", &key.sign(b"message")));
        }
    }

    #[test]
    fn neither_another_message_nor_another_key_nor_another_length_verifies() {
        let keys = BOTH.map(PrivateKey::generate);
        for (key, other) in [(&keys[0], &keys[1]), (&keys[1], &keys[0])] {
            let (signature, public) = (key.sign(b"message"), key.public());
            assert!(!public.verifies(b"another", &signature));
            assert!(!other.public().verifies(b"message", &signature));
            assert!(!public.verifies(b"message", &signature[..63]));
            assert!(!public.verifies(b"message", &[0; 64]));
            assert!(!public.verifies(b"message", b""));
        }
    }

    /// ECDSA has two signatures where one is enough: (r, s) and (r, n - s).
    #[test]
    fn the_twin_of_an_es256_signature_is_refused() {
        let key = PrivateKey::generate(Algorithm::Es256);
        let signature = p256::ecdsa::Signature::from_slice(&key.sign(b"message")).unwrap();
        let (r, s) = signature.split_scalars();
        let twin = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
        assert!(!key.public().verifies(b"message", &twin.to_bytes()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert_eq!(PrivateKey::from_pem(text).unwrap_err(), NotAKey);
            assert_eq!(PublicKey::from_pem(text).unwrap_err(), NotAKey);
        }
    }

    /// The key and thumbprint of RFC 8037, appendix A.
    #[test]
    fn key_ids_are_thumbprints() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let bytes = URL_SAFE_NO_PAD.decode(x).unwrap();
        let key = ed25519_dalek::VerifyingKey::try_from(bytes.as_slice()).unwrap();
        let document = serde_json::to_value(Jwks::of([&PublicKey::Ed25519(key)])).unwrap();
        assert_eq!(
            document["keys"][0],
            json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": x,
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "use": "sig",
                "alg": "EdDSA",
            })
        );
    }

    /// The key of RFC 7517, appendix A.1; the digest taken with another implementation.
    #[test]
    fn a_p256_key_has_both_coordinates() {
        let (x, y) = (
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        );
        let coordinates = [x, y].map(|text| URL_SAFE_NO_PAD.decode(text).unwrap()).concat();
        let point = [&[4], coordinates.as_slice()].concat();
        let key = PublicKey::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap());
        assert_eq!(
            serde_json::to_value(key.jwk()).unwrap(),
            json!({
                "kty": "EC",
                "crv": "P-256",
                "x": x,
                "y": y,
                "kid": "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
                "use": "sig",
                "alg": "ES256",
            })
        );
    }
}
