//! Access tokens: RFC 9068 JWTs under EdDSA, and the public keys to check them with.
//!
//! Nothing of a token but its signature decides how it is checked: the only algorithm is Ed25519.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use moka::sync::Cache;
use schemas::{SessionId, Sha256Digest, Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "at+jwt";
/// No token of ours comes near; longer text is not worth hashing.
const MAX_TOKEN: usize = 4096;
/// About 6 MB when full.
const CACHED_TOKENS: u64 = 20_000;

/// Who issues tokens, for whom and for how long.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The `iss` of access tokens.
    #[arg(long, env = "ROLECALL_ISSUER", default_value = "rolecall")]
    pub issuer: String,
    /// The `aud` of access tokens.
    #[arg(long, env = "ROLECALL_AUDIENCE", default_value = "rolecall")]
    pub audience: String,
    /// Seconds an access token is good for: how late an offline verifier learns of a revocation.
    #[arg(long, env = "ROLECALL_TOKEN_TTL", default_value_t = 300)]
    pub token_ttl: u32,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            issuer: "rolecall".to_owned(),
            audience: "rolecall".to_owned(),
            token_ttl: 300,
        }
    }
}

impl TokenConfig {
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.token_ttl.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the access token is malformed")]
    Malformed,
    #[error("the access token's signature is wrong")]
    BadSignature,
    #[error("the access token has expired")]
    Expired,
    #[error("the access token is of another issuer")]
    WrongIssuer,
    #[error("the access token is for another audience")]
    WrongAudience,
    #[error("this is not an access token signed with EdDSA")]
    WrongType,
    #[error("the access token is signed with an unknown key")]
    UnknownKey,
}

/// What an access token says. No names, no e-mail, no roles: it is readable by whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub client_id: Arc<str>,
    /// To the second.
    pub issued_at: Timestamp,
    /// To the second.
    pub expires_at: Timestamp,
    pub token_id: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
    #[serde(default)]
    kid: String,
    /// Extensions that must be understood; none is.
    #[serde(default, skip_serializing)]
    crit: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: UserId,
    aud: Audience,
    client_id: Arc<str>,
    iat: i64,
    exp: i64,
    jti: Uuid,
    sid: SessionId,
}

/// RFC 7519 lets `aud` be one or several.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(several) => several.iter().any(|one| one == wanted),
        }
    }
}

/// Makes access tokens.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    header: String,
    config: TokenConfig,
}

impl Signer {
    pub fn new(key: SigningKey, config: TokenConfig) -> Result<Self, serde_json::Error> {
        let kid = thumbprint(&key.verifying_key());
        let header = encode(&Header {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            kid,
            crit: None,
        })?;
        Ok(Self { key, header, config })
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub const fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Equal claims give equal tokens, so a lost answer can be given again.
    pub fn issue(&self, claims: &AccessClaims) -> Result<String, serde_json::Error> {
        let payload = encode(&Claims {
            iss: self.config.issuer.clone(),
            sub: claims.user_id,
            aud: Audience::One(self.config.audience.clone()),
            client_id: Arc::clone(&claims.client_id),
            iat: seconds(claims.issued_at),
            exp: seconds(claims.expires_at),
            jti: claims.token_id,
            sid: claims.session_id,
        })?;
        let mut token = format!("{}.{payload}", self.header);
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        Ok(token)
    }
}

/// Checks access tokens. A verified one is remembered, since an Ed25519 verification costs
/// about 30 us; its expiry is checked every time.
pub struct Verifier {
    keys: HashMap<String, VerifyingKey>,
    config: TokenConfig,
    verified: Cache<Sha256Digest, AccessClaims>,
}

impl Verifier {
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>, config: TokenConfig) -> Self {
        let verified = Cache::builder()
            .max_capacity(CACHED_TOKENS)
            .time_to_live(config.ttl())
            .build();
        let keys = keys.into_iter().map(|key| (thumbprint(&key), key)).collect();
        Self {
            keys,
            config,
            verified,
        }
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let digest = Sha256Digest::of(token.as_bytes());
        if let Some(claims) = self.verified.get(&digest) {
            return unexpired(claims, now);
        }
        let claims = unexpired(self.verify_anew(token)?, now)?;
        self.verified.insert(digest, claims.clone());
        Ok(claims)
    }

    pub fn jwks(&self) -> Jwks {
        Jwks::of(self.keys.values())
    }

    fn verify_anew(&self, token: &str) -> Result<AccessClaims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        if header.alg != ALGORITHM || !is_access_token(&header.typ) {
            return Err(TokenError::WrongType);
        }
        let key = self.keys.get(&header.kid).ok_or(TokenError::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| TokenError::Malformed)?;
        // Strict: keys and signatures that fit several messages are refused too.
        key.verify_strict(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::BadSignature)?;
        let claims: Claims = decode(payload)?;
        if claims.iss != self.config.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !claims.aud.names(&self.config.audience) {
            return Err(TokenError::WrongAudience);
        }
        Ok(AccessClaims {
            user_id: claims.sub,
            session_id: claims.sid,
            client_id: claims.client_id,
            issued_at: from_seconds(claims.iat),
            expires_at: from_seconds(claims.exp),
            token_id: claims.jti,
        })
    }
}

fn unexpired(claims: AccessClaims, now: Timestamp) -> Result<AccessClaims, TokenError> {
    if now < claims.expires_at {
        Ok(claims)
    } else {
        Err(TokenError::Expired)
    }
}

/// RFC 9068 section 4: with or without the media type's prefix, in any case.
fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case(TYPE) || typ.eq_ignore_ascii_case("application/at+jwt")
}

/// A key set as `/.well-known/jwks.json` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// An Ed25519 public key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    #[schema(example = "OKP")]
    pub kty: String,
    #[schema(example = "Ed25519")]
    pub crv: String,
    pub x: String,
    pub kid: String,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    pub usage: String,
    #[schema(example = "EdDSA")]
    pub alg: String,
}

impl Jwks {
    /// In the order of the key ids, so that equal sets give equal documents.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a VerifyingKey>) -> Self {
        let mut keys: Vec<Jwk> = keys.into_iter().map(Jwk::of).collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        Self { keys }
    }
}

impl Jwk {
    fn of(key: &VerifyingKey) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
            kid: thumbprint(key),
            usage: "sig".to_owned(),
            alg: ALGORITHM.to_owned(),
        }
    }
}

/// RFC 7638: the digest of the key's required members, in this order and without spaces.
pub fn thumbprint(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256Digest::of(members.as_bytes()).0)
}

fn encode<T: Serialize>(part: &T) -> Result<String, serde_json::Error> {
    serde_json::to_vec(part).map(|json| URL_SAFE_NO_PAD.encode(json))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}

fn from_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
