//! What there is to tell about an event, to whom, in which words.

use schemas::user::{
    EmailVerificationRequested, LockReason, PasswordChangeCause, PasswordResetRequested,
    PhoneVerificationRequested, UserEvent,
};
use schemas::{Meta, OneTimeId, Sealed, Timestamp, UserId, sealed_field as field};
use service_kit::problem::Problem;

use domain::user::{Account, User};

use super::{DeliveryConfig, Outbox};
use crate::one_time::{OneTimeToken, Purpose, code};
use crate::sealing::Seal;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    Mail(String),
    Phone(String),
}

// No Debug: texts hold tokens.
pub(super) struct Message {
    pub to: To,
    pub subject: String,
    pub text: String,
    /// The same as HTML; a phone gets none.
    pub html: Option<String>,
}

/// What an event owes to people.
pub(super) enum Owed<'a> {
    EmailVerification(&'a EmailVerificationRequested),
    PhoneVerification(&'a PhoneVerificationRequested),
    PasswordReset(&'a PasswordResetRequested),
    /// To the former address as well.
    NewAddress(&'a Sealed),
    Notice(Notice),
}

pub(super) fn owed(event: &UserEvent) -> Option<Owed<'_>> {
    match event {
        UserEvent::EmailVerificationRequested(e) => Some(Owed::EmailVerification(e)),
        UserEvent::PhoneVerificationRequested(e) => Some(Owed::PhoneVerification(e)),
        UserEvent::PasswordResetRequested(e) => Some(Owed::PasswordReset(e)),
        UserEvent::ProfileChanged(e) => e.former_email.as_ref().map(Owed::NewAddress),
        UserEvent::PasswordChanged(e) => Some(Owed::Notice(match e.cause {
            PasswordChangeCause::Reset => Notice::PasswordReset,
            PasswordChangeCause::Change | PasswordChangeCause::Other => Notice::PasswordChanged,
        })),
        UserEvent::RefreshReuseDetected(_) => Some(Owed::Notice(Notice::RefreshReused)),
        UserEvent::Locked(e) => match e.reason {
            LockReason::FailedLogins => Some(Owed::Notice(Notice::Locked)),
            LockReason::Administrator | LockReason::Other => None,
        },
        UserEvent::TotpEnabled(_) | UserEvent::PasskeyAdded(_) => Some(Owed::Notice(Notice::FactorAdded)),
        UserEvent::TotpDisabled(_) | UserEvent::PasskeyRemoved(_) => {
            Some(Owed::Notice(Notice::FactorRemoved))
        }
        // By the person's own doing, and told by the answer; or nothing that a stranger could have done.
        UserEvent::Registered(_)
        | UserEvent::ClaimAbandoned(_)
        | UserEvent::NamesReleased(_)
        | UserEvent::LoggedIn(_)
        | UserEvent::LoginFailed(_)
        | UserEvent::Unlocked(_)
        | UserEvent::EmailVerified(_)
        | UserEvent::PhoneVerificationFailed(_)
        | UserEvent::PhoneVerified(_)
        | UserEvent::SessionRefreshed(_)
        | UserEvent::SessionRevoked(_)
        | UserEvent::SessionsRevoked(_)
        | UserEvent::RoleGranted(_)
        | UserEvent::RoleRevoked(_)
        | UserEvent::Deactivated(_)
        | UserEvent::Reactivated(_)
        | UserEvent::Erased(_)
        | UserEvent::PasswordRehashed(_)
        | UserEvent::RoleGrantExpired(_)
        | UserEvent::TotpEnrolmentStarted(_)
        | UserEvent::RecoveryCodesReplaced(_)
        | UserEvent::SessionSteppedUp(_)
        | UserEvent::ServiceAccountCreated(_)
        | UserEvent::ServiceKeyIssued(_)
        | UserEvent::ServiceKeyRevoked(_)
        | UserEvent::PasskeyCounted(_)
        | UserEvent::PasskeyCloneSuspected(_)
        | UserEvent::ErasureCompleted(_) => None,
    }
}

impl Outbox {
    /// Nothing for what is not worth telling any more: a token that expired or was replaced, a notice that
    /// comes too late, somebody who was erased.
    pub(super) async fn messages(&self, meta: &Meta, event: &UserEvent) -> Result<Vec<Message>, Problem> {
        let Ok(user) = meta.aggregate_id.parse::<UserId>() else {
            return Ok(Vec::new());
        };
        let state = self.app.state_of(user, |state| state.account.is_none()).await?;
        let Some(account) = &state.account else {
            return Ok(Vec::new());
        };
        let seal = match self.app.seal_of(user).await {
            Ok(seal) => seal,
            Err(problem) if problem.status() == axum::http::StatusCode::NOT_FOUND => return Ok(Vec::new()),
            Err(problem) => return Err(problem),
        };
        let telling = Telling {
            outbox: self,
            user,
            state: &state,
            account,
            seal: &seal,
        };
        match owed(event) {
            Some(Owed::EmailVerification(e)) => {
                let sent = state.sent.email_verification;
                let is_live = sent.is_some_and(|sent| sent.is(e.token_hash, Timestamp::now()));
                telling.token(
                    is_live,
                    Purpose::VerifyEmail,
                    (e.token_id, &e.nonce),
                    e.expires_at,
                )
            }
            Some(Owed::PasswordReset(e)) => {
                let sent = state.sent.password_reset;
                let is_live = sent.is_some_and(|sent| sent.is(e.token_hash, Timestamp::now()));
                telling.token(
                    is_live,
                    Purpose::ResetPassword,
                    (e.token_id, &e.nonce),
                    e.expires_at,
                )
            }
            Some(Owed::PhoneVerification(e)) => telling.code(e.code_id, &e.nonce),
            Some(Owed::NewAddress(_) | Owed::Notice(_)) if self.is_stale(meta.occurred_at) => Ok(Vec::new()),
            Some(Owed::NewAddress(former)) => telling.new_address(former, meta.occurred_at),
            Some(Owed::Notice(notice)) => telling.notice(notice, meta.occurred_at),
            None => Ok(Vec::new()),
        }
    }
}

/// What happened to an account that its owner should know of.
#[derive(Clone, Copy)]
pub(super) enum Notice {
    PasswordChanged,
    PasswordReset,
    EmailChanged,
    FormerEmail,
    RefreshReused,
    Locked,
    FactorAdded,
    FactorRemoved,
}

/// One person who is told something.
struct Telling<'a> {
    outbox: &'a Outbox,
    user: UserId,
    state: &'a User,
    account: &'a Account,
    seal: &'a Seal,
}

impl Telling<'_> {
    fn address(&self) -> Result<String, Problem> {
        self.seal.open(field::EMAIL, &self.account.email)
    }

    fn token(
        &self,
        is_live: bool,
        purpose: Purpose,
        (id, nonce): (OneTimeId, &Sealed),
        expires_at: Timestamp,
    ) -> Result<Vec<Message>, Problem> {
        if !is_live {
            return Ok(Vec::new());
        }
        let nonce = self.seal.open(field::NONCE, nonce)?;
        let token = OneTimeToken::derive(&self.outbox.app.token_key, purpose, self.user, id, &nonce);
        let texts = &self.outbox.texts;
        let (subject, text, html) = texts.token(purpose, &token.text(), expires_at);
        Ok(vec![Message {
            to: To::Mail(self.address()?),
            subject,
            text,
            html: Some(html),
        }])
    }

    fn code(&self, id: OneTimeId, nonce: &Sealed) -> Result<Vec<Message>, Problem> {
        let sent = self.state.sent.phone_verification.as_ref();
        let is_live = sent.is_some_and(|sent| sent.id == id && sent.is_live(Timestamp::now()));
        let (true, Some(number)) = (is_live, &self.account.phone_number) else {
            return Ok(Vec::new());
        };
        let nonce = self.seal.open(field::NONCE, nonce)?;
        let code = code(&self.outbox.app.token_key, id, &nonce);
        let name = &self.outbox.texts.service;
        Ok(vec![Message {
            to: To::Phone(self.seal.open(field::PHONE_NUMBER, number)?),
            subject: format!("{name} code"),
            text: format!("{code} is your {name} code. Do not give it to anyone."),
            html: None,
        }])
    }

    fn new_address(&self, former: &Sealed, at: Timestamp) -> Result<Vec<Message>, Problem> {
        let former = self.seal.open(field::EMAIL, former)?;
        let mut messages = vec![self.notice_to(former, Notice::FormerEmail, at)];
        messages.extend(self.notice(Notice::EmailChanged, at)?);
        Ok(messages)
    }

    fn notice(&self, notice: Notice, at: Timestamp) -> Result<Vec<Message>, Problem> {
        Ok(vec![self.notice_to(self.address()?, notice, at)])
    }

    fn notice_to(&self, address: String, notice: Notice, at: Timestamp) -> Message {
        let (subject, text, html) = self.outbox.texts.notice(notice, at);
        Message {
            to: To::Mail(address),
            subject,
            text,
            html: Some(html),
        }
    }
}

