//! Access tokens: RFC 9068 JWTs under EdDSA or ES256.
//!
//! A token names its key, and the key alone decides how it is checked: a token that names another algorithm
//! than its key has is refused (RFC 8725, section 3.1).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use moka::sync::Cache;
use schemas::{SessionId, Sha256Digest, Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::assurance::Authentication;
use crate::key_folder::{KeyFolder, Timeline};
use crate::signing::Jwks;

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
    #[error("this is not an access token, or its algorithm is not that of its key")]
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
    pub authentication: Authentication,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// Follows from `amr`, and is told for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(default, skip_serializing_if = "no_methods")]
    amr: Arc<[String]>,
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

/// No token can be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("there is no private key to sign access tokens with")]
    NoKey,
    #[error("writing an access token")]
    Json(#[from] serde_json::Error),
}

/// Makes access tokens.
#[derive(Clone)]
pub struct Signer {
    keys: Arc<KeyFolder>,
    config: TokenConfig,
}

impl Signer {
    pub fn new(keys: Arc<KeyFolder>, config: TokenConfig) -> Self {
        Self { keys, config }
    }

    pub const fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Signed with the key of the moment of issue, so equal claims give equal tokens: a lost answer can be
    /// given again.
    pub fn issue(&self, claims: &AccessClaims) -> Result<String, SignError> {
        let keys = self.keys.timeline();
        let key = keys.signing_at(claims.issued_at).ok_or(SignError::NoKey)?;
        let private = key.private.as_ref().ok_or(SignError::NoKey)?;
        let header = encode(&Header {
            alg: key.public.algorithm().name().to_owned(),
            typ: TYPE.to_owned(),
            kid: key.kid.clone(),
            crit: None,
        })?;
        let authentication = &claims.authentication;
        let payload = encode(&Claims {
            iss: self.config.issuer.clone(),
            sub: claims.user_id,
            aud: Audience::One(self.config.audience.clone()),
            client_id: Arc::clone(&claims.client_id),
            iat: seconds(claims.issued_at),
            exp: seconds(claims.expires_at),
            jti: claims.token_id,
            sid: claims.session_id,
            auth_time: authentication.at.map(seconds),
            acr: (!authentication.methods.is_empty()).then(|| authentication.assurance().name().to_owned()),
            amr: Arc::clone(&authentication.methods),
        })?;
        let mut token = format!("{header}.{payload}");
        let signature = private.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// Checks access tokens. A verified one is remembered, since a verification costs 30 us and more; its expiry is
/// checked every time.
pub struct Verifier {
    keys: Arc<KeyFolder>,
    config: TokenConfig,
    verified: Cache<Sha256Digest, Verified>,
}

/// Good for as long as the keys are the same: one that is gone verifies nothing any more.
#[derive(Clone)]
struct Verified {
    claims: AccessClaims,
    by: Arc<Timeline>,
}

impl Verifier {
    pub fn new(keys: Arc<KeyFolder>, config: TokenConfig) -> Self {
        let verified = Cache::builder()
            .max_capacity(CACHED_TOKENS)
            .time_to_live(config.ttl())
            .build();
        Self {
            keys,
            config,
            verified,
        }
    }

    pub const fn keys(&self) -> &Arc<KeyFolder> {
        &self.keys
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let digest = Sha256Digest::of(token.as_bytes());
        let keys = self.keys.timeline();
        if let Some(known) = self.verified.get(&digest)
            && Arc::ptr_eq(&known.by, &keys)
        {
            return unexpired(known.claims, now);
        }
        let claims = unexpired(self.verify_anew(token, &keys, now)?, now)?;
        let verified = Verified {
            claims: claims.clone(),
            by: keys,
        };
        self.verified.insert(digest, verified);
        Ok(claims)
    }

    /// The keys whose tokens may be good, and the next one.
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        let keys = self.keys.timeline();
        Jwks::of(keys.published_at(now, self.config.ttl()).map(|key| &key.public))
    }

    fn verify_anew(&self, token: &str, keys: &Timeline, now: Timestamp) -> Result<AccessClaims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        if !is_access_token(&header.typ) {
            return Err(TokenError::WrongType);
        }
        let mut published = keys.published_at(now, self.config.ttl());
        let key = published
            .find(|key| key.kid == header.kid)
            .ok_or(TokenError::UnknownKey)?;
        if header.alg != key.public.algorithm().name() {
            return Err(TokenError::WrongType);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        if !key.public.verifies(signed.as_bytes(), &signature) {
            return Err(TokenError::BadSignature);
        }
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
            authentication: Authentication {
                methods: claims.amr,
                at: claims.auth_time.map(from_seconds),
            },
            issued_at: from_seconds(claims.iat),
            expires_at: from_seconds(claims.exp),
            token_id: claims.jti,
        })
    }
}

fn no_methods(methods: &Arc<[String]>) -> bool {
    methods.is_empty()
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
