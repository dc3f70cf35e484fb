//! Who may take a second factor away.

use std::sync::Arc;

use domain::rolecall_permissions::Permission;
use domain::user::FactorRemover;
use event_log::BusError;
use passwords::LEAST_ALONE;
use schemas::{Position, Timestamp, UserId};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;
use crate::second_factor::FactorFields;

/// What its owner shows for it.
pub struct Removal {
    pub password: Option<String>,
    pub factor: FactorFields,
}

impl App {
    /// Its owner, with the password and a recent second factor; or somebody with the permission and all rights that its
    /// owner has in Rolecall, who has shown a recent second factor if he has any.
    pub async fn may_remove_factor(
        self: &Arc<Self>,
        call: &Call,
        user: UserId,
        removal: Removal,
    ) -> Result<(FactorRemover, Vec<Position>), Problem> {
        let given = removal.factor.given()?;
        if call.caller.user_id != user {
            let basis = self.authorise_at_latest(call, Permission::FactorRemove).await?;
            self.await_latest(Some(self.node.ledger(user))).await?;
            self.refuse_escalation_over(call.caller, user)?;
            self.assured_caller(call).await?;
            return Ok((FactorRemover::Administrator, basis));
        }
        let own = self.own_account(call, user).await?;
        let password = removal
            .password
            .ok_or_else(|| Problem::new(ProblemType::InvalidBody).field("password", "is missing"))?;
        self.prove_password(call, &own, &password).await?;
        if let Some(given) = given {
            self.step_up(call, &own, &given).await?;
        }
        let by = FactorRemover::Owner {
            session_id: own.session,
            credentials: own.state.credentials,
            password_stands_alone: password.chars().count() >= LEAST_ALONE,
        };
        Ok((by, Vec::new()))
    }

    /// Refuses a caller with a second factor who has shown none of late. Programs have none.
    pub async fn assured_caller(&self, call: &Call) -> Result<(), Problem> {
        let Some(session) = call.caller.session_id() else {
            return Ok(());
        };
        let refuses = |state: &domain::user::User| state.assured(session, Timestamp::now()).is_err();
        let state = self.state_of(call.caller.user_id, refuses).await?;
        let assured = state.assured(session, Timestamp::now());
        assured.map_err(|error| problem(BusError::Refused(error)))
    }
}
