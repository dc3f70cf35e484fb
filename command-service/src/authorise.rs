//! Whether the caller may: decided by Rolecall's own access model.

use std::time::Duration;

use domain::access::{ActionIndex, CompiledCatalog, UserAccess};
use domain::rolecall_permissions::{Permission, RESOURCE};
use schemas::{KeyId, Position, RoleId, Stream, Timestamp, UserId};
use service_kit::at_least::AtLeast;
use service_kit::auth::{Authenticate, Caller, SessionState};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::call::Call;

/// How long a request waits for the node to apply what it must rest on.
const WAIT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(1);

impl App {
    /// Lets the caller pass who holds the permission, as of what the request demands. Gives the
    /// positions that the decision relied on.
    pub async fn authorise(&self, call: &Call, permission: Permission) -> Result<Vec<Position>, Problem> {
        self.await_demanded(call).await?;
        self.require(call.caller, permission)
    }

    /// As [`Self::authorise`], for changes of rights: decided on everything that is in the log at
    /// this moment, so that an administrator revoked a moment ago on another instance changes
    /// nothing any more, nor does one whose session ended a moment ago.
    pub async fn authorise_at_latest(
        &self,
        call: &Call,
        permission: Permission,
    ) -> Result<Vec<Position>, Problem> {
        self.await_demanded(call).await?;
        self.await_latest(Some(self.node.ledger(call.caller.user_id)))
            .await?;
        self.require_live_session(call)?;
        self.require(call.caller, permission)
    }

    /// Brings the node to everything that is in the log at this moment, of everybody, and looks at the caller's session
    /// again.
    pub async fn reach_latest(&self, call: &Call) -> Result<(), Problem> {
        self.await_demanded(call).await?;
        self.await_latest(None).await?;
        self.require_live_session(call)
    }

    /// Lets people pass on their own account, others by permission.
    pub async fn authorise_self_or(
        &self,
        call: &Call,
        user: UserId,
        permission: Permission,
    ) -> Result<Vec<Position>, Problem> {
        if call.caller.user_id == user {
            self.await_demanded(call).await?;
            return Ok(Vec::new());
        }
        self.authorise(call, permission).await
    }

    /// Lets people pass on their own account, and nobody else.
    pub async fn own(&self, call: &Call, user: UserId) -> Result<(), Problem> {
        self.await_demanded(call).await?;
        if call.caller.user_id == user {
            return call.caller.session().map(drop);
        }
        Err(Problem::new(ProblemType::Forbidden).detail("only its owner does this"))
    }

    /// Waits for what the caller demands. It may be the very event that ended the caller's session,
    /// so the session is looked at again.
    pub async fn await_demanded(&self, call: &Call) -> Result<(), Problem> {
        let demanded = &call.open.at_least;
        if demanded.token.is_none() && !demanded.latest {
            return Ok(());
        }
        self.await_at_least(demanded).await?;
        self.require_live_session(call)
    }

    /// Looks at the session again, after the node has read on.
    fn require_live_session(&self, call: &Call) -> Result<(), Problem> {
        let caller = call.caller;
        match self.standing_of(caller) {
            SessionState::Live => Ok(()),
            SessionState::Ended | SessionState::UserInactive => Err(caller.ended()),
            SessionState::Unknown => Err(Problem::new(ProblemType::NotYet).retry_after(SOON)),
        }
    }

    pub async fn await_at_least(&self, at_least: &AtLeast) -> Result<(), Problem> {
        if let Some(token) = &at_least.token {
            let wanted: Vec<_> = token.positions().collect();
            self.node.wait_for_logged(&wanted, WAIT).await.map_err(not_yet)?;
        }
        if at_least.latest {
            self.await_latest(None).await?;
        }
        Ok(())
    }

    /// Waits until the node has applied what is in the log now: of all ledgers, or of one.
    pub async fn await_latest(&self, ledger: Option<i32>) -> Result<(), Problem> {
        let mut wanted = self
            .node
            .latest()
            .await
            .map_err(|error| Problem::unavailable(&error))?;
        if let Some(ledger) = ledger {
            wanted.retain(|p| p.stream == Stream::Catalog || p.partition == ledger);
        }
        self.bus.without_markers(&mut wanted);
        self.node.wait_for(&wanted, WAIT).await.map_err(not_yet)
    }

    pub fn require(&self, who: impl Into<Whose>, permission: Permission) -> Result<Vec<Position>, Problem> {
        let who = who.into();
        let basis = self.node.basis(who.user);
        if self.holds(who, permission) {
            return Ok(basis);
        }
        Err(Problem::new(ProblemType::Forbidden)
            .detail(format!("this needs the permission {}", permission.name())))
    }

    pub fn holds(&self, who: impl Into<Whose>, permission: Permission) -> bool {
        let (Whose { user, key }, now) = (who.into(), Timestamp::now());
        let query = permission.query();
        let decision = match key {
            None => self.node.check(user, query, now),
            Some(key) => self.node.check_with_key(user, key, query, now),
        };
        decision.allowed
    }

