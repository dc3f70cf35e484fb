//! Refresh tokens, and the answer that carries a pair of tokens.
//!
//! A refresh token is derived, not stored: `rt1.` and base64url of user id, session id, generation
//! (4 bytes), HMAC(token key, "refresh", session id, generation, nonce) and a proof of issue, the
//! first 16 bytes of an HMAC over user, session and generation. The log keeps its SHA-256 and, encrypted, the
//! nonce; so a lost answer can be given again, and nobody who reads the log can make one. The proof
//! is what lets an old generation, whose nonce is gone, count as reuse: a forged one must not be
//! able to end a session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::user::Session;
use schemas::user::UserLoggedIn;
use schemas::{Meta, Sealed, SessionId, Sha256Digest, Timestamp, UserId, sealed_field as field};
use serde::Serialize;
use service_kit::assurance::Authentication;
use service_kit::jwt::AccessClaims;
use service_kit::problem::{Problem, ProblemType};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::sealing::Seal;

const PREFIX: &str = "rt1.";

/// A parsed refresh token; only its hash in the log says whether it is a true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub generation: i32,
    mac: [u8; 32],
    proof: [u8; 16],
}

impl RefreshToken {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (user, rest) = bytes.split_first_chunk::<16>()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (mac, proof) = rest.split_first_chunk::<32>()?;
        Some(Self {
            user_id: Uuid::from_bytes(*user).into(),
            session_id: Uuid::from_bytes(*session).into(),
            generation: i32::from_be_bytes(*generation),
            mac: *mac,
            proof: proof.try_into().ok()?,
        })
    }

    pub fn text(&self) -> String {
        let bytes = [
            self.user_id.as_uuid().as_bytes().as_slice(),
            self.session_id.as_uuid().as_bytes(),
            &self.generation.to_be_bytes(),
            &self.mac,
            &self.proof,
        ]
        .concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the log keeps of it.
    pub fn hash(&self) -> Sha256Digest {
        Sha256Digest::of(self.text().as_bytes())
    }
}

/// A refresh token about to be issued, with what its event needs.
pub struct NewRefreshToken {
    pub nonce: Sealed,
    pub hash: Sha256Digest,
}

/// The answer to a login or a refresh.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionAnswer {
    pub session_id: Uuid,
    pub user_id: Uuid,
    pub access_token: String,
    pub refresh_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token expires; fewer when an answer is given again.
    pub expires_in: u64,
    /// Given at sign-in: send it along with the next one from this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<String>,
}

/// What an access token says of its session besides its id.
pub struct Standing {
    pub authentication: Authentication,
    /// When the session ends unless it is refreshed: no token outlives it.
    pub ends_at: Timestamp,
}

impl Standing {
    /// Of a session that was active then.
    pub fn of(session: &Session, active_at: Timestamp) -> Self {
        // A factor shown since is what a step-up asks for: it makes the authentication as recent as that.
        let at = session.authenticated_at.max(session.second_factor_at);
        Self {
            authentication: Authentication::new(&session.methods, at),
            ends_at: session.ends_after(active_at),
        }
    }

    pub fn begun_by(event: &UserLoggedIn) -> Self {
        let idle_until = event.authenticated_at.zip(event.idles_for());
        let idle_until = idle_until.map(|(at, span)| at.plus(span));
        Self {
            authentication: Authentication::new(&event.methods, event.authenticated_at),
            ends_at: idle_until.map_or(event.expires_at, |at| at.min(event.expires_at)),
        }
    }
}

/// When and under which id an access token is issued.
pub struct Issue {
    at: Timestamp,
    id: Uuid,
    standing: Standing,
}

impl Issue {
    /// By an event, always the same.
    pub fn by(meta: &Meta, standing: Standing) -> Self {
        Self {
            at: meta.occurred_at,
            id: meta.event_id.as_uuid(),
            standing,
        }
    }

    /// A further one, of which no event tells.
    pub fn now(standing: Standing) -> Self {
        Self {
            at: Timestamp::now(),
            id: Uuid::now_v7(),
            standing,
        }
    }
}

