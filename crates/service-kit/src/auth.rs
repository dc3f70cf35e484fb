//! Who calls: the bearer token of a request, checked against its signature and its session.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use schemas::{Actor, KeyId, SessionId, Timestamp, UserId};

use crate::assurance::Assurance;
use crate::jwt::{AccessClaims, TokenError, Verifier};
use crate::problem::{Problem, ProblemType};
use crate::service_key::{self, KeyGuesses, ServiceKey};

/// What a service knows of a session, from its own tail of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Live,
    Ended,
    /// Deactivated, locked out or erased: no session of the user counts.
    UserInactive,
    /// Nothing is known of the session. Our signature says it began, so this node lags behind.
    Unknown,
}

/// What a service knows of a service account's key, from its own tail of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Good,
    /// Expired, revoked, of an inactive account, or never issued.
    Bad,
    /// Nothing is known of the key: this node may lag behind.
    Unknown,
}

/// What a service knows of sessions and keys, from its own tail of the log.
pub trait Standings {
    /// Must remember an ended session for as long as its access tokens live.
    fn session_state(&self, user: UserId, session: SessionId, now: Timestamp) -> SessionState;

    /// Asked once more about a session that [`Self::session_state`] calls unknown: the service may
    /// wait a bounded time to catch up with the log. Still unknown then means that it could not.
    fn settle_session(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> impl Future<Output = SessionState> + Send;

    fn key_state(&self, key: &ServiceKey, now: Timestamp) -> KeyState;

    /// As [`Self::settle_session`], for a key.
    fn settle_key(&self, key: &ServiceKey, now: Timestamp) -> impl Future<Output = KeyState> + Send;

    /// Whether a key that was good is still; `None` where this node cannot tell.
    fn has_key(&self, user: UserId, key: KeyId, now: Timestamp) -> Option<bool>;
}

/// State of a service that authenticates its callers.
pub trait Authenticate {
    type Standings: Standings + Sync;

    fn verifier(&self) -> &Verifier;

    fn standings(&self) -> &Self::Standings;

    fn key_guesses(&self) -> &KeyGuesses;

