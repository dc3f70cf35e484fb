//! People who are erased.

use domain::ledger::ledger_of;
use schemas::user::*;
use schemas::*;

use super::History;

impl History {
    /// Erases somebody who has a passkey: the last that the log says of their ledger, in this partition.
    pub fn erase(&mut self) -> (UserId, (Stream, i32)) {
        let id = self.users[0].id;
        let began = self.log_in(0).unwrap();
        self.user_event(id, began);
        let session_id = *self.users[0].sessions.last().unwrap();
        let added = self.add_passkey(0, session_id);
        self.user_event(id, added);
        let revoked_sessions = std::mem::take(&mut self.users[0].sessions);
        self.user_event(id, UserEvent::Erased(UserErased { revoked_sessions }));
        (id, (Stream::Users, ledger_of(&id.to_string(), self.ledgers)))
    }
}
