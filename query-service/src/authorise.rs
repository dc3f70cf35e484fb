//! Whether the caller may: decided by Rolecall's own access model.

use domain::access::Reason;
use domain::rolecall_permissions::Permission;
use schemas::{Timestamp, UserId};
use service_kit::auth::Caller;
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::freshness::not_yet;

impl App {
    /// Lets the caller pass who holds the permission.
    pub fn require(&self, caller: Caller, permission: Permission) -> Result<(), Problem> {
        let now = Timestamp::now();
        let (user, key) = (caller.user_id, caller.key_id());
        let held = self.check(user, key, permission.query(), now);
        if held.allowed {
            return Ok(());
        }
        // Their ledger began to lag since they were let in.
        if held.reason == Reason::NotCurrent {
            return Err(not_yet());
        }
        let needed = format!("this needs the permission {}", permission.name());
        Err(Problem::new(ProblemType::Forbidden).detail(needed))
    }

    /// Lets people pass where it is about themselves, others by permission.
    pub fn require_unless_self(
        &self,
        caller: Caller,
        about: UserId,
        permission: Permission,
    ) -> Result<(), Problem> {
        if caller.user_id == about {
            return Ok(());
        }
        self.require(caller, permission)
    }
}
