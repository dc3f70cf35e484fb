//! The permissions of the built-in resource `rolecall`: what calls to Rolecall itself need.

use access::Query;
use schemas::{PermissionId, RoleId};
use uuid::Uuid;

use crate::catalog::{AttachPermission, CatalogCommand, DefinePermission, DefineRole};

/// Their resource, and the prefix of their names.
pub const RESOURCE: &str = "rolecall";
/// The system role that has them all.
pub const ADMINISTRATOR: &str = "administrator";

/// Built-in ids derive from names, so every log has the same ones.
const NAMESPACE: Uuid = Uuid::from_u128(0x9d0c_52f1_5b7e_4a43_8c1d_6f2e_0a94_b3d7);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Where registration is not open to everyone.
    UserRegister,
    /// Many at once, with hashes made elsewhere.
    UserImport,
    UserRead,
    UserUpdate,
    UserDeactivate,
    UserReactivate,
    UserUnlock,
    /// Take away the second factors of somebody who lost them.
    FactorRemove,
    UserErase,
    SessionRead,
    SessionRevoke,
    RoleGrant,
    RoleRevoke,
    RoleDefine,
    RoleDelete,
    PermissionDefine,
    PermissionDelete,
    PermissionAttach,
    PermissionDetach,
    CatalogRead,
    /// The evaluation calls.
    AccessCheck,
    TokenIntrospect,
    AuditRead,
    ShardMapChange,
    /// Create one. What it may then do is granted like to anybody.
    ServiceAccountCreate,
    ServiceKeyIssue,
    ServiceKeyRevoke,
}

impl Permission {
    pub const ALL: [Self; 27] = [
        Self::UserRegister,
        Self::UserImport,
        Self::UserRead,
        Self::UserUpdate,
        Self::UserDeactivate,
        Self::UserReactivate,
        Self::UserUnlock,
        Self::FactorRemove,
        Self::UserErase,
        Self::SessionRead,
        Self::SessionRevoke,
        Self::RoleGrant,
        Self::RoleRevoke,
        Self::RoleDefine,
        Self::RoleDelete,
        Self::PermissionDefine,
        Self::PermissionDelete,
        Self::PermissionAttach,
        Self::PermissionDetach,
        Self::CatalogRead,
        Self::AccessCheck,
        Self::TokenIntrospect,
        Self::AuditRead,
        Self::ShardMapChange,
        Self::ServiceAccountCreate,
        Self::ServiceKeyIssue,
        Self::ServiceKeyRevoke,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::UserRegister => "rolecall.user_register",
            Self::UserImport => "rolecall.user_import",
            Self::UserRead => "rolecall.user_read",
            Self::UserUpdate => "rolecall.user_update",
            Self::UserDeactivate => "rolecall.user_deactivate",
            Self::UserReactivate => "rolecall.user_reactivate",
            Self::UserUnlock => "rolecall.user_unlock",
            Self::FactorRemove => "rolecall.factor_remove",
            Self::UserErase => "rolecall.user_erase",
            Self::SessionRead => "rolecall.session_read",
            Self::SessionRevoke => "rolecall.session_revoke",
            Self::RoleGrant => "rolecall.role_grant",
            Self::RoleRevoke => "rolecall.role_revoke",
            Self::RoleDefine => "rolecall.role_define",
            Self::RoleDelete => "rolecall.role_delete",
            Self::PermissionDefine => "rolecall.permission_define",
            Self::PermissionDelete => "rolecall.permission_delete",
            Self::PermissionAttach => "rolecall.permission_attach",
            Self::PermissionDetach => "rolecall.permission_detach",
            Self::CatalogRead => "rolecall.catalog_read",
            Self::AccessCheck => "rolecall.access_check",
            Self::TokenIntrospect => "rolecall.token_introspect",
            Self::AuditRead => "rolecall.audit_read",
            Self::ShardMapChange => "rolecall.shard_map_change",
            Self::ServiceAccountCreate => "rolecall.service_account_create",
            Self::ServiceKeyIssue => "rolecall.service_key_issue",
            Self::ServiceKeyRevoke => "rolecall.service_key_revoke",
        }
    }

    /// The name behind its prefix.
    pub fn action(self) -> &'static str {
        self.name().split_once('.').map_or("", |(_, action)| action)
    }

    /// About no certain resource: who may do it for some only may not.
    pub fn query(self) -> Query<'static> {
        Query {
            resource: RESOURCE,
            id: None,
            action: self.action(),
        }
    }

    fn id(self) -> PermissionId {
        PermissionId::from_uuid(Uuid::new_v5(&NAMESPACE, self.name().as_bytes()))
    }
}

