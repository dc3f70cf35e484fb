//! Service accounts, their roles and keys.

use rand::RngExt;
use schemas::identifier::*;
use schemas::user::*;
use schemas::*;

use super::History;

pub(super) struct Program {
    id: UserId,
    keys: Vec<KeyId>,
}

impl History {
    pub(super) fn happen_to_programs(&mut self) {
        if self.programs.is_empty() || self.rng.random_ratio(1, 8) {
            self.create_program();
            return;
        }
        let i = self.pick(self.programs.len());
        let id = self.programs[i].id;
        let event = match self.pick(4) {
            0 => UserEvent::RoleGranted(RoleGranted::of(self.some_role())),
            1 => match self.programs[i].keys.pop() {
                Some(key_id) => UserEvent::ServiceKeyRevoked(ServiceKeyRevoked { key_id }),
                None => return,
            },
            _ => self.issue_key(i),
        };
        self.user_event(id, event);
    }

    fn issue_key(&mut self, i: usize) -> UserEvent {
        let key_id = KeyId::from_uuid(self.uuid());
        self.programs[i].keys.push(key_id);
        let roles = match self.pick(3) {
            0 => None,
            1 => Some(vec![]),
            _ => Some(vec![self.some_role(), self.some_role()]),
        };
        let until = Timestamp::from_micros(self.clock + 9_000_000);
        UserEvent::ServiceKeyIssued(ServiceKeyIssued {
            key_id,
            nonce: self.sealed(44),
            key_hash: Sha256Digest(self.rng.random()),
            roles,
            expires_at: self.rng.random_ratio(1, 2).then_some(until),
        })
    }

    fn create_program(&mut self) {
        let user_id = UserId::from_uuid(self.uuid());
        let claim_id = ClaimId::from_uuid(self.uuid());
        let (kind, index) = (
            IdentifierKind::Username,
            BlindIndex(Sha256Digest(self.rng.random())),
        );
        let index_key_id = "key".to_owned();
        let reserved = IdentifierReserved {
            kind,
            user_id,
            claim_id,
            expires_at: Timestamp::from_micros(self.clock + 60_000_000),
            index_key_id: index_key_id.clone(),
        };
        self.identifier_event(index, IdentifierEvent::Reserved(reserved));
        let created = ServiceAccountCreated {
            user_id,
            claim_id,
            username: self.sealed(36),
            username_index: index,
        };
        self.user_event(user_id, UserEvent::ServiceAccountCreated(created));
        let confirmed = IdentifierConfirmed {
            kind,
            user_id,
            claim_id,
            index_key_id,
        };
        self.identifier_event(index, IdentifierEvent::Confirmed(confirmed));
        self.programs.push(Program {
            id: user_id,
            keys: vec![],
        });
    }
}
