//! `role_permissions`: what a role has by itself. Detaching removes the row; the audit log keeps
//! what was.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use schemas::catalog::CatalogEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, RowError};

#[derive(Default)]
pub(super) struct RolePermissions {
    /// By role and permission; `None` was detached.
    rows: BTreeMap<(Uuid, Uuid), Option<Attached>>,
    touched: HashMap<Uuid, DateTime<Utc>>,
}

struct Attached {
    id: Uuid,
    granted_at: DateTime<Utc>,
    granted_by: Option<Uuid>,
}

impl RolePermissions {
    pub fn fold(&mut self, at: &At<'_>, event: &CatalogEvent) {
        match event {
            CatalogEvent::PermissionAttached(e) => {
                let attached = Attached {
                    id: at.meta.event_id.as_uuid(),
                    granted_at: at.time(),
                    granted_by: at.actor_id(),
                };
                self.rows
                    .insert((e.role_id.as_uuid(), e.permission_id.as_uuid()), Some(attached));
                self.touched.insert(e.role_id.as_uuid(), at.time());
            }
            CatalogEvent::PermissionDetached(e) => {
                self.rows
                    .insert((e.role_id.as_uuid(), e.permission_id.as_uuid()), None);
                self.touched.insert(e.role_id.as_uuid(), at.time());
            }
            // Attachments of what is deleted count for nothing by its deleted_at.
            CatalogEvent::RoleDeleted(_)
            | CatalogEvent::PermissionDeleted(_)
            | CatalogEvent::RoleDefined(_)
            | CatalogEvent::RoleChanged(_)
            | CatalogEvent::PermissionDefined(_)
            | CatalogEvent::BootstrapEpochRaised(_)
            | CatalogEvent::ExtentRecorded(_)
            | CatalogEvent::ApprovalRequested(_)
            | CatalogEvent::ApprovalGiven(_)
            | CatalogEvent::ApprovalRefused(_)
            | CatalogEvent::ApprovalWithdrawn(_)
            | CatalogEvent::ApprovalApplied(_)
            | CatalogEvent::ShardMapChanged(_) => {}
        }
    }

    /// Roles that give something else now, and since when.
    pub fn touched_roles(&self) -> HashMap<Uuid, DateTime<Utc>> {
        self.touched.clone()
    }

    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        let detached: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, it)| it.is_none())
            .map(|(key, _)| *key)
            .collect();
        if !detached.is_empty() {
            sqlx::query(
                "DELETE FROM role_permissions rp USING unnest($1::uuid[], $2::uuid[]) AS d (role_id, permission_id)
                 WHERE rp.role_id = d.role_id AND rp.permission_id = d.permission_id",
            )
            .bind(detached.iter().map(|(role, _)| *role).collect::<Vec<_>>())
            .bind(detached.iter().map(|(_, permission)| *permission).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
        }
        let attached: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(key, it)| Some((*key, it.as_ref()?)))
            .collect();
        if attached.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO role_permissions (id, role_id, permission_id, granted_at, granted_by)
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::uuid[])
             ON CONFLICT (role_id, permission_id) DO UPDATE SET
                 id = excluded.id, granted_at = excluded.granted_at, granted_by = excluded.granted_by",
        )
        .bind(attached.iter().map(|(_, it)| it.id).collect::<Vec<_>>())
        .bind(attached.iter().map(|((role, _), _)| *role).collect::<Vec<_>>())
        .bind(
            attached
                .iter()
                .map(|((_, permission), _)| *permission)
                .collect::<Vec<_>>(),
        )
        .bind(attached.iter().map(|(_, it)| it.granted_at).collect::<Vec<_>>())
        .bind(attached.iter().map(|(_, it)| it.granted_by).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }
}
