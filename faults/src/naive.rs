//! Who may do what, by reading the log from its beginning, event by event: slow, plain, and with
//! nothing of the code that answers checks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;

use ::tests::History;
use schemas::catalog::CatalogEvent;
use schemas::user::UserEvent;
use schemas::{Event, GrantScope, PermissionId, RoleId, SessionId, Stream, UserId};

use crate::shared::ACT;

/// The catalog after one of its events.
#[derive(Clone, Default)]
pub struct Catalog {
    /// Name and parent of each living role.
    roles: HashMap<RoleId, (String, Option<RoleId>)>,
    /// Name, resource and action of each living permission.
    permissions: HashMap<PermissionId, (String, String, String)>,
    attached: HashSet<(RoleId, PermissionId)>,
}

/// A user after one of their events.
#[derive(Clone, Default)]
pub struct User {
    pub is_active: bool,
    /// A role under a scope is another grant than the role without one.
    pub grants: HashSet<(RoleId, Option<GrantScope>)>,
    pub sessions: HashSet<SessionId>,
}

impl Catalog {
    fn apply(&mut self, event: &CatalogEvent) {
        match event {
            CatalogEvent::RoleDefined(it) => {
                self.roles.insert(it.role_id, (it.name.clone(), it.parent_id));
            }
            CatalogEvent::RoleChanged(it) => {
                if let Some((_, parent)) = self.roles.get_mut(&it.role_id) {
                    *parent = it.parent_id;
                }
            }
            CatalogEvent::RoleDeleted(it) => {
                self.roles.remove(&it.role_id);
                self.attached.retain(|(role, _)| *role != it.role_id);
            }
            CatalogEvent::PermissionDefined(it) => {
                let about = (it.name.clone(), it.resource.clone(), it.action.clone());
                self.permissions.insert(it.permission_id, about);
            }
            CatalogEvent::PermissionDeleted(it) => {
                self.permissions.remove(&it.permission_id);
                self.attached
                    .retain(|(_, permission)| *permission != it.permission_id);
            }
            CatalogEvent::PermissionAttached(it) => {
                self.attached.insert((it.role_id, it.permission_id));
            }
            CatalogEvent::PermissionDetached(it) => {
                self.attached.remove(&(it.role_id, it.permission_id));
            }
            // Of the log itself: nobody gains or loses by them.
            CatalogEvent::BootstrapEpochRaised(_)
            | CatalogEvent::ExtentRecorded(_)
            | CatalogEvent::ApprovalRequested(_)
            | CatalogEvent::ApprovalGiven(_)
            | CatalogEvent::ApprovalRefused(_)
            | CatalogEvent::ApprovalWithdrawn(_)
            | CatalogEvent::ApprovalApplied(_)
            | CatalogEvent::ShardMapChanged(_) => {}
        }
    }

    fn gives(&self, role: RoleId, resource: &str) -> bool {
        let Some((_, parent)) = self.roles.get(&role) else {
            return false;
        };
        let own = self.attached.iter().any(|(of, permission)| {
            let about = self.permissions.get(permission);
            *of == role && about.is_some_and(|(_, about, action)| about == resource && action == ACT)
        });
        own || parent.is_some_and(|parent| self.gives(parent, resource))
    }

    /// By the names that both have at this moment.
    pub fn has_attached(&self, role: &str, permission: &str) -> bool {
        self.attached.iter().any(|(role_id, permission_id)| {
            self.roles.get(role_id).is_some_and(|(name, _)| name == role)
                && self
                    .permissions
                    .get(permission_id)
                    .is_some_and(|(name, ..)| name == permission)
        })
    }

    pub fn role(&self, name: &str) -> Option<RoleId> {
        let mut roles = self.roles.iter();
        roles.find(|(_, (of_role, _))| of_role == name).map(|(id, _)| *id)
    }
}

