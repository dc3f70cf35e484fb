//! Everybody's rights and the catalog they refer to: told from one side, asked from the other.

use std::sync::Arc;

use ids::{RoleId, Timestamp, UserId};
use parking_lot::{Mutex, RwLockReadGuard};

use crate::check::{Holder, decide};
use crate::users::{Found, Packed, Shard, Users};
use crate::{CatalogView, Change, CompiledCatalog, Decision, Query, Standing, UserAccess};

/// Answers from memory. Whoever tells it of a user tells the same `ledger` each time: the part of the log that the
/// user's events stand in, kept here since working it out takes longer than a check. It decides nothing.
#[derive(Default)]
pub struct Engine {
    users: Users,
    /// As all shards of users have it, or will in a moment.
    catalog: Mutex<Arc<CompiledCatalog>>,
}

/// A user and the catalog at one moment. Changes to this user, and to some others, wait until it is dropped: keep it
/// for no longer than an answer takes, and ask for no other meanwhile.
pub struct Asked<'a> {
    engine: &'a Engine,
    user: UserId,
    packed: Option<Packed>,
    shard: RwLockReadGuard<'a, Shard>,
}

impl Engine {
    /// Users are asked about with it from then on; some may be already while this runs.
    pub fn set_catalog(&self, catalog: &CatalogView<'_>) {
        let compiled = Arc::new(CompiledCatalog::of(catalog, self.users.numbers()));
        // Held until all have it: of two catalogs told at once, one is everybody's in the end.
        let mut current = self.catalog.lock();
        self.users.set_catalog(&compiled);
        *current = compiled;
    }

    pub fn catalog(&self) -> Arc<CompiledCatalog> {
        Arc::clone(&self.catalog.lock())
    }

    /// What happened to the user at that time; `None`: something that changes no rights. True for a user not heard of
    /// before.
    pub fn apply(&self, user: UserId, ledger: i32, change: Option<&Change>, at: Timestamp) -> bool {
        self.users.apply(user, ledger, change, at)
    }

    /// In the place of what was known of the user; true for one not heard of before.
    pub fn insert(&self, user: UserId, ledger: i32, access: &UserAccess) -> bool {
        self.users.insert(user, ledger, access)
    }

    /// Whether the user may; decided on what is known at this moment.
    pub fn check(&self, user: UserId, query: Query<'_>, now: Timestamp) -> Decision {
        self.ask(user).check(query, now)
    }

    pub fn ask(&self, user: UserId) -> Asked<'_> {
        let hash = self.users.hash(user);
        let shard = self.users.read(hash);
        Asked {
            engine: self,
            user,
            packed: shard.packed(hash, user),
            shard,
        }
    }

    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Looks at everybody.
    pub fn users_of(&self, ledger: i32) -> Vec<UserId> {
        self.users.of_ledger(ledger)
    }
}

impl Asked<'_> {
    pub fn check(&self, query: Query<'_>, now: Timestamp) -> Decision {
        self.decide(None, query, now)
    }

    /// As [`Self::check`], for who may use grants of these roles alone.
    pub fn check_within(&self, roles: &[RoleId], query: Query<'_>, now: Timestamp) -> Decision {
        self.decide(Some(roles), query, now)
    }

    fn decide(&self, within: Option<&[RoleId]>, query: Query<'_>, now: Timestamp) -> Decision {
        let found = self.found();
        let standing = found.standing().unwrap_or_default();
        let reason = match found {
            Found::Packed(user) => {
                let grants = user.grants();
                let user = Holder {
                    standing,
                    grants,
                    within,
                };
                decide(self.shard.catalog(), user, query, now)
            }
            Found::Unpacked(user) => {
                let grants = user.grants();
                let user = Holder {
                    standing,
                    grants,
                    within,
                };
                decide(self.shard.catalog(), user, query, now)
            }
            Found::Nobody => {
                let grants = std::iter::empty();
                let user = Holder {
                    standing,
                    grants,
                    within,
                };
                decide(self.shard.catalog(), user, query, now)
            }
        };
        reason.into()
    }

    /// `None` for a user not heard of.
    pub fn ledger(&self) -> Option<i32> {
        self.found().ledger()
    }

    pub fn is_active(&self) -> bool {
        self.found().standing() == Some(Standing::Active)
    }

    /// `None` for a user not heard of.
    pub fn access(&self) -> Option<UserAccess> {
        self.engine.users.unpack(self.found())
    }

    pub fn catalog(&self) -> Arc<CompiledCatalog> {
        Arc::clone(self.shard.catalog())
    }

    fn found(&self) -> Found<'_> {
        match self.packed {
            Some(packed) => Found::Packed(packed),
            None => self.shard.other(self.user),
        }
    }
}
