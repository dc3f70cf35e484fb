//! Changes of roles and permissions.

use rand::RngExt as _;
use serde_json::{Value, json};

use super::Actor;
use crate::record::Action;
use crate::shared::{ACT, any_permission, any_resource, any_role};

impl Actor {
    pub(super) async fn change_catalog(&mut self) {
        let (role, permission) = (any_role(&mut self.random), any_permission(&mut self.random));
        // Each definition says something new, so none is a repetition.
        let description = self.new_uuid().to_string();
        let (action, method, path, body) = match self.random.random_range(0..16) {
            0..3 => {
                let parent = self.random.random_ratio(1, 2).then(|| any_role(&mut self.random));
                let path = format!("/v1/roles/{role}");
                let body = json!({ "description": description, "parent": parent });
                (Action::DefineRole { name: role, parent }, "PUT", path, body)
            }
            3 => {
                let path = format!("/v1/roles/{role}");
                (Action::DeleteRole { name: role }, "DELETE", path, Value::Null)
            }
            4..7 => {
                let (path, resource) = (
                    format!("/v1/permissions/{permission}"),
                    any_resource(&mut self.random),
                );
                let body = json!({ "resource": resource, "action": ACT, "description": description });
                let name = permission;
                (Action::DefinePermission { name, resource }, "PUT", path, body)
            }
            7 => {
                let path = format!("/v1/permissions/{permission}");
                let name = permission;
                (Action::DeletePermission { name }, "DELETE", path, Value::Null)
            }
            number => {
                let path = format!("/v1/roles/{role}/permissions/{permission}");
                if number < 13 {
                    (Action::Attach { role, permission }, "PUT", path, Value::Null)
                } else {
                    (Action::Detach { role, permission }, "DELETE", path, Value::Null)
                }
            }
        };
        let admin = self.admin();
        self.command(action, |client| {
            let call = client.command(method, &path).bearer(&admin);
            if body.is_null() { call } else { call.json(&body) }
        })
        .await;
    }
}
