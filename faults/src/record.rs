//! What the clients did and what they were answered.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemas::catalog::CatalogEvent;
use schemas::user::UserEvent;
use schemas::{Event, Position, SessionId, Stream, UserId};
use serde::Serialize;
use uuid::Uuid;

/// A command with its arguments.
#[derive(Clone, Debug, Serialize)]
pub enum Action {
    Register {
        name: String,
    },
    LogIn {
        user: UserId,
    },
    /// With a wrong password.
    GuessPassword {
        user: UserId,
    },
    Refresh {
        session: SessionId,
    },
    LogOut {
        session: SessionId,
    },
    ChangePassword {
        user: UserId,
    },
    /// No two grants expire at the same time, so none is a repetition.
    Grant {
        user: UserId,
        role: String,
        expires_at: String,
    },
    Revoke {
        user: UserId,
        role: String,
    },
    DefineRole {
        name: String,
        parent: Option<String>,
    },
    DeleteRole {
        name: String,
    },
    DefinePermission {
        name: String,
        resource: String,
    },
    DeletePermission {
        name: String,
    },
    Attach {
        role: String,
        permission: String,
    },
    Detach {
        role: String,
        permission: String,
    },
    Deactivate {
        user: UserId,
    },
    Reactivate {
        user: UserId,
    },
}

impl Action {
    /// Whether this is the event that the command is about.
    pub fn makes(&self, event: &Event) -> bool {
        use CatalogEvent as C;
        use UserEvent as U;
        match (self, event) {
            (Self::Register { .. }, Event::User(U::Registered(_)))
            | (Self::LogIn { .. } | Self::GuessPassword { .. }, Event::User(U::LoggedIn(_)))
            | (Self::ChangePassword { .. }, Event::User(U::PasswordChanged(_)))
            | (Self::Grant { .. }, Event::User(U::RoleGranted(_)))
            | (Self::Revoke { .. }, Event::User(U::RoleRevoked(_)))
            | (Self::DefineRole { .. }, Event::Catalog(C::RoleDefined(_) | C::RoleChanged(_)))
            | (Self::DeleteRole { .. }, Event::Catalog(C::RoleDeleted(_)))
            | (Self::DefinePermission { .. }, Event::Catalog(C::PermissionDefined(_)))
            | (Self::DeletePermission { .. }, Event::Catalog(C::PermissionDeleted(_)))
            | (Self::Attach { .. }, Event::Catalog(C::PermissionAttached(_)))
            | (Self::Detach { .. }, Event::Catalog(C::PermissionDetached(_)))
            | (Self::Deactivate { .. }, Event::User(U::Deactivated(_)))
            | (Self::Reactivate { .. }, Event::User(U::Reactivated(_))) => true,
            (Self::Refresh { session }, Event::User(U::SessionRefreshed(event))) => {
                event.session_id == *session
            }
            (Self::LogOut { session }, Event::User(U::SessionRevoked(event))) => event.session_id == *session,
            _ => false,
        }
    }

    /// Whether it may find nothing to do and be acknowledged all the same.
    pub fn may_change_nothing(&self) -> bool {
        matches!(
            self,
            Self::LogOut { .. }
                | Self::Revoke { .. }
                | Self::Attach { .. }
                | Self::Detach { .. }
                | Self::Deactivate { .. }
                | Self::Reactivate { .. }
        )
    }
}

/// What became of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    Acknowledged,
    /// Refused for this reason, or it never left: certainly not applied.
    Refused(String),
    /// No answer, or one that says so.
    Unknown(String),
}

#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Its events name it.
    pub request: Uuid,
    /// Which command service was asked.
    pub service: usize,
    pub sent: Span,
    pub outcome: Outcome,
}

/// A command and all its tries under one idempotency key, or its only try without one.
#[derive(Clone, Debug, Serialize)]
pub struct Command {
    pub client: usize,
    pub action: Action,
    pub has_key: bool,
    pub attempts: Vec<Attempt>,
    /// Consistency token of the acknowledgement.
    pub token: Option<String>,
}