/// The words, which hold nothing that a person typed.
pub(super) struct Texts {
    service: String,
    base_url: String,
}

/// Subject, plain text and HTML.
type Words = (String, String, String);

impl Texts {
    pub(super) fn new(config: &DeliveryConfig) -> Self {
        Self {
            service: config.service_name.clone(),
            base_url: config.link_base_url.trim_end_matches('/').to_owned(),
        }
    }

    fn token(&self, purpose: Purpose, token: &str, expires_at: Timestamp) -> Words {
        let (subject, asks, page) = match purpose {
            Purpose::VerifyEmail => (
                "Confirm your e-mail address",
                "Please confirm that this is your e-mail address:",
                "verify-email",
            ),
            Purpose::ResetPassword => (
                "Set a new password",
                "Somebody, we hope you, asked to set a new password for your account. To do so, go to",
                "reset-password",
            ),
        };
        let link = format!("{}/{page}#token={token}", self.base_url);
        let until = format!("The link works once, until {expires_at}.");
        let otherwise = "If you did not ask for this, do nothing: without the link nothing happens.";
        let text = format!("{asks}\n\n{link}\n\n{until}\n{otherwise}\n\n{}\n", self.service);
        let html = self.html(&[
            asks,
            &format!("<a href=\"{0}\">{0}</a>", escape(&link)),
            &until,
            otherwise,
        ]);
        (format!("{}: {subject}", self.service), text, html)
    }

