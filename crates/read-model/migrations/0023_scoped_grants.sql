-- A grant may be limited to a resource type, and to one id of it or to ids that begin alike. The same role under another
-- scope is another grant, so the scope is part of what is unique: empty texts stand for what it does not have.
ALTER TABLE user_roles
    ADD scope_resource text NOT NULL DEFAULT '',
    ADD scope_id text NOT NULL DEFAULT '',
    ADD scope_is_prefix boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT user_roles_user_id_role_id_key,
    ADD CONSTRAINT user_roles_one_per_scope UNIQUE (user_id, role_id, scope_resource, scope_id, scope_is_prefix);

GRANT SELECT (scope_resource, scope_id, scope_is_prefix) ON user_roles TO rolecall_query, rolecall_reader;

-- As before, of grants without limits alone: what a user may do everywhere. What counts for some resources only is decided
-- by a check, and seen in user_roles.
CREATE OR REPLACE FUNCTION refresh_user_role_cache(concerned uuid[]) RETURNS void LANGUAGE sql AS $$
    WITH RECURSIVE held AS MATERIALIZED (
        SELECT u.id, u.ledger, u.username, u.email, u.is_active, u.rights_changed_at,
               ARRAY(SELECT ur.role_id FROM user_roles ur WHERE ur.user_id = u.id AND ur.is_active
                         AND ur.scope_resource = ''
                     ORDER BY ur.role_id) AS roles
        FROM unnest(concerned) AS c (id) JOIN users u ON u.id = c.id AND u.deleted_at IS NULL
    ),
    sets AS MATERIALIZED (SELECT DISTINCT roles FROM held),
    member (roles, role_id) AS (
        SELECT s.roles, r.role_id FROM sets s CROSS JOIN LATERAL unnest(s.roles) AS r (role_id)
        UNION
        SELECT m.roles, r.parent_role_id FROM member m JOIN roles r ON r.id = m.role_id
        WHERE r.parent_role_id IS NOT NULL AND r.deleted_at IS NULL
    ),
    changed AS (
        SELECT m.roles, max(r.updated_at) AS at FROM member m JOIN roles r ON r.id = m.role_id GROUP BY m.roles
    ),
    rights AS (
        SELECT m.roles, array_agg(DISTINCT p.name::text ORDER BY p.name::text) AS names,
               array_agg(DISTINCT p.resource || ':' || p.action ORDER BY p.resource || ':' || p.action) AS actions
        FROM member m
        JOIN roles r ON r.id = m.role_id AND r.deleted_at IS NULL
        JOIN role_permissions rp ON rp.role_id = r.id
        JOIN permissions p ON p.id = rp.permission_id AND p.deleted_at IS NULL
        GROUP BY m.roles
    ),
    resolved AS MATERIALIZED (
        SELECT s.roles,
               ARRAY(SELECT r.name::text FROM roles r WHERE r.id = ANY (s.roles) AND r.deleted_at IS NULL
                     ORDER BY r.name::text) AS role_names,
               coalesce(g.names, '{}') AS permission_names, coalesce(g.actions, '{}') AS resource_actions, c.at
        FROM sets s LEFT JOIN rights g ON g.roles = s.roles LEFT JOIN changed c ON c.roles = s.roles
    )
    INSERT INTO user_role_cache
    SELECT h.id, h.ledger, h.username, h.email, h.is_active, x.role_names, x.permission_names, x.resource_actions,
           cardinality(x.role_names), cardinality(x.permission_names), greatest(h.rights_changed_at, x.at)
    FROM held h JOIN resolved x ON x.roles = h.roles
    ON CONFLICT (user_id) DO UPDATE SET
        username = excluded.username, email = excluded.email, user_active = excluded.user_active,
        role_names = excluded.role_names, permission_names = excluded.permission_names,
        resource_actions = excluded.resource_actions, role_count = excluded.role_count,
        permission_count = excluded.permission_count, cache_updated_at = excluded.cache_updated_at
$$;
