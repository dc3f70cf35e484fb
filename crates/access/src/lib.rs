//! Who may do what: the access model of Rolecall, as a library without I/O.
//!
//! The services' memory, replay and tests use it, and so can any program that wants Rolecall's answers without asking
//! a service: tell the [`Engine`] the roles and what happened to users, then ask. Any number of threads ask at once,
//! also while others tell it something.
//!
//! ```
//! use access::{CatalogView, Change, Engine, PermissionView, Query, Reason, RoleView};
//! use ids::{PermissionId, RoleId, Timestamp, UserId};
//!
//! let (reader, editor, read) = (RoleId::new_v7(), RoleId::new_v7(), PermissionId::new_v7());
//! let engine = Engine::default();
//! engine.set_catalog(&CatalogView {
//!     permissions: vec![PermissionView {
//!         id: read,
//!         name: "article.read",
//!         resource: "article",
//!         action: "read",
//!         is_dangerous: false,
//!     }],
//!     roles: vec![
//!         RoleView { id: reader, name: "reader", parent: None, level: 0, is_system_role: false, permissions: vec![read] },
//!         // An editor may do what a reader may.
//!         RoleView { id: editor, name: "editor", parent: Some(reader), level: 1, is_system_role: false, permissions: vec![] },
//!     ],
//!     dangerous: vec![],
//! });
//!
//! let (alice, now, ledger) = (UserId::new_v7(), Timestamp::now(), 0);
//! let reads = Query { resource: "article", id: Some("7"), action: "read" };
//! assert_eq!(engine.check(alice, reads, now).reason, Reason::UnknownUser);
//!
//! engine.apply(alice, ledger, Some(&Change::Activated), now);
//! engine.apply(alice, ledger, Some(&Change::Granted { role_id: editor, expires_at: None, scope: None }), now);
//! let decision = engine.check(alice, reads, now);
//! assert!(decision.allowed);
//! assert_eq!(decision.reason, Reason::Granted { role_id: editor });
//!
//! engine.apply(alice, ledger, Some(&Change::Revoked { role_id: editor, scope: None }), now);
//! assert_eq!(engine.check(alice, reads, now).reason, Reason::NoGrant);
//! ```
//!
//! What a check costs depends neither on the number of roles, permissions and other users nor on its answer: one
//! look-up of the user, one of the resource and action, and a bit for each role that the user was granted. Nothing is
//! allocated.
//!
//! To add what a grant may depend on: put it into [`Grant`] and [`Change`]; whoever has such grants is not among those
//! packed in `users.rs`; decide on it in `check.rs`.

mod actions;
mod bits;
mod check;
mod compiled;
mod effective;
mod engine;
mod numbers;
mod resources;
mod user_access;
mod users;
mod view;

use ids::RoleId;
use serde::{Deserialize, Serialize};

pub use check::check;
pub use compiled::{ActionIndex, CompiledCatalog, CompiledPermission, CompiledRole};
pub use effective::{effective_permissions, effective_roles};
pub use engine::{Asked, Engine};
pub use numbers::RoleNumbers;
pub use resources::{Resources, resources};
pub use user_access::{Change, Grant, MAX_GRANTS, Standing, UserAccess};
pub use view::{CatalogView, PermissionView, RoleView};

/// What is asked about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Resource type.
    pub resource: &'a str,
    /// `None` asks about no certain resource: grants that are limited to some do not count.
    pub id: Option<&'a str>,
    pub action: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By a grant of this role, itself or by what it inherits; of several, that with the smallest id.
    Granted {
        role_id: RoleId,
    },
    UnknownUser,
    Inactive,
    /// No living permission has this resource and action: nobody is allowed.
    NoSuchPermission,
    /// A grant of this role would have allowed it until it expired.
    Expired {
        role_id: RoleId,
    },
    /// A grant of this role allows it, for other resources.
    OutOfScope {
        role_id: RoleId,
    },
    NoGrant,
    /// Not decided: the node lacks events of the user that others rest on already.
    NotCurrent,
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self {
            allowed: matches!(reason, Reason::Granted { .. }),
            reason,
        }
    }
}
