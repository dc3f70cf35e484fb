//! An authenticator in software (WebAuthn Level 3), which also does what a true one never would.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use schemas::Sha256Digest;
use serde_json::{Value, json};

/// The page that asks, as the services are configured by default.
pub const ORIGIN: &str = "http://localhost:8080";

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const HAS_CREDENTIAL: u8 = 0x40;

/// A passkey, with what it says of itself.
#[derive(Clone)]
pub struct SoftPasskey {
    id: Vec<u8>,
    key: SigningKey,
    user_handle: String,
    pub relying_party: String,
    pub origin: String,
    /// What the next answer says; 0 of one that does not count.
    pub counter: u32,
    pub verifies_user: bool,
    pub is_synchronised: bool,
}

impl SoftPasskey {
    /// Made for the options of a registration; signs nothing yet.
    pub fn new(options: &Value) -> Self {
        let options = &options["publicKey"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        // Every number of 32 bytes that is not too large is a key.
        let mut bytes: [u8; 32] = rand::random();
        bytes[0] = 0;
        Self {
            id: rand::random::<[u8; 32]>().to_vec(),
            key: SigningKey::from_slice(&bytes).unwrap(),
            user_handle: text(&options["user"]["id"]),
            relying_party: text(&options["rp"]["id"]),
            origin: ORIGIN.to_owned(),
            counter: 1,
            verifies_user: true,
            is_synchronised: false,
        }
    }

    /// The credential that `navigator.credentials.create` gives.
    pub fn register(&self, options: &Value) -> Value {
        let client = self.client_data("webauthn.create", &options["publicKey"]["challenge"]);
        let point = self.key.verifying_key().to_sec1_point(false);
        let (x, y) = (point.x().unwrap(), point.y().unwrap());
        // COSE_Key: kty EC2, alg ES256, crv P-256.
        let start = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        let public_key = [&start[..], x, &[0x22, 0x58, 0x20], y].concat();
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let credential = [&[0; 16][..], &length, &self.id, &public_key].concat();
        let data = [self.authenticator_data(HAS_CREDENTIAL), credential].concat();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        // CBOR of {"fmt": "none", "attStmt": {}, "authData": data}.
        let object = [
            &b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"[..],
            &length,
            &data,
        ]
        .concat();
        self.credential(json!({
            "attestationObject": URL_SAFE_NO_PAD.encode(object),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
        }))
    }

    /// The credential that `navigator.credentials.get` gives.
    pub fn answer(&self, options: &Value) -> Value {
        let client = self.client_data("webauthn.get", &options["publicKey"]["challenge"]);
        let data = self.authenticator_data(0);
        let signed = [&data[..], &Sha256Digest::of(&client).0].concat();
        let signature: Signature = self.key.sign(&signed);
        self.credential(json!({
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "signature": URL_SAFE_NO_PAD.encode(signature.to_der()),
            "userHandle": self.user_handle,
        }))
    }

    /// As [`Self::answer`], after which it has counted.
    pub fn use_once(&mut self, options: &Value) -> Value {
        self.counter += 1;
        self.answer(options)
    }

    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.id)
    }

    /// A passkey of this id that another user could have, with a key of its own.
    pub fn impostor(&self, user_handle: &str) -> Self {
        let mut bytes: [u8; 32] = rand::random();
        bytes[0] = 0;
        Self {
            key: SigningKey::from_slice(&bytes).unwrap(),
            user_handle: user_handle.to_owned(),
            ..self.clone()
        }
    }

    pub fn user_handle(&self) -> &str {
        &self.user_handle
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let data = json!({
            "type": kind,
            "challenge": challenge,
            "origin": self.origin,
            "crossOrigin": false,
        });
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, more: u8) -> Vec<u8> {
        let verified = if self.verifies_user { USER_VERIFIED } else { 0 };
        let synchronised = if self.is_synchronised { BACKUP_ELIGIBLE } else { 0 };
        let flags = USER_PRESENT | verified | synchronised | more;
        let domain = Sha256Digest::of(self.relying_party.as_bytes());
        [&domain.0[..], &[flags], &self.counter.to_be_bytes()].concat()
    }

    fn credential(&self, response: Value) -> Value {
        json!({
            "id": self.id(),
            "rawId": self.id(),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        })
    }
}