impl App {
    fn refresh_token(
        &self,
        user_id: UserId,
        session_id: SessionId,
        generation: i32,
        nonce: &str,
    ) -> RefreshToken {
        let number = u64::from(generation.unsigned_abs());
        let mac = self
            .token_key
            .derive("refresh", session_id.as_uuid(), number, nonce.as_bytes());
        RefreshToken {
            user_id,
            session_id,
            generation,
            mac,
            proof: self.proof_of_issue(user_id, session_id, generation),
        }
    }

    fn proof_of_issue(&self, user_id: UserId, session_id: SessionId, generation: i32) -> [u8; 16] {
        let number = u64::from(generation.unsigned_abs());
        let digest = self.token_key.derive(
            "refresh-issued",
            session_id.as_uuid(),
            number,
            user_id.as_uuid().as_bytes(),
        );
        digest.first_chunk().copied().unwrap_or_default()
    }

    /// Whether the token was issued here, be it current or long replaced.
    pub fn issued(&self, token: &RefreshToken) -> bool {
        // A digest of both hides where they differ from whoever measures the time.
        let ours = self.proof_of_issue(token.user_id, token.session_id, token.generation);
        token.generation > 0 && Sha256Digest::of(&ours) == Sha256Digest::of(&token.proof)
    }

    pub fn new_refresh_token(
        &self,
        seal: &Seal,
        user_id: UserId,
        session_id: SessionId,
        generation: i32,
    ) -> Result<NewRefreshToken, Problem> {
        let nonce = Uuid::new_v4().simple().to_string();
        let token = self.refresh_token(user_id, session_id, generation, &nonce);
        Ok(NewRefreshToken {
            nonce: seal.seal(field::NONCE, &nonce)?,
            hash: token.hash(),
        })
    }

    /// The refresh token of this generation, and an access token issued so. As the event that began or
    /// refreshed the session has it, the answer made again from the log is the same.
    pub fn session_answer(
        &self,
        seal: &Seal,
        issue: Issue,
        user_id: UserId,
        session_id: SessionId,
        (generation, nonce): (i32, &Sealed),
    ) -> Result<SessionAnswer, Problem> {
        let nonce = seal.open(field::NONCE, nonce)?;
        let claims = AccessClaims {
            user_id,
            session_id,
            client_id: "rolecall".into(),
            authentication: issue.standing.authentication,
            issued_at: issue.at,
            expires_at: issue.at.plus(self.token_ttl).min(issue.standing.ends_at),
            token_id: issue.id,
        };
        Ok(SessionAnswer {
            session_id: session_id.as_uuid(),
            user_id: user_id.as_uuid(),
            access_token: self
                .signer
                .issue(&claims)
                .map_err(|error| Problem::internal(&error))?,
            refresh_token: self.refresh_token(user_id, session_id, generation, &nonce).text(),
            token_type: "Bearer",
            expires_in: seconds_left(claims.expires_at, Timestamp::now()),
            device_token: None,
        })
    }
}

/// Whole ones, as the client must not take an expired token for a good one.
fn seconds_left(expires_at: Timestamp, now: Timestamp) -> u64 {
    expires_at.since(now).as_secs()
}

/// A refresh token that is none.
pub fn not_a_refresh_token() -> Problem {
    Problem::new(ProblemType::InvalidCredentials).detail("this is not a refresh token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_survives_its_text_form() {
        let token = RefreshToken {
            user_id: UserId::new_v7(),
            session_id: SessionId::new_v7(),
            generation: 7,
            mac: [9; 32],
            proof: [3; 16],
        };
        assert_eq!(RefreshToken::parse(&token.text()), Some(token));
    }

    #[test]
    fn an_answer_given_again_leaves_less_time() {
        let expires_at = Timestamp::from_micros(300_000_000);
        let left = |now| seconds_left(expires_at, Timestamp::from_micros(now));
        assert_eq!([left(0), left(1), left(299_000_000)], [300, 299, 1]);
        assert_eq!([left(300_000_000), left(900_000_000)], [0, 0]);
    }

    #[test]
    fn what_is_no_refresh_token_is_refused() {
        for text in ["", "rt1.", "rt1.AAAA", "rt2.AAAA", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(RefreshToken::parse(text), None, "{text:?}");
        }
    }
}
