//! `roles` and `permissions`: this shard's copy of the catalog.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use schemas::catalog::{CatalogEvent, PermissionDefined, RoleChanged, RoleDefined};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, RowError, all_changed};

#[derive(Default)]
pub(super) struct Catalog {
    roles: BTreeMap<Uuid, Role>,
    permissions: BTreeMap<Uuid, Permission>,
}

#[derive(Default)]
struct Role {
    new: Option<NewRole>,
    /// `None` leaves a column as it is.
    text: Option<(Option<String>, Option<Uuid>)>,
    level: Option<i32>,
    deleted_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

struct NewRole {
    name: String,
    is_system_role: bool,
    created_at: DateTime<Utc>,
    created_by: Option<Uuid>,
}

#[derive(Default)]
struct Permission {
    defined: Option<(PermissionDefined, DateTime<Utc>)>,
    deleted_at: Option<DateTime<Utc>>,
    changed_at: DateTime<Utc>,
}

impl Catalog {
    pub fn fold(&mut self, at: &At<'_>, event: &CatalogEvent) {
        match event {
            CatalogEvent::RoleDefined(e) => self.role(at, e.role_id.as_uuid()).define(at, e),
            CatalogEvent::RoleChanged(e) => self.change_role(at, e),
            CatalogEvent::RoleDeleted(e) => self.role(at, e.role_id.as_uuid()).deleted_at = Some(at.time()),
            CatalogEvent::PermissionDefined(e) => {
                let permission = self.permission(at, e.permission_id.as_uuid());
                let since = permission.defined.as_ref().map_or(at.time(), |(_, since)| *since);
                permission.defined = Some((e.clone(), since));
            }
            CatalogEvent::PermissionDeleted(e) => {
                self.permission(at, e.permission_id.as_uuid()).deleted_at = Some(at.time());
            }
            // Rows of role_permissions.
            CatalogEvent::PermissionAttached(_) | CatalogEvent::PermissionDetached(_) => {}
            // Neither a role nor a permission.
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

    fn role(&mut self, at: &At<'_>, id: Uuid) -> &mut Role {
        let role = self.roles.entry(id).or_default();
        role.updated_at = at.time();
        role
    }

    fn permission(&mut self, at: &At<'_>, id: Uuid) -> &mut Permission {
        let permission = self.permissions.entry(id).or_default();
        permission.changed_at = at.time();
        permission
    }

    fn change_role(&mut self, at: &At<'_>, event: &RoleChanged) {
        let role = self.role(at, event.role_id.as_uuid());
        role.text = Some((event.description.clone(), event.parent_id.map(|id| id.as_uuid())));
        role.level = Some(event.level);
        for moved in &event.descendants {
            self.role(at, moved.role_id.as_uuid()).level = Some(moved.level);
        }
    }

    /// Deletions go first: a name may have passed to a new id in the same batch.
    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        self.update_roles(tx).await?;
        self.insert_roles(tx).await?;
        self.delete_permissions(tx).await?;
        self.upsert_permissions(tx).await
    }

    /// Raises `updated_at` of every role that gives something else now, and names them all.
    pub async fn touch_roles(
        &self,
        tx: &mut PgConnection,
        attached: HashMap<Uuid, DateTime<Utc>>,
    ) -> Result<Vec<Uuid>, RowError> {
        if self.roles.is_empty() && self.permissions.is_empty() && attached.is_empty() {
            return Ok(Vec::new());
        }
        let (roles, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = attached.into_iter().unzip();
        let mut changed: Vec<Uuid> = sqlx::query_scalar(
            "WITH touched (role_id, at) AS (
                 SELECT * FROM unnest($1::uuid[], $2::timestamptz[])
                 UNION ALL
                 SELECT rp.role_id, p.at FROM unnest($3::uuid[], $4::timestamptz[]) AS p (id, at)
                 JOIN role_permissions rp ON rp.permission_id = p.id)
             UPDATE roles SET updated_at = greatest(updated_at, t.at)
             FROM (SELECT role_id, max(at) AS at FROM touched GROUP BY role_id) t
             WHERE roles.id = t.role_id RETURNING roles.id",
        )
        .bind(roles)
        .bind(times)
        .bind(self.permissions.keys().copied().collect::<Vec<_>>())
        .bind(
            self.permissions
                .values()
                .map(|it| it.changed_at)
                .collect::<Vec<_>>(),
        )
        .fetch_all(tx)
        .await?;
        changed.extend(self.roles.keys());
        Ok(changed)
    }

    async fn update_roles(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        let rows: Vec<_> = self.roles.iter().filter(|(_, it)| it.new.is_none()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let each = || rows.iter().map(|(_, it)| it);
        let done = sqlx::query(
            "UPDATE roles SET
                 description = CASE WHEN c.sets_text THEN c.description ELSE roles.description END,
                 parent_role_id = CASE WHEN c.sets_text THEN c.parent_id ELSE roles.parent_role_id END,
                 level = coalesce(c.level, roles.level),
                 deleted_at = coalesce(c.deleted_at, roles.deleted_at), updated_at = c.updated_at
             FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::uuid[], $5::int4[], $6::timestamptz[],
                 $7::timestamptz[]) AS c (id, sets_text, description, parent_id, level, deleted_at, updated_at)
             WHERE roles.id = c.id",
        )
        .bind(rows.iter().map(|(id, _)| **id).collect::<Vec<_>>())
        .bind(each().map(|it| it.text.is_some()).collect::<Vec<_>>())
        .bind(each().map(|it| it.text.as_ref().and_then(|(text, _)| text.as_deref())).collect::<Vec<_>>())
        .bind(each().map(|it| it.text.as_ref().and_then(|(_, parent)| *parent)).collect::<Vec<_>>())
        .bind(each().map(|it| it.level).collect::<Vec<_>>())
        .bind(each().map(|it| it.deleted_at).collect::<Vec<_>>())
        .bind(each().map(|it| it.updated_at).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        all_changed("roles", rows.len(), done.rows_affected())
    }

    async fn insert_roles(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        let rows: Vec<_> = self
            .roles
            .iter()
            .filter_map(|(id, it)| Some((*id, it.new.as_ref()?, it)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let new = || rows.iter().map(|(_, new, _)| new);
        let now = || rows.iter().map(|(_, _, it)| it);
        sqlx::query(
            "INSERT INTO roles (id, name, is_system_role, created_at, created_by, description, parent_role_id, level,
                 deleted_at, updated_at)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bool[], $4::timestamptz[], $5::uuid[], $6::text[],
                 $7::uuid[], $8::int4[], $9::timestamptz[], $10::timestamptz[])",
        )
        .bind(rows.iter().map(|(id, _, _)| *id).collect::<Vec<_>>())
        .bind(new().map(|it| it.name.as_str()).collect::<Vec<_>>())
        .bind(new().map(|it| it.is_system_role).collect::<Vec<_>>())
        .bind(new().map(|it| it.created_at).collect::<Vec<_>>())
        .bind(new().map(|it| it.created_by).collect::<Vec<_>>())
        .bind(now().map(|it| it.text.as_ref().and_then(|(text, _)| text.as_deref())).collect::<Vec<_>>())
        .bind(now().map(|it| it.text.as_ref().and_then(|(_, parent)| *parent)).collect::<Vec<_>>())
        .bind(now().map(|it| it.level).collect::<Vec<_>>())
        .bind(now().map(|it| it.deleted_at).collect::<Vec<_>>())
        .bind(now().map(|it| it.updated_at).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }

    async fn delete_permissions(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        let deleted = |it: &Permission| it.deleted_at.filter(|_| it.defined.is_none());
        let rows: Vec<_> = self
            .permissions
            .iter()
            .filter_map(|(id, it)| Some((*id, deleted(it)?)))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = rows.into_iter().unzip();
        let done = sqlx::query(
            "UPDATE permissions SET deleted_at = d.at FROM unnest($1::uuid[], $2::timestamptz[]) AS d (id, at)
             WHERE permissions.id = d.id",
        )
        .bind(&ids)
        .bind(times)
        .execute(tx)
        .await?;
        all_changed("permissions", ids.len(), done.rows_affected())
    }

    async fn upsert_permissions(&self, tx: &mut PgConnection) -> Result<(), RowError> {
        let defined = self
            .permissions
            .values()
            .filter_map(|it| Some((it.defined.as_ref()?, it.deleted_at)));
        let rows: Vec<_> = defined.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let each = || rows.iter().map(|((event, _), _)| event);
        sqlx::query(
            "INSERT INTO permissions (id, name, resource, action, description, category, is_dangerous, created_at,
                 deleted_at)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bool[],
                 $8::timestamptz[], $9::timestamptz[])
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, resource = excluded.resource, action = excluded.action,
                 description = excluded.description, category = excluded.category,
                 is_dangerous = excluded.is_dangerous, deleted_at = excluded.deleted_at",
        )
        .bind(each().map(|it| it.permission_id.as_uuid()).collect::<Vec<_>>())
        .bind(each().map(|it| it.name.as_str()).collect::<Vec<_>>())
        .bind(each().map(|it| it.resource.as_str()).collect::<Vec<_>>())
        .bind(each().map(|it| it.action.as_str()).collect::<Vec<_>>())
        .bind(each().map(|it| it.description.as_deref()).collect::<Vec<_>>())
        .bind(each().map(|it| it.category.as_deref()).collect::<Vec<_>>())
        .bind(each().map(|it| it.is_dangerous).collect::<Vec<_>>())
        .bind(rows.iter().map(|((_, since), _)| *since).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, deleted_at)| *deleted_at).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl Role {
    fn define(&mut self, at: &At<'_>, event: &RoleDefined) {
        self.new = Some(NewRole {
            name: event.name.clone(),
            is_system_role: event.is_system_role,
            created_at: at.time(),
            created_by: at.actor_id(),
        });
        self.text = Some((event.description.clone(), event.parent_id.map(|id| id.as_uuid())));
        self.level = Some(event.level);
    }
}
