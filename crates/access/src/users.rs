//! Everybody's rights in memory.
//!
//! Most people have few roles, for good: they take 32 bytes each and a byte of the table's own, which is 38 to 76
//! bytes by how full the table is. Whoever has more than that lies apart.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable, hash_table};
use ids::{GrantScope, Timestamp, UserId};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::CompiledCatalog;
use crate::check::Held;
use crate::numbers::{NO_ROLE, RoleNumbers};
use crate::user_access::{Change, Grant, NEVER, Standing, UserAccess};

/// Each with a lock of its own, so that checks seldom meet a change, or each other.
const SHARDS: usize = 64;
/// Roles of a packed user.
const FEW: usize = 3;
/// A packed user's number of no role.
const NONE: u16 = u16::MAX;

#[derive(Default)]
pub(crate) struct Users {
    numbers: RoleNumbers,
    hasher: DefaultHashBuilder,
    shards: Shards,
}

struct Shards(Box<[RwLock<Shard>]>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

/// With the catalog, so that one lock holds a user and the catalog that the user's grants refer to.
#[derive(Default)]
pub(crate) struct Shard {
    catalog: Arc<CompiledCatalog>,
    /// A user is in one of the two.
    packed: HashTable<Packed>,
    others: HashMap<UserId, Unpacked>,
}

/// Few roles, none of which expires or is limited, and none with a large number. Aligned, so that a check reads one line of the
/// processor's cache and not two.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Packed {
    user: UserId,
    ledger: i32,
    /// In the order of their ids, [`NONE`] behind them.
    roles: [u16; FEW],
    standing: Standing,
}

#[derive(Debug)]
pub(crate) struct Unpacked {
    ledger: i32,
    standing: Standing,
    /// In the order of their keys.
    grants: Box<[Kept]>,
}

/// A grant of somebody unpacked.
#[derive(Debug)]
struct Kept {
    role: u32,
    until: i64,
    scope: Option<Arc<GrantScope>>,
}

/// A user as found in a shard.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Packed(Packed),
    Unpacked(&'a Unpacked),
    Nobody,
}

impl Users {
    pub(crate) fn numbers(&self) -> &RoleNumbers {
        &self.numbers
    }

    /// In each shard in turn.
    pub(crate) fn set_catalog(&self, catalog: &Arc<CompiledCatalog>) {
        for shard in &self.shards.0 {
            shard.write().catalog = Arc::clone(catalog);
        }
    }

    pub(crate) fn hash(&self, user: UserId) -> u64 {
        self.hasher.hash_one(user)
    }

    /// Tables go by the lowest and the highest bits.
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        let number = usize::try_from(hash >> 40).unwrap_or(0) % SHARDS;
        &self.shards.0[number]
    }

    pub(crate) fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard> {
        self.shard(hash).read()
    }

    /// True for a user not heard of before.
    pub(crate) fn apply(&self, user: UserId, ledger: i32, change: Option<&Change>, at: Timestamp) -> bool {
        let hash = self.hash(user);
        let mut shard = self.shard(hash).write();
        let found = shard.find(hash, user);
        let is_new = matches!(found, Found::Nobody);
        if change.is_some() || is_new {
            let mut access = self.unpack(found).unwrap_or_default();
            if let Some(change) = change {
                access.apply(change, at);
            }
            self.put(&mut shard, hash, user, ledger, &access);
        }
        is_new
    }

    /// In the place of what was known; true for a user not heard of before.
    pub(crate) fn insert(&self, user: UserId, ledger: i32, access: &UserAccess) -> bool {
        let hash = self.hash(user);
        let mut shard = self.shard(hash).write();
        let is_new = matches!(shard.find(hash, user), Found::Nobody);
        self.put(&mut shard, hash, user, ledger, access);
        is_new
    }

    fn put(&self, shard: &mut Shard, hash: u64, user: UserId, ledger: i32, access: &UserAccess) {
        let standing = access.standing();
        let grants = access.grants().iter();
        let held = grants.map(|grant| grant.held(self.numbers.of(grant.role_id)));
        let Shard { packed, others, .. } = shard;
        match few(held.clone()) {
            Some(roles) => {
                others.remove(&user);
                let new = Packed {
                    user,
                    ledger,
                    roles,
                    standing,
                };
                let hash_of = |it: &Packed| self.hasher.hash_one(it.user);
                match packed.entry(hash, |it| it.user == user, hash_of) {
                    hash_table::Entry::Occupied(mut entry) => *entry.get_mut() = new,
                    hash_table::Entry::Vacant(entry) => {
                        entry.insert(new);
                    }
                }
            }
            None => {
                if let Ok(entry) = packed.find_entry(hash, |it| it.user == user) {
                    entry.remove();
                }
                let new = Unpacked {
                    ledger,
                    standing,
                    grants: held.map(Kept::of).collect(),
                };
                others.insert(user, new);
            }
        }
    }

    pub(crate) fn unpack(&self, found: Found<'_>) -> Option<UserAccess> {
        let numbers = self.numbers.read();
        let grant = |held: Held<'_>| Some(Grant::of(numbers.id(held.role)?, held));
        let standing = found.standing()?;
        Some(match found {
            Found::Packed(user) => UserAccess::from_ordered(standing, user.grants().filter_map(grant)),
            Found::Unpacked(user) => UserAccess::from_ordered(standing, user.grants().filter_map(grant)),
            Found::Nobody => return None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.0.iter().map(|shard| shard.read().len()).sum()
    }

    /// Looks at everybody, one shard after the other.
    pub(crate) fn of_ledger(&self, ledger: i32) -> Vec<UserId> {
        let mut found = Vec::new();
        for shard in &self.shards.0 {
            let shard = shard.read();
            let packed = shard.packed.iter().map(|user| (user.user, user.ledger));
            let others = shard.others.iter().map(|(id, user)| (*id, user.ledger));
            let all = packed.chain(others);
            found.extend(all.filter(|(_, of)| *of == ledger).map(|(id, _)| id));
        }
        found
    }
}

impl Shard {
    pub(crate) fn find(&self, hash: u64, user: UserId) -> Found<'_> {
        match self.packed(hash, user) {
            Some(found) => Found::Packed(found),
            None => self.other(user),
        }
    }

    pub(crate) fn packed(&self, hash: u64, user: UserId) -> Option<Packed> {
        self.packed.find(hash, |it| it.user == user).copied()
    }

    /// Who is not packed.
    pub(crate) fn other(&self, user: UserId) -> Found<'_> {
        self.others.get(&user).map_or(Found::Nobody, Found::Unpacked)
    }

    pub(crate) fn catalog(&self) -> &Arc<CompiledCatalog> {
        &self.catalog
    }

    fn len(&self) -> usize {
        self.packed.len() + self.others.len()
    }
}

