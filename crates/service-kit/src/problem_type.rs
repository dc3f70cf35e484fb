//! The one table of stable problem types. Each has a page in `docs/errors`.

use axum::http::StatusCode;

/// Where the pages of `docs/errors` are published.
const BASE: &str = "https://rolecall.dev/errors/";

/// A kind of error. Its slug, once released, never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemType {
    MalformedJson,
    InvalidBody,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyTimeout,
    InvalidUtf8,
    TlsRequired,
    InvalidParameter,
    Unauthenticated,
    InvalidCredentials,
    SecondFactorRequired,
    WrongSecondFactor,
    StepUpRequired,
    TokenExpired,
    InvalidOneTimeToken,
    SessionEnded,
    RefreshReused,
    Forbidden,
    Escalation,
    OwnApproval,
    UserDeactivated,
    UserLocked,
    NoSuchUser,
    NoSuchRole,
    NoSuchPermission,
    NoSuchSession,
    NoSuchFactor,
    NoSuchApproval,
    NoSuchKey,
    NotFound,
    MethodNotAllowed,
    EmailTaken,
    UsernameTaken,
    RoleInUse,
    RoleCycle,
    SystemRole,
    Conflict,
    WeakPassword,
    PasswordReused,
    UnusableHash,
    InvalidEmail,
    InvalidUsername,
    InvalidName,
    ExpiryInPast,
    InvalidCeremony,
    InvalidPasskey,
    IdempotencyMismatch,
    InvalidIdempotencyKey,
    TooManyAttempts,
    Busy,
    ForeignToken,
    InvalidTokenHeader,
    NotYet,
    NotApplied,
    OutcomeUnknown,
    DependencyUnavailable,
    /// Stays last: it counts the table.
    Internal,
}

struct Row(ProblemType, StatusCode, &'static str, &'static str);

const COUNT: usize = ProblemType::Internal as usize + 1;

use ProblemType as P;
use StatusCode as S;

