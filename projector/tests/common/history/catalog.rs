//! What happens to roles and permissions.

use rand::RngExt;
use schemas::catalog::*;
use schemas::*;

use super::History;

impl History {
    pub(super) fn change_catalog(&mut self) {
        match self.pick(7) {
            0 => self.define_role(),
            1 => self.define_permission(),
            2 | 3 => self.attach(),
            4 => self.detach(),
            5 => self.delete(),
            _ => self.redefine(),
        }
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}-{}", self.names)
    }

    pub(super) fn define_role(&mut self) {
        let role_id = RoleId::from_uuid(self.uuid());
        let parent_id = (!self.roles.is_empty() && self.rng.random_ratio(2, 3)).then(|| self.roles[0].0);
        let name = self.name("role");
        let level = i32::from(parent_id.is_some());
        self.roles.push((role_id, parent_id));
        let defined = RoleDefined {
            role_id,
            name,
            description: None,
            parent_id,
            level,
            is_system_role: false,
        };
        self.catalog_event(CatalogEvent::RoleDefined(defined));
    }

    pub(super) fn define_permission(&mut self) {
        let permission_id = PermissionId::from_uuid(self.uuid());
        self.permissions.push(permission_id);
        let name = self.name("permission");
        self.permission(permission_id, name);
    }

    fn permission(&mut self, permission_id: PermissionId, name: String) {
        let action = self.name("action");
        let (resource, is_dangerous) = ("document".to_owned(), false);
        let (description, category) = (Some("text".to_owned()), None);
        self.catalog_event(CatalogEvent::PermissionDefined(PermissionDefined {
            permission_id,
            name,
            resource,
            action,
            description,
            category,
            is_dangerous,
        }));
    }

    pub(super) fn attach(&mut self) {
        let role_id = self.some_role();
        let permission_id = self.some_permission();
        if !self.attached.contains(&(role_id, permission_id)) {
            self.attached.push((role_id, permission_id));
            self.catalog_event(CatalogEvent::PermissionAttached(PermissionAttached {
                role_id,
                permission_id,
            }));
        }
    }

    fn detach(&mut self) {
        if let Some((role_id, permission_id)) = self.attached.pop() {
            self.catalog_event(CatalogEvent::PermissionDetached(PermissionDetached {
                role_id,
                permission_id,
            }));
        }
    }

    fn delete(&mut self) {
        if self.roles.len() > 4 {
            let (role_id, _) = self.roles.pop().unwrap();
            self.attached.retain(|(role, _)| *role != role_id);
            for person in &mut self.users {
                person.grants.retain(|(role, _)| *role != role_id);
            }
            self.catalog_event(CatalogEvent::RoleDeleted(RoleDeleted {
                role_id,
                name: "gone".to_owned(),
            }));
        }
        if self.permissions.len() > 4 {
            let permission_id = self.permissions.pop().unwrap();
            self.attached
                .retain(|(_, permission)| *permission != permission_id);
            let name = "gone".to_owned();
            self.catalog_event(CatalogEvent::PermissionDeleted(PermissionDeleted {
                permission_id,
                name,
            }));
        }
    }

    fn redefine(&mut self) {
        let permission_id = self.some_permission();
        let name = self.name("renamed");
        self.permission(permission_id, name);
        let at = 1 + self.pick(self.roles.len() - 1);
        let (role_id, parent) = self.roles[at];
        let parent_id = if parent.is_some() {
            None
        } else {
            Some(self.roles[0].0)
        };
        self.roles[at].1 = parent_id;
        let level = i32::from(parent_id.is_some());
        let (description, descendants) = (Some("moved".to_owned()), vec![]);
        self.catalog_event(CatalogEvent::RoleChanged(RoleChanged {
            role_id,
            description,
            parent_id,
            level,
            descendants,
        }));
    }
}
