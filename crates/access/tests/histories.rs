//! Whatever happened, the engine answers as the plain reading of roles, parents and grants does.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::{
    CatalogView, Change, Engine, Grant, PermissionView, Query, Reason, RoleView, Standing, UserAccess, check,
    resources,
};
use ids::{GrantScope, PermissionId, RoleId, Timestamp, UserId};
use proptest::prelude::*;
use uuid::Uuid;

const USERS: u128 = 3;
/// More than a word of bits.
const ROLES: u8 = 70;
const RESOURCES: [&str; 3] = ["invoice", "order", "unknown"];
const ACTIONS: [&str; 3] = ["read", "write", "unknown"];

fn user(number: u128) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number))
}

fn role(number: u8) -> RoleId {
    // Not in the order of the numbers.
    RoleId::from_uuid(Uuid::from_u128(u128::from(number.reverse_bits())))
}

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Roles by number.
#[derive(Clone, Debug, Default)]
struct Catalog(BTreeMap<u8, Role>);

#[derive(Clone, Debug)]
struct Role {
    /// Of a smaller number.
    parent: Option<u8>,
    /// Resources and actions that it has by itself.
    own: Vec<(usize, usize)>,
}

impl Catalog {
    fn allows(&self, number: u8, resource: &str, action: &str) -> bool {
        let Some(Role { parent, own }) = self.0.get(&number) else {
            return false;
        };
        let has = |&(r, a): &(usize, usize)| (RESOURCES[r], ACTIONS[a]) == (resource, action);
        own.iter().any(has) || parent.is_some_and(|parent| self.allows(parent, resource, action))
    }

    fn level(&self, number: u8) -> i32 {
        let parent = self.0.get(&number).and_then(|role| role.parent);
        parent.map_or(0, |parent| self.level(parent) + 1)
    }

    fn set(&self, engine: &Engine) {
        let pairs = || (0..2).flat_map(|resource| (0..2).map(move |action| (resource, action)));
        let id = |(r, a): (usize, usize)| PermissionId::from_uuid(Uuid::from_u128((r * 2 + a) as u128));
        let names: Vec<_> = pairs().map(|(r, a)| format!("{r}.{a}")).collect();
        let permissions = pairs().zip(&names).map(|((r, a), name)| PermissionView {
            id: id((r, a)),
            name,
            resource: RESOURCES[r],
            action: ACTIONS[a],
            is_dangerous: false,
        });
        let titles: Vec<_> = self.0.keys().map(|number| format!("r{number}")).collect();
        let roles = self
            .0
            .iter()
            .zip(&titles)
            .map(|((number, Role { parent, own }), name)| RoleView {
                id: role(*number),
                name,
                parent: parent.map(role),
                level: self.level(*number),
                is_system_role: false,
                permissions: own.iter().copied().map(id).collect(),
            });
        engine.set_catalog(&CatalogView {
            permissions: permissions.collect(),
            roles: roles.collect(),
            dangerous: Vec::new(),
        });
    }
}

/// A user as told, without any order or number.
#[derive(Clone, Debug, Default)]
struct Person {
    standing: Standing,
    grants: BTreeMap<(RoleId, Option<GrantScope>), (u8, Option<Timestamp>)>,
}

#[derive(Clone, Debug)]
enum Told {
    Catalog(Catalog),
    /// Of a user, by number of the role.
    Granted(u128, u8, Option<Timestamp>, Option<GrantScope>),
    Revoked(u128, u8, Option<GrantScope>),
    Standing(u128, Change),
    Nothing(u128),
    /// As a snapshot has them.
    Again(u128),
}