#[rustfmt::skip] // one line a type, so that it reads as the table it is
static TABLE: [Row; COUNT] = [
    Row(P::MalformedJson, S::BAD_REQUEST, "malformed-json", "The body is not JSON"),
    Row(P::InvalidBody, S::UNPROCESSABLE_ENTITY, "invalid-body", "The body does not fit this call"),
    Row(P::UnsupportedMediaType, S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON"),
    Row(P::BodyTooLarge, S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
    Row(P::BodyTimeout, S::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time"),
    Row(P::InvalidUtf8, S::BAD_REQUEST, "invalid-utf8", "The request is not UTF-8"),
    Row(P::TlsRequired, S::BAD_REQUEST, "tls-required", "Only HTTPS is spoken here"),
    Row(P::InvalidParameter, S::BAD_REQUEST, "invalid-parameter", "A parameter is not valid"),
    Row(P::Unauthenticated, S::UNAUTHORIZED, "unauthenticated", "A valid access token is needed"),
    Row(P::InvalidCredentials, S::UNAUTHORIZED, "invalid-credentials", "Wrong name or password"),
    Row(P::SecondFactorRequired, S::UNAUTHORIZED, "second-factor-required", "A second factor is needed"),
    Row(P::WrongSecondFactor, S::UNAUTHORIZED, "wrong-second-factor", "The second factor does not fit"),
    Row(P::StepUpRequired, S::UNAUTHORIZED, "step-up-required", "A recent second factor is needed"),
    Row(P::TokenExpired, S::UNAUTHORIZED, "token-expired", "The token has expired"),
    Row(P::InvalidOneTimeToken, S::BAD_REQUEST, "invalid-one-time-token", "The token or code is not valid, or not any more"),
    Row(P::SessionEnded, S::UNAUTHORIZED, "session-ended", "The session has ended"),
    Row(P::RefreshReused, S::UNAUTHORIZED, "refresh-reused", "The refresh token was used before"),
    Row(P::Forbidden, S::FORBIDDEN, "forbidden", "A permission is missing"),
    Row(P::Escalation, S::FORBIDDEN, "escalation", "Nobody gives rights they do not hold"),
    Row(P::OwnApproval, S::FORBIDDEN, "own-approval", "Nobody approves what they asked for"),
    Row(P::UserDeactivated, S::FORBIDDEN, "user-deactivated", "The user is deactivated"),
    Row(P::UserLocked, S::LOCKED, "user-locked", "The user is locked"),
    Row(P::NoSuchUser, S::NOT_FOUND, "no-such-user", "No such user"),
    Row(P::NoSuchRole, S::NOT_FOUND, "no-such-role", "No such role"),
    Row(P::NoSuchPermission, S::NOT_FOUND, "no-such-permission", "No such permission"),
    Row(P::NoSuchSession, S::NOT_FOUND, "no-such-session", "No such session"),
    Row(P::NoSuchFactor, S::NOT_FOUND, "no-such-factor", "No such second factor"),
    Row(P::NoSuchApproval, S::NOT_FOUND, "no-such-approval", "No change waits under this approval"),
    Row(P::NoSuchKey, S::NOT_FOUND, "no-such-key", "No such key"),
    Row(P::NotFound, S::NOT_FOUND, "not-found", "Nothing is here"),
    Row(P::MethodNotAllowed, S::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not allowed here"),
    Row(P::EmailTaken, S::CONFLICT, "email-taken", "The e-mail address is taken"),
    Row(P::UsernameTaken, S::CONFLICT, "username-taken", "The user name is taken"),
    Row(P::RoleInUse, S::CONFLICT, "role-in-use", "The role is in use"),
    Row(P::RoleCycle, S::CONFLICT, "role-cycle", "A role cannot be its own ancestor"),
    Row(P::SystemRole, S::CONFLICT, "system-role", "System roles cannot be changed"),
    Row(P::Conflict, S::CONFLICT, "conflict", "The state does not allow this"),
    Row(P::WeakPassword, S::UNPROCESSABLE_ENTITY, "weak-password", "The password is too weak"),
    Row(P::PasswordReused, S::UNPROCESSABLE_ENTITY, "password-reused", "The password was used before"),
    Row(P::UnusableHash, S::UNPROCESSABLE_ENTITY, "unusable-hash", "The password hash cannot be used"),
    Row(P::InvalidEmail, S::UNPROCESSABLE_ENTITY, "invalid-email", "The e-mail address is not valid"),
    Row(P::InvalidUsername, S::UNPROCESSABLE_ENTITY, "invalid-username", "The user name is not valid"),
    Row(P::InvalidName, S::UNPROCESSABLE_ENTITY, "invalid-name", "The name is not valid"),
    Row(P::ExpiryInPast, S::UNPROCESSABLE_ENTITY, "expiry-in-past", "The expiry is in the past"),
    Row(P::InvalidCeremony, S::UNPROCESSABLE_ENTITY, "invalid-ceremony", "The ceremony cannot be finished"),
    Row(P::InvalidPasskey, S::UNPROCESSABLE_ENTITY, "invalid-passkey", "The passkey cannot be registered"),
    Row(P::IdempotencyMismatch, S::UNPROCESSABLE_ENTITY, "idempotency-mismatch", "The idempotency key belongs to another request"),
    Row(P::InvalidIdempotencyKey, S::BAD_REQUEST, "invalid-idempotency-key", "The idempotency key is not valid"),
    Row(P::TooManyAttempts, S::TOO_MANY_REQUESTS, "too-many-attempts", "Too many attempts"),
    Row(P::Busy, S::TOO_MANY_REQUESTS, "busy", "The service is busy"),
    Row(P::ForeignToken, S::BAD_REQUEST, "foreign-token", "The consistency token is of another log"),
    Row(P::InvalidTokenHeader, S::BAD_REQUEST, "invalid-token-header", "The consistency token cannot be read"),
    Row(P::NotYet, S::SERVICE_UNAVAILABLE, "not-yet", "This node has not read that far yet"),
    Row(P::NotApplied, S::SERVICE_UNAVAILABLE, "not-applied", "The command was not applied"),
    Row(P::OutcomeUnknown, S::SERVICE_UNAVAILABLE, "outcome-unknown", "The outcome is not known yet"),
    Row(P::DependencyUnavailable, S::SERVICE_UNAVAILABLE, "dependency-unavailable", "A dependency does not answer"),
    Row(P::Internal, S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
];

// The row of a type is found by its number, so the table must keep the order of the enum.
const _: () = {
    let table = &TABLE;
    let mut i = 0;
    while i < COUNT {
        assert!(table[i].0 as usize == i);
        i += 1;
    }
};

impl ProblemType {
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The last part of the type's URI and the name of its page.
    pub fn slug(self) -> &'static str {
        self.row().2
    }

    pub fn title(self) -> &'static str {
        self.row().3
    }

    pub fn status(self) -> StatusCode {
        self.row().1
    }

    pub fn uri(self) -> String {
        format!("{BASE}{}", self.slug())
    }

    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::all().find(|kind| kind.slug() == slug)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_type_has_its_page_and_no_page_is_orphaned() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let pages: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        let types: BTreeSet<String> = ProblemType::all()
            .map(|kind| format!("{}.md", kind.slug()))
            .collect();
        assert_eq!(pages, types);
    }

    #[test]
    fn every_page_states_the_status_and_title_of_the_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for kind in ProblemType::all() {
            let page = std::fs::read_to_string(folder.join(format!("{}.md", kind.slug()))).unwrap();
            let title = format!("# {} ({})", kind.title(), kind.status().as_u16());
            assert_eq!(page.lines().next(), Some(title.as_str()), "{kind:?}");
            assert!(page.contains(&kind.uri()), "{kind:?} shows no example");
        }
    }

    #[test]
    fn each_type_is_at_its_own_row_and_found_by_its_slug() {
        for (number, kind) in ProblemType::all().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(ProblemType::from_slug(kind.slug()), Some(kind));
        }
    }
}