    /// Nobody gives rights over Rolecall that they do not hold, nor for longer: each `rolecall`
    /// permission that the role gives must be the caller's own, until `expires_at` or for good.
    pub fn refuse_escalation(
        &self,
        caller: impl Into<Whose>,
        role: RoleId,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Problem> {
        let catalog = self.node.catalog();
        let given = own_rights(&catalog).filter(|(_, action)| gives(&catalog, role, *action));
        self.refuse_beyond(caller.into(), &catalog, given, Held::until(expires_at))
    }

    /// As [`Self::refuse_escalation`], for one permission by name, which is given for good.
    pub fn refuse_escalation_by(&self, caller: impl Into<Whose>, permission: &str) -> Result<(), Problem> {
        let catalog = self.node.catalog();
        let given = own_rights(&catalog).filter(|(name, _)| *name == permission);
        self.refuse_beyond(caller.into(), &catalog, given, Held::ForGood)
    }

    /// As [`Self::refuse_escalation`], for a key that gives what the role does. Its issuer alone could use it, so what
    /// takes two people to give must be theirs as well.
    pub fn refuse_key_beyond(
        &self,
        caller: impl Into<Whose>,
        role: RoleId,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Problem> {
        let catalog = self.node.catalog();
        let own = own_rights(&catalog).filter(|(_, action)| gives(&catalog, role, *action));
        let role = catalog.role(role).into_iter();
        let given = own.chain(role.flat_map(|role| catalog.dangers_of(role)));
        self.refuse_beyond(caller.into(), &catalog, given, Held::until(expires_at))
    }

    /// Nobody takes over the account of somebody with more rights in Rolecall, nor one with rights that take two people
    /// to give.
    pub fn refuse_escalation_over(&self, caller: Caller, user: UserId) -> Result<(), Problem> {
        let more = |p: &Permission| self.holds(user, *p) && !self.holds(caller, *p);
        if let Some(permission) = Permission::ALL.into_iter().find(more) {
            return Err(escalation(permission.name(), Held::Not));
        }
        let Some(found) = self.node.user(user) else {
            return Ok(());
        };
        let (catalog, now) = (self.node.catalog(), Timestamp::now());
        let live = found.access.grants().iter().filter(|grant| grant.is_live(now));
        let roles = live.filter_map(|grant| catalog.role(grant.role_id));
        let dangers = roles.flat_map(|role| catalog.dangers_of(role));
        self.refuse_beyond(caller.into(), &catalog, dangers, Held::Until(now))
    }

    fn refuse_beyond<'a>(
        &self,
        Whose { user, key }: Whose,
        catalog: &'a CompiledCatalog,
        mut given: impl Iterator<Item = (&'a str, ActionIndex)>,
        wanted: Held,
    ) -> Result<(), Problem> {
        let now = Timestamp::now();
        let found = match key {
            None => self.node.user(user),
            Some(key) => self.node.user_with_key(user, key, now),
        };
        let access = found.map(|user| user.access);
        let held = |action| held(catalog, access.as_ref(), action, now);
        match given.find(|(_, action)| held(*action) < wanted) {
            Some((permission, action)) => Err(escalation(permission, held(action))),
            None => Ok(()),
        }
    }

    /// End of every users partition: what an event that adds rights to a role must be applied
    /// behind, so that no reader sees the new right together with an older grant.
    pub async fn users_basis(&self) -> Result<Vec<Position>, Problem> {
        let mut ends = self
            .node
            .latest()
            .await
            .map_err(|error| Problem::unavailable(&error))?;
        ends.retain(|p| p.stream == Stream::Users);
        Ok(ends)
    }
}

/// Whose rights count: all of a user's, or as far as a key of a service account goes.
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    user: UserId,
    key: Option<KeyId>,
}

impl From<Caller> for Whose {
    fn from(caller: Caller) -> Self {
        let (user, key) = (caller.user_id, caller.key_id());
        Self { user, key }
    }
}

impl From<UserId> for Whose {
    fn from(user: UserId) -> Self {
        Self { user, key: None }
    }
}

/// How long somebody holds a permission; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Not,
    Until(Timestamp),
    ForGood,
}

impl Held {
    fn until(expires_at: Option<Timestamp>) -> Self {
        expires_at.map_or(Self::ForGood, Self::Until)
    }
}

/// By the grant that gives it longest, and everywhere.
fn held(catalog: &CompiledCatalog, access: Option<&UserAccess>, action: ActionIndex, now: Timestamp) -> Held {
    let grants = access.filter(|user| user.is_active()).map(UserAccess::grants);
    let giving = grants
        .into_iter()
        .flatten()
        .filter(|grant| grant.is_live(now) && grant.scope().is_none())
        .filter(|grant| gives(catalog, grant.role_id, action));
    giving
        .map(|grant| Held::until(grant.expires_at()))
        .max()
        .unwrap_or(Held::Not)
}

/// Rolecall's own permissions, as far as the catalog has them.
fn own_rights(catalog: &CompiledCatalog) -> impl Iterator<Item = (&str, ActionIndex)> {
    Permission::ALL
        .into_iter()
        .filter_map(|permission| Some((permission.name(), catalog.action(RESOURCE, permission.action())?)))
}

fn gives(catalog: &CompiledCatalog, role: RoleId, action: ActionIndex) -> bool {
    catalog
        .role(role)
        .is_some_and(|role| catalog.allows(role, action))
}

fn escalation(permission: &str, held: Held) -> Problem {
    let detail = match held {
        Held::Until(end) => format!("you hold {permission} until {end} only"),
        Held::Not | Held::ForGood => format!("you do not hold {permission} yourself"),
    };
    Problem::new(ProblemType::Escalation).detail(detail)
}

fn not_yet(error: access_node::NotYet) -> Problem {
    Problem::new(ProblemType::NotYet)
        .detail(error.to_string())
        .retry_after(SOON)
}
