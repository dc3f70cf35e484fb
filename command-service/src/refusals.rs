//! What a refused or failed command is to its caller.

use std::time::Duration;

use domain::{catalog, identifier, user};
use event_log::BusError;
use schemas::Timestamp;
use service_kit::problem::{Problem, ProblemType};

pub const SOON: Duration = Duration::from_secs(1);

/// A domain error as a problem. One exhaustive match for each aggregate.
pub trait Refusal: std::error::Error {
    fn problem(&self) -> Problem;
}

/// Maps every way in which a command can fail.
pub fn problem<E: Refusal>(error: BusError<E>) -> Problem {
    match error {
        BusError::Refused(refusal) => refusal.problem(),
        BusError::KeyReused => Problem::new(ProblemType::IdempotencyMismatch),
        BusError::NotApplied => Problem::new(ProblemType::NotApplied).retry_after(SOON),
        BusError::OutcomeUnknown => Problem::new(ProblemType::OutcomeUnknown).retry_after(SOON),
        BusError::Unavailable => Problem::new(ProblemType::DependencyUnavailable)
            .detail("the ledger is between owners")
            .retry_after(SOON),
        BusError::Busy => Problem::new(ProblemType::Busy)
            .detail("too many commands wait for the same user")
            .retry_after(SOON),
        BusError::Internal(message) => Problem::internal(&std::io::Error::other(message)),
    }
}

impl Refusal for user::Error {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::new(ProblemType::NoSuchUser),
            Self::AlreadyRegistered | Self::ClaimAbandoned | Self::ClaimUsed => {
                Problem::new(ProblemType::Conflict).detail(self.to_string())
            }
            Self::Locked { until } => Problem::new(ProblemType::UserLocked)
                .retry_after(until.since(Timestamp::now()))
                .extension("locked_until", until.to_string()),
            Self::Deactivated => Problem::new(ProblemType::UserDeactivated),
            Self::CredentialsChanged | Self::ProfileChanged | Self::NamesStillOpen | Self::GrantShortened => {
                Problem::new(ProblemType::NotApplied)
                    .detail(self.to_string())
                    .retry_after(SOON)
            }
            Self::InvalidToken => Problem::new(ProblemType::InvalidCredentials).detail(self.to_string()),
            Self::SessionEnded => Problem::new(ProblemType::SessionEnded),
            Self::NoSuchSession => Problem::new(ProblemType::NoSuchSession),
            Self::ExpiryInPast => Problem::new(ProblemType::ExpiryInPast),
            Self::InvalidScope => Problem::new(ProblemType::InvalidBody)
                .detail(self.to_string())
                .field("scope", self.to_string()),
            Self::NoSuchKey => Problem::new(ProblemType::NoSuchKey),
            Self::NoPhoneNumber
            | Self::TooManyKeys
            | Self::RoleNotHeld
            | Self::TooManyGrants
            | Self::NoEnrolment
            | Self::PasskeyKnown
            | Self::TooManyPasskeys => Problem::new(ProblemType::Conflict).detail(self.to_string()),
            Self::SecondFactorRequired => Problem::new(ProblemType::SecondFactorRequired),
            Self::StepUpRequired => Problem::new(ProblemType::StepUpRequired),
            Self::NoSuchFactor => Problem::new(ProblemType::NoSuchFactor),
            Self::FactorUsedUp => Problem::new(ProblemType::WrongSecondFactor),
            Self::CeremonyOver => Problem::new(ProblemType::InvalidCeremony).detail(self.to_string()),
            Self::PasswordTooShort => Problem::new(ProblemType::WeakPassword).detail(self.to_string()),
            Self::InvalidOneTimeToken => Problem::new(ProblemType::InvalidOneTimeToken),
        }
    }
}

impl Refusal for identifier::Error {
    fn problem(&self) -> Problem {
        Problem::new(ProblemType::Conflict).detail("the name is taken")
    }
}

impl Refusal for catalog::Error {
    fn problem(&self) -> Problem {
        let kind = match self {
            Self::InvalidName | Self::InvalidDescription => ProblemType::InvalidName,
            Self::NoSuchRole | Self::NoSuchParent => ProblemType::NoSuchRole,
            Self::NoSuchPermission => ProblemType::NoSuchPermission,
            Self::Cycle | Self::TooDeep => ProblemType::RoleCycle,
            Self::RoleInUse => ProblemType::RoleInUse,
            Self::SystemRole | Self::SystemPermission => ProblemType::SystemRole,
            Self::NoSuchApproval => ProblemType::NoSuchApproval,
            Self::OwnApproval => ProblemType::OwnApproval,
            Self::IdInUse
            | Self::StaleApproval
            | Self::TooManyApprovals
            | Self::NotTheNextShardMap { .. }
            | Self::IncompleteShardMap { .. }
            | Self::NoSuchShard { .. }
            | Self::FewerShards { .. }
            | Self::NotACopy { .. }
            | Self::NotFilled { .. }
            | Self::NotKeptUp { .. } => ProblemType::Conflict,
        };
        Problem::new(kind).detail(self.to_string())
    }
}
