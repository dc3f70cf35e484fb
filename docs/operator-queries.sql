-- Questions that operators ask of a shard, by hand, as the superuser or another role that row-level security does not
-- bind. Each names the index that answers it.

-- user_role_cache_by_role: who holds the role now?
SELECT user_id FROM user_role_cache WHERE role_names @> '{team-17}' AND user_active;

-- permissions_by_right: which roles may do this?
SELECT r.name FROM permissions p
JOIN role_permissions rp ON rp.permission_id = p.id
JOIN roles r ON r.id = rp.role_id AND r.deleted_at IS NULL
WHERE p.resource = 'resource-7' AND p.action = 'action-1' AND p.deleted_at IS NULL;

-- roles_living_name: which role has this name?
SELECT id, level, parent_role_id FROM roles WHERE name = 'team-5' AND deleted_at IS NULL;

-- users_locked: whose sign-in is locked at this time?
SELECT id, locked_until FROM users WHERE locked_until > '2026-01-01 03:00Z';

-- security_audit_log_failures: from which networks do failed sign-ins come?
SELECT ip_address, count(*) FROM security_audit_log
WHERE event_status = 'failure' AND event_type = 'user.login_failed'
  AND occurred_at >= '2026-02-20Z' AND partition_date >= '2026-02-20'
GROUP BY ip_address ORDER BY count(*) DESC LIMIT 20;

-- security_audit_log_by_ledger: what happened in this hour? Of the catalog (-1), and of each ledger of the shard.
SELECT occurred_at, event_type, user_id, ledger, log_offset FROM security_audit_log
WHERE ledger IN (-1, 0) AND occurred_at >= '2026-02-20 10:00Z' AND occurred_at < '2026-02-20 11:00Z' AND partition_date = '2026-02-20'
ORDER BY occurred_at;

-- user_passkeys_by_user: which passkeys has this user? The query service asks the same.
SELECT id, is_backed_up, last_used_at FROM user_passkeys
WHERE user_id = '2b4233eb-ec7a-45e1-fb8d-dd1aab794f7b' AND removed_at IS NULL;