impl Found<'_> {
    /// `None` for nobody.
    pub(crate) fn standing(self) -> Option<Standing> {
        match self {
            Self::Packed(user) => Some(user.standing),
            Self::Unpacked(user) => Some(user.standing),
            Self::Nobody => None,
        }
    }

    pub(crate) fn ledger(self) -> Option<i32> {
        match self {
            Self::Packed(user) => Some(user.ledger),
            Self::Unpacked(user) => Some(user.ledger),
            Self::Nobody => None,
        }
    }
}

impl Packed {
    pub(crate) fn grants(&self) -> impl DoubleEndedIterator<Item = Held<'static>> + use<> {
        self.roles.into_iter().map(|role| Held {
            role: if role == NONE { NO_ROLE } else { u32::from(role) },
            until: NEVER,
            scope: None,
        })
    }
}

impl Unpacked {
    pub(crate) fn grants(&self) -> impl DoubleEndedIterator<Item = Held<'_>> {
        self.grants.iter().map(|kept| Held {
            role: kept.role,
            until: kept.until,
            scope: kept.scope.as_ref(),
        })
    }
}

impl Kept {
    fn of(held: Held<'_>) -> Self {
        Self {
            role: held.role,
            until: held.until,
            scope: held.scope.cloned(),
        }
    }
}

/// The roles of a user who can be packed.
fn few<'a>(mut grants: impl ExactSizeIterator<Item = Held<'a>>) -> Option<[u16; FEW]> {
    let mut roles = [NONE; FEW];
    for (place, held) in roles.iter_mut().zip(&mut grants) {
        *place = u16::try_from(held.role).ok().filter(|role| *role != NONE)?;
        if held.until != NEVER || held.scope.is_some() {
            return None;
        }
    }
    (grants.len() == 0).then_some(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_with_few_roles_takes_as_little_as_said() {
        assert_eq!(size_of::<Packed>(), 32);
        let held = |role, until| Held {
            role,
            until,
            scope: None,
        };
        let packed = |roles: &[u32]| few(roles.iter().map(|&role| held(role, NEVER)));
        assert_eq!(packed(&[]), Some([NONE; FEW]));
        assert_eq!(packed(&[7, 0, 65_534]), Some([7, 0, 65_534]));
        assert_eq!(packed(&[1, 2, 3, 4]), None);
        assert_eq!(packed(&[65_535]), None);
        assert_eq!(packed(&[NO_ROLE]), None);
        assert_eq!(few(std::iter::once(held(1, 5))), None);
        let scope = Arc::new(GrantScope {
            resource: "document".to_owned(),
            id: None,
            is_prefix: false,
        });
        let limited = Held {
            scope: Some(&scope),
            ..held(1, NEVER)
        };
        assert_eq!(few(std::iter::once(limited)), None);
    }
}