impl User {
    fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered(_) | UserEvent::ServiceAccountCreated(_) | UserEvent::Reactivated(_) => {
                self.is_active = true
            }
            UserEvent::Deactivated(_) => {
                self.is_active = false;
                self.sessions.clear();
            }
            UserEvent::Erased(_) => {
                self.is_active = false;
                self.sessions.clear();
                self.grants.clear();
            }
            UserEvent::RoleGranted(it) => {
                self.grants.insert((it.role_id, it.scope.clone()));
            }
            UserEvent::RoleRevoked(it) => {
                self.grants.remove(&(it.role_id, it.scope.clone()));
            }
            UserEvent::RoleGrantExpired(it) => {
                self.grants.remove(&(it.role_id, it.scope.clone()));
            }
            UserEvent::LoggedIn(it) => {
                self.sessions.insert(it.session_id);
            }
            UserEvent::SessionRevoked(it) => {
                self.sessions.remove(&it.session_id);
            }
            UserEvent::RefreshReuseDetected(it) => {
                self.sessions.remove(&it.session_id);
            }
            UserEvent::SessionsRevoked(it) => it.session_ids.iter().for_each(|id| self.forget(*id)),
            UserEvent::PasswordChanged(it) => it.revoked_sessions.iter().for_each(|id| self.forget(*id)),
            UserEvent::ClaimAbandoned(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::SessionRefreshed(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::PasskeyCloneSuspected(_) => {}
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// No grant of a campaign expires while it runs.
    pub fn may(&self, catalog: &Catalog, resource: &str) -> bool {
        let mut everywhere = self.grants.iter().filter(|(_, scope)| scope.is_none());
        self.is_active && everywhere.any(|(role, _)| catalog.gives(*role, resource))
    }
}

/// What stood when.
pub struct Past {
    catalog: States<Catalog>,
    users: HashMap<UserId, States<User>>,
    /// Before the first event.
    nothing: (Catalog, User),
}

impl Past {
    pub fn of(history: &History) -> Self {
        let mut past = Self {
            catalog: BTreeMap::new(),
            users: HashMap::new(),
            nothing: Default::default(),
        };
        for ((at, stored), record) in history.events.iter().zip(&history.records) {
            match &stored.data {
                Event::Catalog(event) if at.stream == Stream::Catalog => {
                    let mut next = last(&past.catalog);
                    next.apply(event);
                    past.catalog.insert(at.offset, (record.timestamp_ms, next));
                }
                Event::User(event) => {
                    let Ok(user) = stored.meta.aggregate_id.parse() else {
                        continue;
                    };
                    let states = past.users.entry(user).or_default();
                    let mut next = last(states);
                    next.apply(event);
                    states.insert(at.offset, (record.timestamp_ms, next));
                }
                _ => {}
            }
        }
        past
    }

    pub fn catalog_at(&self, offset: i64) -> &Catalog {
        at(&self.catalog, offset).unwrap_or(&self.nothing.0)
    }

    pub fn user_at(&self, user: UserId, offset: i64) -> &User {
        let states = self.users.get(&user);
        states.and_then(|it| at(it, offset)).unwrap_or(&self.nothing.1)
    }

    /// The catalog as it was at `offset`, and as it became until that moment.
    pub fn catalogs(&self, offset: i64, until_ms: i64) -> Vec<&Catalog> {
        let then = since(&self.catalog, offset, until_ms);
        iter::once(self.catalog_at(offset)).chain(then).collect()
    }

    /// As [`Self::catalogs`].
    pub fn states(&self, user: UserId, offset: i64, until_ms: i64) -> Vec<&User> {
        let states = self.users.get(&user).into_iter();
        let then = states.flat_map(|it| since(it, offset, until_ms));
        iter::once(self.user_at(user, offset)).chain(then).collect()
    }
}

/// By the offset of the event that made it, with the broker's stamp.
type States<T> = BTreeMap<i64, (i64, T)>;

fn at<T>(states: &States<T>, offset: i64) -> Option<&T> {
    let state = states.range(..=offset).next_back();
    state.map(|(_, (_, state))| state)
}

fn since<T>(states: &States<T>, offset: i64, until_ms: i64) -> impl Iterator<Item = &T> {
    let then = states.range(offset + 1..).map(|(_, state)| state);
    then.take_while(move |(stamp, _)| *stamp <= until_ms)
        .map(|(_, state)| state)
}

fn last<T: Clone + Default>(states: &States<T>) -> T {
    let state = states.last_key_value();
    state.map(|(_, (_, state))| state.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_at_an_offset_and_what_it_became() {
        let states = BTreeMap::from([(3, (10, 1)), (5, (20, 2)), (9, (30, 3))]);
        let window = |offset, until| {
            (
                at(&states, offset).copied(),
                Vec::from_iter(since(&states, offset, until).copied()),
            )
        };
        assert_eq!(window(2, 5), (None, vec![]));
        assert_eq!(window(3, 10), (Some(1), vec![]));
        assert_eq!(window(4, 25), (Some(1), vec![2]));
        assert_eq!(window(9, 1_000), (Some(3), vec![]));
    }
}