impl Person {
    fn reason(
        &self,
        catalog: &Catalog,
        query: Query<'_>,
        within: Option<&[RoleId]>,
        now: Timestamp,
    ) -> Reason {
        match self.standing {
            Standing::Unregistered => return Reason::UnknownUser,
            Standing::Inactive => return Reason::Inactive,
            Standing::Active => {}
        }
        if query.resource == "unknown" || query.action == "unknown" {
            return Reason::NoSuchPermission;
        }
        let counts = |id: &RoleId| within.is_none_or(|roles| roles.contains(id));
        let giving = || {
            self.grants.iter().filter(|((id, _), (number, _))| {
                counts(id) && catalog.allows(*number, query.resource, query.action)
            })
        };
        let first = |is_here: bool, is_live: bool| {
            let found = giving().find(|((_, scope), (_, expires_at))| {
                is_within(scope.as_ref(), query) == is_here && expires_at.is_none_or(|at| now < at) == is_live
            });
            found.map(|((role_id, _), _)| *role_id)
        };
        match (first(true, true), first(true, false), first(false, true)) {
            (Some(role_id), _, _) => Reason::Granted { role_id },
            (None, Some(role_id), _) => Reason::Expired { role_id },
            (None, None, Some(role_id)) => Reason::OutOfScope { role_id },
            (None, None, None) => Reason::NoGrant,
        }
    }

    fn access(&self) -> UserAccess {
        let grants = self.grants.iter().rev();
        UserAccess::new(
            self.standing,
            grants.map(|((id, scope), (_, expires_at))| {
                Grant::new(*id, *expires_at, scope.clone().map(Arc::new))
            }),
        )
    }
}

fn is_within(scope: Option<&GrantScope>, query: Query<'_>) -> bool {
    let Some(scope) = scope else { return true };
    let is_id = match (scope.id.as_deref(), query.id) {
        (None, _) => true,
        (Some(of), Some(id)) => id == of || scope.is_prefix && id.starts_with(of),
        (Some(_), None) => false,
    };
    scope.resource == query.resource && is_id
}

fn any_scope() -> impl Strategy<Value = Option<GrantScope>> {
    let id = prop_oneof![
        Just((None, false)),
        Just((Some("1"), false)),
        Just((Some("1"), true))
    ];
    let scope = (0..2_usize, id).prop_map(|(resource, (id, is_prefix))| GrantScope {
        resource: RESOURCES[resource].to_owned(),
        id: id.map(ToOwned::to_owned),
        is_prefix,
    });
    prop::option::of(scope)
}

fn any_catalog() -> impl Strategy<Value = Catalog> {
    let own = prop::collection::vec((0..2_usize, 0..2_usize), 0..2);
    let roles = prop::collection::btree_map(0..ROLES, (any::<prop::sample::Index>(), own), 0..20);
    roles.prop_map(|roles| {
        let numbers: Vec<u8> = roles.keys().copied().collect();
        let with_parent = roles
            .into_iter()
            .enumerate()
            .map(|(place, (number, (index, own)))| {
                // Half of those that can have a parent have one.
                let parent = index.index(2 * place + 1);
                let parent = numbers[..place].get(parent).copied();
                (number, Role { parent, own })
            });
        Catalog(with_parent.collect())
    })
}

fn any_told() -> impl Strategy<Value = Told> {
    let (who, what) = (|| 0..USERS, || 0..ROLES);
    let expiry = prop_oneof![2 => Just(None), 1 => (0..9_i64).prop_map(|seconds| Some(at(seconds)))];
    let standing = prop_oneof![
        8 => Just(Change::Activated),
        2 => Just(Change::Deactivated),
        1 => Just(Change::Erased),
    ];
    prop_oneof![
        2 => any_catalog().prop_map(Told::Catalog),
        9 => (who(), what(), expiry, any_scope())
            .prop_map(|(user, role, at, scope)| Told::Granted(user, role, at, scope)),
        4 => (who(), what(), any_scope()).prop_map(|(user, role, scope)| Told::Revoked(user, role, scope)),
        4 => (who(), standing).prop_map(|(user, change)| Told::Standing(user, change)),
        1 => who().prop_map(Told::Nothing),
        1 => who().prop_map(Told::Again),
    ]
}

/// As told to the engine, and to the plain model.
#[derive(Default)]
struct World {
    engine: Engine,
    catalog: Catalog,
    people: BTreeMap<u128, Person>,
}

