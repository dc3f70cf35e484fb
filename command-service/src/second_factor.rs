//! Second factors as callers show them. Here they are checked as far as that needs keys; whether one
//! is used up, the user's owner decides.

use std::sync::Arc;

use domain::user::{self, Shown, StepUp, User, UserCommand};
use event_log::{BusError, Receipt};
use schemas::user::{Factor, FactorKind, MULTIPLE_FACTORS, ONE_TIME_PASSWORD, UserEvent};
use schemas::{Timestamp, sealed_field as field};
use serde::Serialize;
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::call::Call;
use crate::own_account::OwnAccount;
use crate::passkeys::PasskeyAnswer;
use crate::recovery_codes;
use crate::refusals::problem;
use crate::sealing::Seal;
use crate::totp;

/// The fields of a request that may show a factor.
#[derive(Default)]
pub struct FactorFields {
    pub totp_code: Option<String>,
    pub recovery_code: Option<String>,
    pub passkey: Option<PasskeyAnswer>,
}

pub enum Given {
    TotpCode(String),
    RecoveryCode(String),
    Passkey(Box<PasskeyAnswer>),
}

/// A factor that fits what its user has enrolled.
pub struct Checked {
    pub shown: Shown,
    /// Method references of it alone.
    pub methods: Vec<String>,
}

impl FactorFields {
    /// At most one.
    pub fn given(self) -> Result<Option<Given>, Problem> {
        match (self.totp_code, self.recovery_code, self.passkey) {
            (None, None, None) => Ok(None),
            (Some(code), None, None) => Ok(Some(Given::TotpCode(code))),
            (None, Some(code), None) => Ok(Some(Given::RecoveryCode(code))),
            (None, None, Some(answer)) => Ok(Some(Given::Passkey(Box::new(answer)))),
            _ => Err(Problem::new(ProblemType::InvalidBody)
                .detail("show one second factor")
                .field("totp_code", "either this, recovery_code or passkey")),
        }
    }
}

/// Names of what a user can show, as in requests and answers.
pub fn possible_factors(state: &User) -> Vec<&'static str> {
    let factors = &state.factors;
    [
        (factors.totp.is_some(), "totp_code"),
        (!factors.passkeys.is_empty(), "passkey"),
        (!factors.recovery_codes.is_empty(), "recovery_code"),
    ]
    .into_iter()
    .filter_map(|(has, name)| has.then_some(name))
    .collect()
}

const fn factor(kind: FactorKind) -> Factor {
    Factor {
        kind,
        credential_id: None,
        totp_step: None,
        recovery_code_hash: None,
        ceremony_id: None,
    }
}

impl App {
    /// Nothing if it does not fit.
    pub fn check_factor(&self, state: &User, seal: &Seal, given: &Given) -> Result<Option<Checked>, Problem> {
        let once = |factor| Checked {
            shown: Shown {
                factor,
                signature_counter: None,
            },
            methods: vec![ONE_TIME_PASSWORD.to_owned()],
        };
        match given {
            Given::TotpCode(code) => {
                let Some(enrolled) = &state.factors.totp else {
                    return Ok(None);
                };
                let secret = seal.open(field::TOTP_SECRET, &enrolled.secret)?;
                let step = totp::step_of(&secret, code, Timestamp::now())?;
                Ok(step.map(|step| {
                    once(Factor {
                        totp_step: Some(step),
                        ..factor(FactorKind::Totp)
                    })
                }))
            }
            // The owner compares its hash, so that a retry finds the code of its first try.
            Given::RecoveryCode(code) => Ok(recovery_codes::hash_of(code).map(|hash| {
                once(Factor {
                    recovery_code_hash: Some(hash),
                    ..factor(FactorKind::RecoveryCode)
                })
            })),
            Given::Passkey(answer) => self.check_passkey(state, seal, answer),
        }
    }

    /// For whoever knows the password: what else is needed.
    pub fn ask_for_factor(&self, state: &User, seal: &Seal) -> Result<Problem, Problem> {
        let problem =
            Problem::new(ProblemType::SecondFactorRequired).extension("factors", possible_factors(state));
        if state.factors.passkeys.is_empty() {
            return Ok(problem);
        }
        let passkeys = self.open_passkeys(state, seal)?;
        let allow = passkeys.iter().map(|passkey| passkey.cred_id().to_vec());
        let user = state.account.as_ref().map(|account| account.user_id);
        let (ceremony, options) = self.passkey_options(user, allow.collect())?;
        Ok(problem.extension(
            "passkey",
            serde_json::json!({ "ceremony": ceremony, "options": options }),
        ))
    }

    /// Shows a factor in the caller's session. One that does not fit counts as a guess.
    pub async fn step_up(
        self: &Arc<Self>,
        call: &Call,
        own: &OwnAccount,
        given: &Given,
    ) -> Result<Receipt<UserEvent>, Problem> {
        let Some(checked) = self.check_factor(&own.state, &own.seal, given)? else {
            return Err(self.wrong_factor(call, own).await);
        };
        let shown = checked.shown.factor.clone();
        let command = UserCommand::StepUp(Box::new(StepUp {
            session_id: own.session,
            shown: checked.shown,
            methods: with_both(checked.methods),
            credentials: own.state.credentials,
        }));
        let context = call.context(self, "step-up", &Fingerprint { session: own.session }, Vec::new());
        let id = own.user.to_string();
        let receipt = match self.bus.execute::<User>(&id, command, context).await {
            Ok(receipt) => receipt,
            Err(BusError::Refused(user::Error::FactorUsedUp | user::Error::NoSuchFactor)) => {
                return Err(self.wrong_factor(call, own).await);
            }
            Err(error) => return Err(problem(error)),
        };
        let recorded = receipt.records.iter().find_map(|record| match &record.event {
            UserEvent::SessionSteppedUp(event) => Some(&event.factor),
            _ => None,
        });
        match recorded {
            Some(factor) if receipt.replayed && *factor != shown => {
                Err(ProblemType::IdempotencyMismatch.into())
            }
            Some(_) => Ok(receipt),
            None => Err(suspected_clone()),
        }
    }

    async fn wrong_factor(self: &Arc<Self>, call: &Call, own: &OwnAccount) -> Problem {
        match self.record_guess(call, own).await {
            Ok(()) => ProblemType::WrongSecondFactor.into(),
            Err(refused) => refused,
        }
    }
}

/// A passkey that its owner has refused.
pub fn suspected_clone() -> Problem {
    Problem::new(ProblemType::WrongSecondFactor)
        .detail("the passkey's counter did not go on: it may have been copied")
}

/// The methods of a session that had a password before.
pub fn with_both(mut methods: Vec<String>) -> Vec<String> {
    methods.push(MULTIPLE_FACTORS.to_owned());
    methods
}

#[derive(Serialize)]
struct Fingerprint {
    session: schemas::SessionId,
}
