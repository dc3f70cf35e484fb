-- The materialised user-role-permission mapping. A grant counts here until an event says that it was revoked
-- or has expired: at any moment its expiry is decided by the clock of the check, never by that of a projection.
CREATE TABLE user_role_cache (
    user_id          uuid PRIMARY KEY,
    ledger           smallint NOT NULL,
    username         varchar NOT NULL,
    email            varchar,
    user_active      boolean NOT NULL,
    role_names       text[] NOT NULL,
    permission_names text[] NOT NULL,
    resource_actions text[] NOT NULL,
    role_count       integer NOT NULL,
    permission_count integer NOT NULL,
    cache_updated_at timestamptz NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX user_role_cache_by_role ON user_role_cache USING gin (role_names);

-- Computes the rows of these users anew, from users, user_roles and the catalog copy alone: the
-- same tables give the same rows, whatever order the streams arrived in. Rights are gathered once
-- for each distinct set of roles, since many users share few sets.
CREATE FUNCTION refresh_user_role_cache(concerned uuid[]) RETURNS void LANGUAGE sql AS $$
    WITH RECURSIVE held AS MATERIALIZED (
        SELECT u.id, u.ledger, u.username, u.email, u.is_active, u.rights_changed_at,
               ARRAY(SELECT ur.role_id FROM user_roles ur WHERE ur.user_id = u.id AND ur.is_active
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

-- The same for everybody who holds one of these roles, directly or through a role below it. As an array, since the
-- planner takes a recursive query for many roles and would read all grants.
CREATE FUNCTION refresh_user_role_cache_of_roles(changed_roles uuid[]) RETURNS void LANGUAGE sql AS $$
    WITH RECURSIVE below (role_id) AS (
        SELECT unnest(changed_roles)
        UNION
        SELECT r.id FROM roles r JOIN below b ON r.parent_role_id = b.role_id
    )
    SELECT refresh_user_role_cache(ARRAY(
        SELECT DISTINCT ur.user_id FROM user_roles ur
        WHERE ur.role_id = ANY (ARRAY(SELECT role_id FROM below)) AND ur.is_active))
$$;