impl World {
    fn tell(&mut self, told: &Told) {
        match told {
            Told::Catalog(catalog) => {
                catalog.set(&self.engine);
                self.catalog = catalog.clone();
            }
            Told::Granted(number, what, expires_at, scope) => {
                let (role_id, expires_at) = (role(*what), *expires_at);
                let granted = Change::Granted {
                    role_id,
                    expires_at,
                    scope: scope.clone().map(Arc::new),
                };
                self.change(*number, Some(granted));
                let grants = &mut self.people.entry(*number).or_default().grants;
                grants.insert((role_id, scope.clone()), (*what, expires_at));
            }
            Told::Revoked(number, what, scope) => {
                let role_id = role(*what);
                let revoked = Change::Revoked {
                    role_id,
                    scope: scope.clone().map(Arc::new),
                };
                self.change(*number, Some(revoked));
                let grants = &mut self.people.entry(*number).or_default().grants;
                grants.remove(&(role_id, scope.clone()));
            }
            Told::Standing(number, change) => {
                self.change(*number, Some(change.clone()));
                let person = self.people.entry(*number).or_default();
                person.standing = match change {
                    Change::Activated => Standing::Active,
                    _ => Standing::Inactive,
                };
                if *change == Change::Erased {
                    person.grants.clear();
                }
            }
            Told::Nothing(number) => {
                self.change(*number, None);
                self.people.entry(*number).or_default();
            }
            Told::Again(number) => {
                if let Some(person) = self.people.get(number) {
                    assert!(
                        !self
                            .engine
                            .insert(user(*number), ledger(*number), &person.access())
                    );
                }
            }
        }
    }

    fn change(&self, number: u128, change: Option<Change>) {
        let is_new = self
            .engine
            .apply(user(number), ledger(number), change.as_ref(), at(0));
        assert_eq!(is_new, !self.people.contains_key(&number));
    }
}

fn queries() -> impl Iterator<Item = Query<'static>> {
    let ids = [None, Some("1"), Some("12"), Some("2")];
    RESOURCES.into_iter().flat_map(move |resource| {
        let of = move |action| ids.into_iter().map(move |id| Query { resource, id, action });
        ACTIONS.into_iter().flat_map(of)
    })
}

fn ledger(number: u128) -> i32 {
    i32::from(number % 2 == 1)
}

proptest! {
    #[test]
    fn the_engine_equals_the_plain_model(
        history in prop::collection::vec(any_told(), 0..60),
        within in prop::collection::vec((0..ROLES).prop_map(role), 0..30),
    ) {
        let mut world = World::default();
        // The permissions are always there.
        world.tell(&Told::Catalog(Catalog::default()));
        for told in &history {
            world.tell(told);
            for number in 0..USERS {
                let (asked, person) = (world.engine.ask(user(number)), world.people.get(&number));
                prop_assert_eq!(asked.access(), person.map(Person::access));
                prop_assert_eq!(asked.ledger(), person.map(|_| ledger(number)));
                let person = person.cloned().unwrap_or_default();
                prop_assert_eq!(asked.is_active(), person.standing == Standing::Active);
                let (access, catalog) = (asked.access().unwrap_or_default(), asked.catalog());
                for query in queries().filter(|query| query.id.is_some()) {
                    let found = resources(&catalog, &access, query.resource, query.action, at(5));
                    let id = query.id.unwrap_or_default();
                    let covers = found.all
                        || found.ids.contains(id)
                        || found.prefixes.iter().any(|prefix| id.starts_with(prefix));
                    prop_assert_eq!(asked.check(query, at(5)).allowed, covers, "{:?} {:?}", query, found);
                }
                for query in queries() {
                    for now in [at(0), Timestamp::from_micros(4_999_999), at(5), at(9)] {
                        let expected = person.reason(&world.catalog, query, None, now);
                        prop_assert_eq!(asked.check(query, now), expected.into());
                        prop_assert_eq!(
                            check(&asked.catalog(), asked.access().as_ref(), query, now),
                            expected.into()
                        );
                        let limited = person.reason(&world.catalog, query, Some(&within), now);
                        prop_assert_eq!(asked.check_within(&within, query, now), limited.into());
                    }
                }
            }
        }
        prop_assert_eq!(world.engine.user_count(), world.people.len());
        for of in 0..2 {
            let mut found = world.engine.users_of(of);
            found.sort();
            let expected = world.people.keys().filter(|number| ledger(**number) == of);
            prop_assert_eq!(found, expected.map(|number| user(*number)).collect::<Vec<_>>());
        }
    }
}
