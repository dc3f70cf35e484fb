//! A person's account: credentials, lock, sessions and grants, all invariants in one place.

mod abandon_claim;
mod add_passkey;
mod change_password;
mod change_profile;
mod confirm_totp;
mod create_service_account;
mod deactivate;
mod disable_totp;
mod erase;
mod expire_grant;
mod factors;
mod grant_role;
mod grants;
mod issue_service_key;
mod log_in;
mod names;
mod one_time;
mod reactivate;
mod record_login_failure;
mod refresh;
mod register;
mod rehash;
mod remove_passkey;
mod replace_recovery_codes;
mod reset_password;
mod revoke_role;
mod revoke_service_key;
mod revoke_session;
mod revoke_sessions;
mod risk;
mod service_account;
mod start_totp;
mod state;
mod step_up;
mod unlock;
mod unwritten;
mod verify_email;
mod verify_phone;
mod write_login_failures;

#[cfg(test)]
mod factor_properties;
#[cfg(test)]
mod properties;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use schemas::user::UserEvent;
use schemas::{ClaimId, Timestamp};
use serde::{Deserialize, Serialize};

pub use abandon_claim::AbandonClaim;
pub use add_passkey::AddPasskey;
pub use change_password::ChangePassword;
pub use change_profile::{ChangeProfile, NewName, NewPhoneNumber};
pub use confirm_totp::ConfirmTotp;
pub use create_service_account::CreateServiceAccount;
pub use deactivate::Deactivate;
pub use disable_totp::{DisableTotp, FactorRemover};
pub use erase::{CompleteErasure, Erase, Erasure};
pub use expire_grant::ExpireGrant;
pub use factors::{
    ASSURED_FOR, CEREMONY_LIVES, ENROLMENT_LIVES, Factors, MAX_PASSKEYS, Passkey, RECOVERY_CODES, Shown,
    Totp, TotpEnrolment,
};
pub use grant_role::{GrantRole, MAX_SCOPE_BYTES};
pub use grants::{GrantKey, GrantTerms, Grants};
pub use issue_service_key::IssueServiceKey;
pub use log_in::LogIn;
pub use names::NoteReleased;
pub use one_time::{CODE_TRIES, Sent, SentCode, SentToken};
pub use reactivate::Reactivate;
pub use record_login_failure::{FAILURES_TO_LOCK, RecordLoginFailure};
pub use refresh::Refresh;
pub use register::Register;
pub use rehash::Rehash;
pub use remove_passkey::RemovePasskey;
pub use replace_recovery_codes::ReplaceRecoveryCodes;
pub use reset_password::{RequestPasswordReset, ResetPassword};
pub use revoke_role::RevokeRole;
pub use revoke_service_key::RevokeServiceKey;
pub use revoke_session::RevokeSession;
pub use revoke_sessions::RevokeSessions;
pub use risk::{SUSPICIOUS_FROM, score_of};
pub use service_account::{MAX_KEYS, ServiceAccount};
pub use start_totp::StartTotp;
pub use state::{
    Account, Device, FIRST_GENERATION, LastSeen, MAX_DEVICES, MAX_GRANTS, MAX_REMEMBERED_PASSWORDS,
    MAX_SESSIONS, Place, ReplacedToken, Session, Status, User,
};
pub use step_up::StepUp;
pub use unlock::Unlock;
pub use unwritten::{FOLDED_FOR, Unwritten};
pub use verify_email::{RequestEmailVerification, VerifyEmail};
pub use verify_phone::{RequestPhoneVerification, VerifyPhone};
pub use write_login_failures::WriteLoginFailures;

use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserCommand {
    Register(Box<Register>),
    AbandonClaim(AbandonClaim),
    ChangeProfile(Box<ChangeProfile>),
    NoteReleased(NoteReleased),
    LogIn(Box<LogIn>),
    RecordLoginFailure(RecordLoginFailure),
    WriteLoginFailures(WriteLoginFailures),
    Unlock(Unlock),
    RequestEmailVerification(RequestEmailVerification),
    VerifyEmail(VerifyEmail),
    RequestPhoneVerification(RequestPhoneVerification),
    VerifyPhone(VerifyPhone),
    RequestPasswordReset(RequestPasswordReset),
    ResetPassword(ResetPassword),
    Refresh(Refresh),
    RevokeSession(RevokeSession),
    RevokeSessions(RevokeSessions),
    ChangePassword(ChangePassword),
    Rehash(Rehash),
    GrantRole(GrantRole),
    RevokeRole(RevokeRole),
    ExpireGrant(ExpireGrant),
    CreateServiceAccount(Box<CreateServiceAccount>),
    IssueServiceKey(Box<IssueServiceKey>),
    RevokeServiceKey(RevokeServiceKey),
    Deactivate(Deactivate),
    Reactivate(Reactivate),
    StartTotp(StartTotp),
    ConfirmTotp(ConfirmTotp),
    DisableTotp(DisableTotp),
    ReplaceRecoveryCodes(ReplaceRecoveryCodes),
    StepUp(Box<StepUp>),
    AddPasskey(Box<AddPasskey>),
    RemovePasskey(RemovePasskey),
    Erase(Erase),
    CompleteErasure(CompleteErasure),
}