    /// Looks again at what a caller came with, once the service has read on.
    fn standing_of(&self, caller: Caller) -> SessionState {
        let (user, now) = (caller.user_id, self.now());
        match caller.credential {
            Credential::Session(session) => self.standings().session_state(user, session, now),
            Credential::Key(key) => match self.standings().has_key(user, key, now) {
                Some(true) => SessionState::Live,
                Some(false) => SessionState::Ended,
                None => SessionState::Unknown,
            },
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl<T: Authenticate> Authenticate for Arc<T> {
    type Standings = T::Standings;

    fn verifier(&self) -> &Verifier {
        (**self).verifier()
    }

    fn standings(&self) -> &Self::Standings {
        (**self).standings()
    }

    fn key_guesses(&self) -> &KeyGuesses {
        (**self).key_guesses()
    }

    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// What a caller proved with who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Session(SessionId),
    /// Of a service account; it may be for some of the account's roles only.
    Key(KeyId),
}

/// An authenticated caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub user_id: UserId,
    pub credential: Credential,
    /// How sure it is that the session is the user's; the least for a key, which proves nothing but itself.
    pub assurance: Assurance,
    /// When the user last proved who they are, if that was noted.
    pub authenticated_at: Option<Timestamp>,
}

impl Caller {
    /// As events name them.
    pub const fn actor(&self) -> Actor {
        match self.credential {
            Credential::Session(_) => Actor::User(self.user_id),
            Credential::Key(_) => Actor::Service(self.user_id),
        }
    }

    /// What they came with counts no more.
    pub fn ended(&self) -> Problem {
        match self.credential {
            Credential::Session(_) => ProblemType::SessionEnded.into(),
            Credential::Key(_) => bad_key(),
        }
    }

    /// Refuses programs where somebody must be signed in.
    pub fn session(&self) -> Result<SessionId, Problem> {
        let refused =
            || Problem::new(ProblemType::Forbidden).detail("this needs a session, and a key has none");
        self.session_id().ok_or_else(refused)
    }

    /// None for a service account.
    pub const fn session_id(&self) -> Option<SessionId> {
        match self.credential {
            Credential::Session(id) => Some(id),
            Credential::Key(_) => None,
        }
    }

    /// None for a person.
    pub const fn key_id(&self) -> Option<KeyId> {
        match self.credential {
            Credential::Session(_) => None,
            Credential::Key(id) => Some(id),
        }
    }

    pub async fn from_headers(
        headers: &HeaderMap,
        state: &(impl Authenticate + Sync),
    ) -> Result<Option<Self>, Problem> {
        if let Some(text) = bearer(headers)?.filter(|text| text.starts_with(service_key::PREFIX)) {
            return Self::from_key(text, state).await.map(Some);
        }
        let Some(claims) = claims_from_headers(headers, state)? else {
            return Ok(None);
        };
        let (user, session, now) = (claims.user_id, claims.session_id, state.now());
        let standings = state.standings();
        let standing = match standings.session_state(user, session, now) {
            SessionState::Unknown => standings.settle_session(user, session, now).await,
            known => known,
        };
        match standing {
            SessionState::Live => Ok(Some(Self {
                user_id: claims.user_id,
                credential: Credential::Session(claims.session_id),
                assurance: claims.authentication.assurance(),
                authenticated_at: claims.authentication.at,
            })),
            // Which of the two it was is not the business of whoever holds the token.
            SessionState::Ended | SessionState::UserInactive => Err(ProblemType::SessionEnded.into()),
            SessionState::Unknown => {
                Err(Problem::new(ProblemType::NotYet)
                    .detail("the session of this token is not known here yet"))
            }
        }
    }

    async fn from_key(text: &str, state: &(impl Authenticate + Sync)) -> Result<Self, Problem> {
        let key = ServiceKey::parse(text).ok_or_else(bad_key)?;
        if !is_good_key(&key, state).await? {
            return Err(bad_key());
        }
        Ok(Self {
            user_id: key.user_id,
            credential: Credential::Key(key.key_id),
            assurance: Assurance::default(),
            authenticated_at: None,
        })
    }
}

/// Whether a key that somebody brings is good; one that is not counts as a guess.
///
/// # Errors
/// After too many guesses at the account, and where this node cannot tell.
pub async fn is_good_key(key: &ServiceKey, state: &(impl Authenticate + Sync)) -> Result<bool, Problem> {
    let (standings, now) = (state.standings(), state.now());
    let known = standings.key_state(key, now);
    if known != KeyState::Good {
        // Before anything is waited for: guesses must not keep the service busy.
        state.key_guesses().note(key.user_id)?;
    }
    let standing = match known {
        KeyState::Unknown => standings.settle_key(key, now).await,
        known => known,
    };
    match standing {
        KeyState::Good => Ok(true),
        KeyState::Bad => Ok(false),
        KeyState::Unknown => Err(Problem::new(ProblemType::NotYet).detail("the key is not known here yet")),
    }
}

fn bad_key() -> Problem {
    Problem::new(ProblemType::Unauthenticated)
        .detail("the key is not good")
        .invalid_token()
}

/// What the access token of a request says, whatever became of its session.
pub fn claims_from_headers(
    headers: &HeaderMap,
    state: &impl Authenticate,
) -> Result<Option<AccessClaims>, Problem> {
    let token = bearer(headers)?;
    let verified = token.map(|token| state.verifier().verify(token, state.now()));
    Ok(verified.transpose()?)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::new(ProblemType::TokenExpired),
            TokenError::Malformed
            | TokenError::BadSignature
            | TokenError::WrongIssuer
            | TokenError::WrongAudience
            | TokenError::WrongType
            | TokenError::UnknownKey => Self::new(ProblemType::Unauthenticated)
                .detail(error.to_string())
                .invalid_token(),
        }
    }
}

/// Two `Authorization` headers are refused: a proxy may have looked at the other.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let refused =
        || Problem::new(ProblemType::Unauthenticated).detail("send one header Authorization: Bearer <token>");
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(refused)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(token.trim()))
    } else {
        Err(refused())
    }
}