/// Whether only Rolecall itself may define this. The prefix of the names is kept free for
/// permissions to come, which must not meet one that somebody's roles hold already.
pub(crate) fn is_reserved(permission_name: &str, resource: &str) -> bool {
    let prefix = permission_name.split_once('.').map(|(prefix, _)| prefix);
    resource == RESOURCE || prefix == Some(RESOURCE)
}

/// Id of [`ADMINISTRATOR`].
pub fn administrator_role_id() -> RoleId {
    RoleId::from_uuid(Uuid::new_v5(&NAMESPACE, ADMINISTRATOR.as_bytes()))
}

/// What a log's catalog must hold. Run at each start: nothing is recorded where nothing is missing.
pub fn bootstrap_commands() -> Vec<CatalogCommand> {
    let role = CatalogCommand::DefineRole(DefineRole {
        role_id: administrator_role_id(),
        name: ADMINISTRATOR.to_owned(),
        description: Some("May do everything in Rolecall".to_owned()),
        parent: None,
        is_system_role: true,
    });
    let permissions = Permission::ALL.into_iter().flat_map(|permission| {
        [
            CatalogCommand::DefinePermission(DefinePermission {
                permission_id: permission.id(),
                name: permission.name().to_owned(),
                resource: RESOURCE.to_owned(),
                action: permission.action().to_owned(),
                description: None,
                category: Some(RESOURCE.to_owned()),
                // The first administrator is alone: no second person could approve what he gives.
                is_dangerous: false,
                system: true,
            }),
            CatalogCommand::AttachPermission(AttachPermission {
                role: ADMINISTRATOR.to_owned(),
                permission: permission.name().to_owned(),
                system: true,
            }),
        ]
    });
    [role].into_iter().chain(permissions).collect()
}

#[cfg(test)]
mod tests {
    use access::{Change, RoleNumbers, UserAccess, check};

    use super::*;
    use crate::catalog::Catalog;
    use crate::testing::{Given, NOW, given};

    fn bootstrapped() -> Given<Catalog> {
        bootstrap_commands().into_iter().fold(given([]), Given::and)
    }

    #[test]
    fn the_administrator_may_do_everything_in_rolecall() {
        let catalog = bootstrapped().state().compile(&RoleNumbers::default());
        let role_id = administrator_role_id();
        let mut user = UserAccess::default();
        user.apply(&Change::Activated, NOW);
        user.apply(
            &Change::Granted {
                role_id,
                expires_at: None,
                scope: None,
            },
            NOW,
        );
        for permission in Permission::ALL {
            let decision = check(&catalog, Some(&user), permission.query(), NOW);
            assert!(decision.allowed, "{}", permission.name());
        }
    }

    #[test]
    fn bootstrapping_twice_records_nothing() {
        for command in bootstrap_commands() {
            bootstrapped().when(command).then_nothing();
        }
    }

    /// Frozen: a log bootstrapped by an older release has this role.
    #[test]
    fn the_administrator_role_has_the_same_id_in_every_log() {
        assert_eq!(
            administrator_role_id().to_string(),
            "88728d70-036c-5a27-aaa5-863034028580"
        );
    }
}