impl UserCommand {
    /// The same with its new names under another claim.
    #[must_use]
    pub fn under(self, claim: ClaimId) -> Self {
        match self {
            Self::Register(mut command) => {
                command.registration.claim_id = claim;
                Self::Register(command)
            }
            Self::CreateServiceAccount(mut command) => {
                command.created.claim_id = claim;
                Self::CreateServiceAccount(command)
            }
            Self::ChangeProfile(command) => Self::ChangeProfile(Box::new(command.under(claim))),
            claims_nothing => claims_nothing,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    #[error("no such user")]
    NotFound,
    #[error("the user is registered already")]
    AlreadyRegistered,
    #[error("the claim was abandoned")]
    ClaimAbandoned,
    #[error("the user registered under the claim")]
    ClaimUsed,
    #[error("sign-in is locked until {until}")]
    Locked { until: Timestamp },
    #[error("the user is deactivated")]
    Deactivated,
    #[error("the credentials changed since they were checked")]
    CredentialsChanged,
    #[error("the profile changed since it was looked at")]
    ProfileChanged,
    #[error("names given up before are not free yet")]
    NamesStillOpen,
    #[error("the token or code is not valid, or not any more")]
    InvalidOneTimeToken,
    #[error("the account has no phone number")]
    NoPhoneNumber,
    #[error("the refresh token is not valid")]
    InvalidToken,
    #[error("the session has ended")]
    SessionEnded,
    #[error("no such session")]
    NoSuchSession,
    #[error("the expiry is not in the future")]
    ExpiryInPast,
    #[error(
        "a scope names a resource type, and an id or the beginning of ids, each of 1 to {MAX_SCOPE_BYTES} bytes without control characters"
    )]
    InvalidScope,
    #[error("a user holds at most {MAX_GRANTS} roles")]
    TooManyGrants,
    #[error("a second factor is needed besides the password")]
    SecondFactorRequired,
    #[error("a second factor must have been shown within the last minutes")]
    StepUpRequired,
    #[error("no enrolment waits for a code")]
    NoEnrolment,
    #[error("no such second factor")]
    NoSuchFactor,
    #[error("the code does not fit, or was used before")]
    FactorUsedUp,
    #[error("the challenge is too old or was answered before")]
    CeremonyOver,
    #[error("the passkey is registered already")]
    PasskeyKnown,
    #[error("a user has at most {MAX_PASSKEYS} passkeys")]
    TooManyPasskeys,
    #[error("the password is too short to do without a second factor")]
    PasswordTooShort,
    #[error("a service account has at most {MAX_KEYS} keys")]
    TooManyKeys,
    #[error("no such key")]
    NoSuchKey,
    #[error("the service account does not hold the role")]
    RoleNotHeld,
    #[error("the user does not hold the role that long any more")]
    GrantShortened,
}

impl Decide<User> for UserCommand {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        match self {
            Self::Register(command) => command.decide(user, ctx),
            Self::AbandonClaim(command) => command.decide(user, ctx),
            Self::ChangeProfile(command) => command.decide(user, ctx),
            Self::NoteReleased(command) => command.decide(user, ctx),
            Self::LogIn(command) => command.decide(user, ctx),
            Self::RecordLoginFailure(command) => command.decide(user, ctx),
            Self::WriteLoginFailures(command) => command.decide(user, ctx),
            Self::Unlock(command) => command.decide(user, ctx),
            Self::RequestEmailVerification(command) => command.decide(user, ctx),
            Self::VerifyEmail(command) => command.decide(user, ctx),
            Self::RequestPhoneVerification(command) => command.decide(user, ctx),
            Self::VerifyPhone(command) => command.decide(user, ctx),
            Self::RequestPasswordReset(command) => command.decide(user, ctx),
            Self::ResetPassword(command) => command.decide(user, ctx),
            Self::Refresh(command) => command.decide(user, ctx),
            Self::RevokeSession(command) => command.decide(user, ctx),
            Self::RevokeSessions(command) => command.decide(user, ctx),
            Self::ChangePassword(command) => command.decide(user, ctx),
            Self::Rehash(command) => command.decide(user, ctx),
            Self::GrantRole(command) => command.decide(user, ctx),
            Self::RevokeRole(command) => command.decide(user, ctx),
            Self::ExpireGrant(command) => command.decide(user, ctx),
            Self::CreateServiceAccount(command) => command.decide(user, ctx),
            Self::IssueServiceKey(command) => command.decide(user, ctx),
            Self::RevokeServiceKey(command) => command.decide(user, ctx),
            Self::Deactivate(command) => command.decide(user, ctx),
            Self::Reactivate(command) => command.decide(user, ctx),
            Self::StartTotp(command) => command.decide(user, ctx),
            Self::ConfirmTotp(command) => command.decide(user, ctx),
            Self::DisableTotp(command) => command.decide(user, ctx),
            Self::ReplaceRecoveryCodes(command) => command.decide(user, ctx),
            Self::StepUp(command) => command.decide(user, ctx),
            Self::AddPasskey(command) => command.decide(user, ctx),
            Self::RemovePasskey(command) => command.decide(user, ctx),
            Self::Erase(command) => command.decide(user, ctx),
            Self::CompleteErasure(command) => command.decide(user, ctx),
        }
    }
}

impl User {
    /// Decides as the owner does, who remembers the failures that the decision leaves unwritten.
    fn decide(&mut self, command: UserCommand, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        let failed = match &command {
            UserCommand::RecordLoginFailure(command) => Some(command.attributed(self)),
            _ => None,
        };
        let events = command.decide(self, ctx)?;
        self.unwritten.follow(failed, &events, ctx.now);
        Ok(events)
    }
}

impl Aggregate for User {
    const TYPE: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = Error;
    type Services = Context;

    async fn handle(
        &mut self,
        command: UserCommand,
        ctx: &Context,
        sink: &EventSink<Self>,
    ) -> Result<(), Error> {
        for event in self.decide(command, ctx)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: UserEvent) {
        Self::apply(self, &event);
    }
}