impl<S: Authenticate + Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers, state)
            .await?
            .ok_or_else(|| ProblemType::Unauthenticated.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use uuid::Uuid;

    use super::*;
    use crate::assurance::Authentication;
    use crate::http;
    use crate::jwt::{Signer, TokenConfig};
    use crate::key_folder::KeyFolder;
    use crate::signing::PrivateKey;
    use crate::testing::{Answer, send};

    struct App {
        verifier: Verifier,
        session: SessionState,
        settled: SessionState,
        guesses: KeyGuesses,
    }

    impl Authenticate for App {
        type Standings = Self;

        fn verifier(&self) -> &Verifier {
            &self.verifier
        }

        fn standings(&self) -> &Self {
            self
        }

        fn key_guesses(&self) -> &KeyGuesses {
            &self.guesses
        }
    }

    impl Standings for App {
        fn session_state(&self, _user: UserId, _session: SessionId, _now: Timestamp) -> SessionState {
            self.session
        }

        async fn settle_session(&self, _user: UserId, _session: SessionId, _now: Timestamp) -> SessionState {
            self.settled
        }

        fn key_state(&self, key: &ServiceKey, _now: Timestamp) -> KeyState {
            if key == &good_key() {
                KeyState::Good
            } else {
                KeyState::Unknown
            }
        }

        async fn settle_key(&self, _key: &ServiceKey, _now: Timestamp) -> KeyState {
            KeyState::Bad
        }

        fn has_key(&self, _user: UserId, key: KeyId, _now: Timestamp) -> Option<bool> {
            Some(key == good_key().key_id)
        }
    }

    fn key_of(user: u128) -> ServiceKey {
        let token_key = crate::keys::TokenKey::parse(&[3; 32]).unwrap();
        let user = UserId::from_uuid(Uuid::from_u128(user));
        ServiceKey::derive(&token_key, user, KeyId::from_uuid(Uuid::from_u128(8)), "nonce")
    }

    fn good_key() -> ServiceKey {
        key_of(7)
    }

    #[tokio::test]
    async fn a_good_key_names_its_account_and_a_bad_one_nobody() {
        let bearer = |key: ServiceKey| [format!("Bearer {}", key.text())];
        let good = ask("/me", SessionState::Ended, &bearer(good_key())).await;
        assert_eq!((good.status, good.text), (200, good_key().user_id.to_string()));
        let mistyped = [format!("Bearer {}x", good_key().text())];
        for bad in [bearer(key_of(6)), mistyped] {
            let answer = ask("/me", SessionState::Live, &bad).await;
            assert_eq!((answer.status, answer.slug().as_str()), (401, "unauthenticated"));
        }
    }

    fn key() -> PrivateKey {
        PrivateKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[1; 32]))
    }

    fn token(age: Duration) -> String {
        let issued_at =
            Timestamp::from_micros(Timestamp::now().as_micros() - i64::try_from(age.as_micros()).unwrap());
        let claims = AccessClaims {
            user_id: UserId::from_uuid(Uuid::from_u128(1)),
            session_id: SessionId::from_uuid(Uuid::from_u128(2)),
            client_id: "rolecall".into(),
            authentication: Authentication::new(&["pwd".to_owned(), "otp".to_owned()], None),
            issued_at,
            expires_at: issued_at.plus(Duration::from_secs(300)),
            token_id: Uuid::from_u128(3),
        };
        let signer = Signer::new(KeyFolder::fixed(key()), TokenConfig::default());
        signer.issue(&claims).unwrap()
    }

    async fn ask(path: &str, session: SessionState, authorization: &[String]) -> Answer {
        ask_settling(path, session, SessionState::Unknown, authorization).await
    }

    async fn ask_settling(
        path: &str,
        session: SessionState,
        settled: SessionState,
        authorization: &[String],
    ) -> Answer {
        let app = Arc::new(App {
            verifier: Verifier::new(KeyFolder::fixed(key()), TokenConfig::default()),
            session,
            settled,
            guesses: KeyGuesses::default(),
        });
        let router = Router::new()
            .route("/me", get(async |caller: Caller| caller.user_id.to_string()))
            .route("/assurance", get(async |caller: Caller| caller.assurance.name()))
            .with_state(app);
        let mut request = Request::get(path);
        for value in authorization {
            request = request.header(AUTHORIZATION, value);
        }
        send(http::standard(router), request.body(Body::empty()).unwrap()).await
    }

    fn fresh() -> String {
        format!("Bearer {}", token(Duration::ZERO))
    }

    #[tokio::test]
    async fn a_good_token_names_the_caller() {
        let answer = ask("/me", SessionState::Live, &[fresh()]).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, "00000000-0000-0000-0000-000000000001")
        );
    }

    #[tokio::test]
    async fn a_caller_is_known_by_how_they_signed_in() {
        let answer = ask("/assurance", SessionState::Live, &[fresh()]).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "aal2"));
    }

    #[tokio::test]
    async fn no_token_and_bad_tokens_are_unauthenticated() {
        let bad = [
            vec![],
            vec!["Basic YTpi".to_owned()],
            vec!["Bearer".to_owned()],
            vec!["Bearer x.y.z".to_owned()],
            vec![format!("{}x", fresh())],
            vec![fresh(), fresh()],
        ];
        for authorization in bad {
            let answer = ask("/me", SessionState::Live, &authorization).await;
            assert_eq!(
                (answer.status, answer.slug().as_str()),
                (401, "unauthenticated"),
                "{authorization:?}"
            );
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }

    #[tokio::test]
    async fn expired_ended_and_unknown_are_told_apart() {
        let old = format!("Bearer {}", token(Duration::from_secs(301)));
        assert_eq!(
            ask("/me", SessionState::Live, &[old]).await.slug(),
            "token-expired"
        );
        assert_eq!(
            ask("/me", SessionState::Ended, &[fresh()]).await.slug(),
            "session-ended"
        );
        assert_eq!(
            ask("/me", SessionState::UserInactive, &[fresh()]).await.slug(),
            "session-ended"
        );
        let answer = ask("/me", SessionState::Unknown, &[fresh()]).await;
        assert_eq!((answer.status, answer.slug().as_str()), (503, "not-yet"));
    }

    #[tokio::test]
    async fn an_unknown_session_may_become_known_while_waiting() {
        let settle = |settled| async move {
            ask_settling("/me", SessionState::Unknown, settled, &[fresh()])
                .await
                .status
        };
        assert_eq!(settle(SessionState::Live).await, 200);
        assert_eq!(settle(SessionState::Ended).await, 401);
    }

    /// RFC 6750, section 3.1.
    #[tokio::test]
    async fn the_challenge_tells_a_bad_token_from_none() {
        const INVALID: &str = r#"Bearer realm="rolecall", error="invalid_token""#;
        let challenge = async |authorization: &[String]| {
            let answer = ask("/me", SessionState::Live, authorization).await;
            answer.header("www-authenticate").to_owned()
        };
        let old = format!("Bearer {}", token(Duration::from_secs(301)));
        for bad in ["Bearer x.y.z".to_owned(), format!("{}x", fresh()), old] {
            assert_eq!(challenge(&[bad]).await, INVALID);
        }
        assert_eq!(challenge(&[]).await, r#"Bearer realm="rolecall""#);
        assert_eq!(
            challenge(&["Basic YTpi".to_owned()]).await,
            r#"Bearer realm="rolecall""#
        );
    }
}
