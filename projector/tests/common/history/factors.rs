//! Second factors that come and go.

use schemas::user::*;
use schemas::*;

use super::History;

impl History {
    /// At times two events of one kind in a row, as the rows must bear.
    pub(super) fn change_factors(&mut self, i: usize) -> Option<UserEvent> {
        let session_id = *self.users[i].sessions.last()?;
        let at = Timestamp::from_micros(self.clock);
        let choice = self.pick(6);
        Some(match choice {
            0 => UserEvent::TotpEnrolmentStarted(TotpEnrolmentStarted {
                secret: self.sealed(60),
                expires_at: at,
            }),
            1 => UserEvent::TotpEnabled(TotpEnabled {
                session_id,
                totp_step: self.clock / 30_000_000,
                enabled_at: at,
                recovery_code_nonce: self.sealed(60),
                recovery_code_hashes: vec![Sha256Digest([7; 32])],
            }),
            2 => UserEvent::TotpDisabled(TotpDisabled {
                by_administrator: true,
            }),
            3 | 4 => self.add_passkey(i, session_id),
            _ => UserEvent::PasskeyRemoved(PasskeyRemoved {
                credential_id: self.users[i].passkeys.pop()?,
                by_administrator: false,
            }),
        })
    }

    pub(super) fn add_passkey(&mut self, i: usize, session_id: SessionId) -> UserEvent {
        let credential_id = CredentialId::from_uuid(self.uuid());
        self.users[i].passkeys.push(credential_id);
        UserEvent::PasskeyAdded(PasskeyAdded {
            credential_id,
            credential_index: BlindIndex(Sha256Digest([8; 32])),
            passkey: self.sealed(400),
            name: self.sealed(40),
            signature_counter: 0,
            is_backed_up: true,
            ceremony_id: self.uuid().into(),
            session_id,
            added_at: Timestamp::from_micros(self.clock),
        })
    }
}