impl Command {
    pub fn outcome(&self) -> Outcome {
        let of = |wanted: fn(&Outcome) -> bool| {
            let mut outcomes = self.attempts.iter().map(|it| &it.outcome);
            outcomes.find(|it| wanted(it)).cloned()
        };
        of(|it| *it == Outcome::Acknowledged)
            .or_else(|| of(|it| matches!(it, Outcome::Unknown(_))))
            .or_else(|| self.attempts.last().map(|it| it.outcome.clone()))
            .unwrap_or_else(|| Outcome::Refused("never tried".to_owned()))
    }
}

/// From when to when something took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    #[serde(skip)]
    pub from: Instant,
    #[serde(skip)]
    pub to: Instant,
    /// The end by the wall clock, as the broker's stamps are.
    pub ended_ms: i64,
    pub took: Duration,
}

impl Span {
    pub fn since(from: Instant) -> Self {
        let to = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            from,
            to,
            ended_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            took: to - from,
        }
    }

    pub fn overlaps(&self, from: Instant, to: Instant) -> bool {
        self.from <= to && from <= self.to
    }
}

/// What a check about one user depends on: the last offset of the catalog and of the user's ledger, -1 for none.
/// A campaign has too many checks for whole tokens.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reach {
    pub catalog: i64,
    pub users: i64,
}

impl Reach {
    pub const NOTHING: Self = Self {
        catalog: -1,
        users: -1,
    };

    pub fn of(positions: impl IntoIterator<Item = Position>, ledger: i32) -> Self {
        let mut reach = Self::NOTHING;
        for it in positions {
            match it.stream {
                Stream::Catalog => reach.catalog = it.offset,
                Stream::Users if it.partition == ledger => reach.users = it.offset,
                _ => {}
            }
        }
        reach
    }
}

#[derive(Clone, Debug, Serialize)]
pub enum Demand {
    Nothing,
    Token,
    Latest,
}

#[derive(Clone, Debug, Serialize)]
pub enum Answer {
    Decided {
        allowed: bool,
        reason: String,
        /// What the answer says it rests on.
        at: Reach,
    },
    /// Not answered, for this reason.
    None(String),
}

/// A check: may this user do `act` on `resource`?
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub client: usize,
    pub request: Uuid,
    /// Which query service was asked.
    pub service: usize,
    pub user: UserId,
    pub resource: String,
    pub demand: Demand,
    /// What the answer must reflect by that demand.
    pub floor: Reach,
    pub span: Span,
    pub answer: Answer,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    pub commands: Vec<Command>,
    pub checks: Vec<Check>,
    /// Checks with access tokens of ended sessions; none may be answered.
    pub checks_after_the_end: usize,
    /// What a client itself saw to be wrong.
    pub violations: Vec<String>,
}

impl Calls {
    pub fn merge(&mut self, other: Self) {
        self.commands.extend(other.commands);
        self.checks.extend(other.checks);
        self.checks_after_the_end += other.checks_after_the_end;
        self.violations.extend(other.violations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(outcomes: &[Outcome]) -> Outcome {
        let attempt = |outcome: &Outcome| Attempt {
            request: Uuid::nil(),
            service: 0,
            sent: Span::since(Instant::now()),
            outcome: outcome.clone(),
        };
        let command = Command {
            client: 0,
            action: Action::DeleteRole {
                name: "role".to_owned(),
            },
            has_key: true,
            attempts: outcomes.iter().map(attempt).collect(),
            token: None,
        };
        command.outcome()
    }

    #[test]
    fn one_doubt_makes_a_command_doubtful_until_it_is_acknowledged() {
        let refused = Outcome::Refused("not-applied".to_owned());
        let unknown = Outcome::Unknown("timeout".to_owned());
        assert_eq!(outcome_of(&[refused.clone(), refused.clone()]), refused);
        assert_eq!(outcome_of(&[unknown.clone(), refused.clone()]), unknown);
        assert_eq!(
            outcome_of(&[unknown, refused, Outcome::Acknowledged]),
            Outcome::Acknowledged
        );
    }
}