    fn notice(&self, notice: Notice, at: Timestamp) -> Words {
        let (subject, tells, advice) = match notice {
            Notice::PasswordChanged => (
                "Your password was changed",
                "The password of your account was changed. Everyone else who was signed in with the former one is not any more.",
                "If it was not you, set a new password now.",
            ),
            Notice::PasswordReset => (
                "Your password was reset",
                "A new password was set for your account with a link sent to this address. Everyone who was signed in is not any more.",
                "If it was not you, somebody reads your mail: change the password of your mailbox first, then set a new one here.",
            ),
            Notice::EmailChanged => (
                "This is your e-mail address now",
                "This address is the e-mail address of your account from now on. It still has to be confirmed.",
                "If you do not know of this account, do nothing: without a confirmation the address proves nothing.",
            ),
            Notice::FormerEmail => (
                "Your e-mail address was changed",
                "Your account has another e-mail address now. This is the last message to this one.",
                "If it was not you, ask your administrator for help at once.",
            ),
            Notice::RefreshReused => (
                "A session was ended",
                "A session of your account was ended: it was used from two places at once, as happens when a sign-in is stolen.",
                "If that was no mistake of an app of yours, set a new password.",
            ),
            Notice::Locked => (
                "Sign-in is locked for a while",
                "Somebody tried wrong passwords for your account, so that sign-in is locked for a short while. Devices you signed in from before are not affected.",
                "If it was you, wait a little. If not, nothing has happened; a long password of its own keeps it so.",
            ),
            Notice::FactorAdded => (
                "A second factor was added",
                "An authenticator app or a passkey was added to your account. Whoever has it can sign in with it from now on.",
                "If it was not you, set a new password and remove what you do not know.",
            ),
            Notice::FactorRemoved => (
                "A second factor was removed",
                "An authenticator app or a passkey was removed from your account, by you or by an administrator.",
                "If you did not ask for it, set a new password and ask your administrator.",
            ),
        };
        let when = format!("Time: {at}");
        let text = format!("{tells}\n\n{when}\n\n{advice}\n\n{}\n", self.service);
        let html = self.html(&[tells, &when, advice]);
        (format!("{}: {subject}", self.service), text, html)
    }

    fn html(&self, paragraphs: &[&str]) -> String {
        let paragraphs: String = paragraphs.iter().map(|it| format!("<p>{it}</p>\n")).collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><body>\n{paragraphs}<p>{}</p>\n</body></html>\n",
            escape(&self.service)
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        Texts {
            service: "A & B".to_owned(),
            base_url: "https://example.org/app".to_owned(),
        }
    }

    #[test]
    fn a_token_is_in_the_fragment_of_the_link_and_nowhere_else() {
        let (subject, text, html) = texts().token(Purpose::ResetPassword, "pr1.x", Timestamp::from_micros(0));
        assert_eq!(subject, "A & B: Set a new password");
        assert!(
            text.contains("\nhttps://example.org/app/reset-password#token=pr1.x\n"),
            "{text}"
        );
        assert!(
            html.contains("href=\"https://example.org/app/reset-password#token=pr1.x\""),
            "{html}"
        );
        assert!(html.contains("<p>A &amp; B</p>"), "{html}");
        assert_eq!(text.matches("pr1.x").count(), 1);
    }
}
