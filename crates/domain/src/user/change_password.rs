//! Change the password; sessions other than the asking one end with it.

use schemas::user::{PasswordChanged, UserEvent};
use schemas::{Sealed, SessionId};
use serde::{Deserialize, Serialize};

use super::{Error, User};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePassword {
    pub password_hash: Sealed,
    /// [`User::credentials`] that the old password was checked against.
    pub credentials: i64,
    /// The session that asks for the change.
    pub keep: Option<SessionId>,
}

impl Decide<User> for ChangePassword {
    fn decide(self, user: &User, ctx: &Context) -> Result<Vec<UserEvent>, Error> {
        user.active()?;
        if self.credentials != user.credentials {
            return Err(Error::CredentialsChanged);
        }
        Ok(vec![UserEvent::PasswordChanged(PasswordChanged {
            password_hash: self.password_hash,
            revoked_sessions: user.live_session_ids(ctx.now, self.keep),
        })])
    }
}
