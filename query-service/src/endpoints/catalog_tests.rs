//! Roles and permissions, from a real PostgreSQL.

use serde_json::json;

use crate::testing::{ADMIN, TestApp, one_shard, reach};

/// An editor is a reader too; a role and a permission are gone.
const CATALOG: &str = "
    INSERT INTO roles (id, name, description, is_system_role, parent_role_id, level, created_at, updated_at, created_by,
                       deleted_at)
    VALUES ('00000000-0000-0000-0000-000000000001', 'reader', 'reads all', false, NULL, 0, '2026-01-01Z', '2026-01-02Z',
            '00000000-0000-0000-0000-0000000000ad', NULL),
           ('00000000-0000-0000-0000-000000000002', 'editor', NULL, true,
            '00000000-0000-0000-0000-000000000001', 1, '2026-01-03Z', '2026-01-03Z', NULL, NULL),
           ('00000000-0000-0000-0000-000000000003', 'gone', NULL, false, NULL, 0, 'epoch', 'epoch', NULL, 'epoch');
    INSERT INTO permissions (id, name, resource, action, description, category, is_dangerous, created_at, deleted_at)
    VALUES ('00000000-0000-0000-0000-000000000011', 'b.write', 'article', 'write', NULL, NULL, true, '2026-01-01Z', NULL),
           ('00000000-0000-0000-0000-000000000012', 'a.read', 'article', 'read', 'reads', 'articles', false,
            '2026-01-02Z', NULL),
           ('00000000-0000-0000-0000-000000000013', 'c.burn', 'article', 'burn', NULL, NULL, false, 'epoch', 'epoch');
    INSERT INTO role_permissions (id, role_id, permission_id, granted_at, granted_by)
    VALUES ('00000000-0000-0000-0000-000000000021', '00000000-0000-0000-0000-000000000001',
            '00000000-0000-0000-0000-000000000012', '2026-01-04Z', '00000000-0000-0000-0000-0000000000ad'),
           ('00000000-0000-0000-0000-000000000022', '00000000-0000-0000-0000-000000000001',
            '00000000-0000-0000-0000-000000000013', '2026-01-05Z', NULL),
           ('00000000-0000-0000-0000-000000000023', '00000000-0000-0000-0000-000000000002',
            '00000000-0000-0000-0000-000000000011', '2026-01-06Z', NULL);";

#[tokio::test]
async fn roles_and_permissions_are_told_whole() {
    let (stack, dsn, pool) = one_shard().await;
    let test = TestApp::with_shard(&dsn, None);
    let answer = test.get("/v1/roles", ADMIN).await;
    assert_eq!(
        answer.slug(),
        "not-yet",
        "the shard has nothing of the catalog yet"
    );
    sqlx::raw_sql(CATALOG).execute(&pool).await.unwrap();
    let at = test.app.node.catalog_basis().unwrap();
    reach(&pool, at).await;

    let answer = test.get_at_least("/v1/roles", ADMIN, Some("latest")).await;
    let reader = json!({
        "id": "00000000-0000-0000-0000-000000000001", "name": "reader", "description": "reads all", "parent": null,
        "level": 0, "is_system_role": false, "permissions": ["a.read"],
        "attached": [{ "permission": "a.read", "granted_at": "2026-01-04T00:00:00.000000Z", "granted_by": ADMIN }],
        "created_at": "2026-01-01T00:00:00.000000Z", "updated_at": "2026-01-02T00:00:00.000000Z", "created_by": ADMIN,
    });
    let editor = json!({
        "id": "00000000-0000-0000-0000-000000000002", "name": "editor", "description": null, "parent": "reader",
        "level": 1, "is_system_role": true, "permissions": ["a.read", "b.write"],
        "attached": [{ "permission": "b.write", "granted_at": "2026-01-06T00:00:00.000000Z", "granted_by": null }],
        "created_at": "2026-01-03T00:00:00.000000Z", "updated_at": "2026-01-03T00:00:00.000000Z", "created_by": null,
    });
    assert_eq!(answer.body, json!({ "roles": [reader, editor] }));
    assert_eq!(answer.header("rolecall-token"), test.token_of(at));

    let answer = test.get("/v1/permissions", ADMIN).await;
    let read = json!({
        "id": "00000000-0000-0000-0000-000000000012", "name": "a.read", "resource": "article", "action": "read",
        "description": "reads", "category": "articles", "is_dangerous": false,
        "created_at": "2026-01-02T00:00:00.000000Z",
    });
    let write = json!({
        "id": "00000000-0000-0000-0000-000000000011", "name": "b.write", "resource": "article", "action": "write",
        "description": null, "category": null, "is_dangerous": true, "created_at": "2026-01-01T00:00:00.000000Z",
    });
    assert_eq!(answer.body, json!({ "permissions": [read, write] }));
    pool.close().await;
    stack.shutdown().await.unwrap();
}
