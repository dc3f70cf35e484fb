//! Which grants end next: so that whoever owns a ledger need not look through its users for those
//! whose time has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use access::{Change, Grant, UserAccess};
use schemas::{GrantScope, RoleId, Timestamp, UserId};

/// A grant whose expiry has come, and of whose end no event tells yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueGrant {
    pub expires_at: Timestamp,
    pub user_id: UserId,
    pub role_id: RoleId,
    pub scope: Option<Arc<GrantScope>>,
}

/// The expiring grants of one partition's users, the first to end first.
#[derive(Default)]
pub(crate) struct Expiries(BTreeSet<DueGrant>);

impl Expiries {
    /// Before the user's `access` takes the change. A grant that goes for another reason than these stays here
    /// until somebody finds out when it is due.
    pub(crate) fn follow(&mut self, user_id: UserId, access: Option<&UserAccess>, change: &Change) {
        let (role_id, scope, next) = match change {
            Change::Granted {
                role_id,
                expires_at,
                scope,
            } => (*role_id, scope, *expires_at),
            Change::Revoked { role_id, scope } => (*role_id, scope, None),
            Change::Activated | Change::Deactivated | Change::Erased => return,
        };
        let at = |expires_at| DueGrant {
            expires_at,
            user_id,
            role_id,
            scope: scope.clone(),
        };
        let before = access.and_then(|access| access.grant_of(role_id, scope.as_deref()));
        if let Some(before) = before.and_then(Grant::expires_at) {
            self.0.remove(&at(before));
        }
        self.0.extend(next.map(at));
    }

    /// A user of a snapshot.
    pub(crate) fn restore(&mut self, user_id: UserId, access: &UserAccess) {
        let expiring = access.grants().iter().filter_map(|grant| {
            Some(DueGrant {
                expires_at: grant.expires_at()?,
                user_id,
                role_id: grant.role_id,
                scope: grant.shared_scope().cloned(),
            })
        });
        self.0.extend(expiring);
    }

    /// The first ones that have come to their end.
    pub(crate) fn due(&self, now: Timestamp, at_most: usize) -> Vec<DueGrant> {
        let due = self.0.iter().take_while(|grant| grant.expires_at <= now);
        due.take(at_most).cloned().collect()
    }

    pub(crate) fn forget(&mut self, grant: &DueGrant) {
        self.0.remove(grant);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let role = || (0..4_u128).prop_map(|number| RoleId::from_uuid(Uuid::from_u128(number)));
        let expiry = prop_oneof![Just(None), (0..9_i64).prop_map(|seconds| Some(at(seconds)))];
        let scope = || {
            let scope = (0..2_u8).prop_map(|id| GrantScope {
                resource: "document".to_owned(),
                id: Some(id.to_string()),
                is_prefix: false,
            });
            prop::option::of(scope.prop_map(Arc::new))
        };
        prop_oneof![
            2 => (role(), expiry, scope()).prop_map(|(role_id, expires_at, scope)| Change::Granted {
                role_id,
                expires_at,
                scope
            }),
            1 => (role(), scope()).prop_map(|(role_id, scope)| Change::Revoked { role_id, scope }),
        ]
    }

    proptest! {
        #[test]
        fn the_index_holds_what_looking_through_all_users_would_find(
            changes in prop::collection::vec((0..3_u128, any_change()), 0..60),
            now in 0..10_i64,
        ) {
            let mut users = std::collections::BTreeMap::<UserId, UserAccess>::new();
            let mut index = Expiries::default();
            for (user, change) in changes {
                let user = UserId::from_uuid(Uuid::from_u128(user));
                let access = users.entry(user).or_default();
                index.follow(user, Some(access), &change);
                access.apply(&change, at(0));
            }
            let mut restored = Expiries::default();
            users.iter().for_each(|(user, access)| restored.restore(*user, access));
            prop_assert_eq!(&index.0, &restored.0);
            let due = index.due(at(now), usize::MAX);
            prop_assert!(due.is_sorted());
            let ended = restored.0.iter().filter(|grant| grant.expires_at <= at(now));
            prop_assert_eq!(due.len(), ended.count());
            prop_assert_eq!(index.due(at(now), 1), due.into_iter().take(1).collect::<Vec<_>>());
        }
    }
}
