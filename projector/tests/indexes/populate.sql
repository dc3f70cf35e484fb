-- A shard with enough rows that a scan of a whole table is not the cheapest way: 5,000 people, two sessions each.
SELECT ensure_month('security_audit_log', day) FROM unnest('{2026-01-01,2026-02-01,2026-03-01,2026-09-01,2026-10-01}'::date[]) AS d (day);

CREATE FUNCTION numbered(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT md5(kind || n)::uuid
$$;

INSERT INTO roles (id, name, is_system_role, parent_role_id, level, created_at, updated_at)
SELECT numbered('role', n), 'team-' || n, false, CASE WHEN n > 250 THEN numbered('role', n - 250) END,
       CASE WHEN n > 250 THEN 1 ELSE 0 END, '2026-01-01Z', '2026-01-01Z'
FROM generate_series(1, 500) n;

INSERT INTO permissions (id, name, resource, action, is_dangerous, created_at)
SELECT numbered('permission', n), 'right-' || n, 'resource-' || n / 4, 'action-' || n % 4, false, '2026-01-01Z'
FROM generate_series(1, 1000) n;

INSERT INTO role_permissions (id, role_id, permission_id, granted_at)
SELECT numbered('attached', n), numbered('role', 1 + n % 500), numbered('permission', 1 + n / 5), '2026-01-01Z'
FROM generate_series(1, 4999) n;

INSERT INTO users (id, ledger, shard_id, username, username_index, email, email_index, password_hash, is_service, is_active,
                   locked_until, created_at, updated_at, version, rights_position, rights_changed_at)
SELECT numbered('user', n), 0, 0, md5('name' || n), decode(md5('name' || n), 'hex'), md5('mail' || n),
       decode(md5('mail' || n), 'hex'), repeat(md5('password' || n), 4), false, true,
       CASE WHEN n % 100 = 0 THEN '2026-01-01Z'::timestamptz + n * interval '1 minute' END,
       '2026-01-01Z', '2026-01-01Z', 1, n, '2026-01-01Z'
FROM generate_series(1, 5000) n;

INSERT INTO user_sessions (id, user_id, ledger, shard_id, session_token, refresh_token_hash, device_id, methods, created_at, expires_at,
                           last_activity_at, is_active)
SELECT numbered('session', n), numbered('user', 1 + n % 5000), 0, 0, md5('token' || n), md5('refresh' || n),
       numbered('device', n), '{pwd}',
       '2026-01-01Z', '2026-02-01Z', '2026-01-01Z', true
FROM generate_series(1, 10000) n;

INSERT INTO user_passkeys (id, user_id, ledger, shard_id, name, is_backed_up, created_at)
SELECT numbered('passkey', n), numbered('user', n), 0, 0, '', false, '2026-01-01Z' FROM generate_series(1, 5000) n;
INSERT INTO service_keys (id, user_id, ledger, shard_id, issued_at)
SELECT numbered('key', n), numbered('user', n), 0, 0, '2026-01-01Z' FROM generate_series(1, 5000) n;
INSERT INTO password_history (id, user_id, ledger, shard_id, password_hash, created_at, version)
SELECT numbered('password', n), numbered('user', n), 0, 0, '', '2026-01-01Z', 1 FROM generate_series(1, 5000) n;

INSERT INTO user_roles (id, user_id, role_id, ledger, shard_id, granted_at, is_active)
SELECT numbered('grant', n), numbered('user', 1 + n % 5000), numbered('role', 1 + n / 20), 0, 0, '2026-01-01Z', n % 7 > 0
FROM generate_series(1, 9999) n;

INSERT INTO email_shard_lookup (email, user_id, shard_id, user_ledger, ledger, claim_id, created_at, updated_at)
SELECT md5('mail' || n), numbered('user', n), 0, n % 16, 0, numbered('claim', n), '2026-01-01Z', '2026-01-01Z'
FROM generate_series(1, 5000) n;
INSERT INTO username_shard_lookup (username, user_id, shard_id, user_ledger, ledger, claim_id, created_at, updated_at)
SELECT md5('name' || n), numbered('user', n), 0, n % 16, 0, numbered('claim', n), '2026-01-01Z', '2026-01-01Z'
FROM generate_series(1, 5000) n;
INSERT INTO session_shard_lookup (session_token, user_id, shard_id, ledger, expires_at, created_at)
SELECT md5('token' || n), numbered('user', 1 + n % 5000), 0, 0, '2026-02-01Z', '2026-01-01Z'
FROM generate_series(1, 10000) n;

INSERT INTO security_audit_log (id, user_id, event_type, event_status, event_description, ip_address, request_id,
                                risk_score, is_suspicious, occurred_at, partition_date, actor, ledger, log_offset)
SELECT numbered('event', n), numbered('user', 1 + n % 5000), t.event, CASE WHEN n % 50 = 0 THEN 'failure' ELSE 'success' END,
       'signed in', ('10.' || n % 200 || '.0.0/16')::inet, numbered('request', n), 0, n % 400 = 0, t.at, (t.at AT TIME ZONE 'UTC')::date, 'system', 0, n
FROM generate_series(1, 20000) n,
     LATERAL (SELECT '2026-01-01Z'::timestamptz + n * interval '375 seconds' AS at,
                     CASE WHEN n % 50 = 0 THEN 'user.login_failed' ELSE 'user.logged_in' END AS event) t;

-- The catalog's events, all of them early in January: whatever happened to users later stands before them.
INSERT INTO security_audit_log (id, event_type, event_status, event_description, request_id, risk_score, is_suspicious,
                                occurred_at, partition_date, actor, ledger, log_offset)
SELECT numbered('change', n), 'catalog.role_changed', 'success', 'role changed', numbered('request', n), 0, false, t.at,
       (t.at AT TIME ZONE 'UTC')::date, 'system', -1, n
FROM generate_series(1, 400) n, LATERAL (SELECT '2026-01-01Z'::timestamptz + n * interval '1 hour' AS at) t;

SELECT refresh_user_role_cache(ARRAY(SELECT id FROM users));

INSERT INTO aggregate_snapshots (log_id, stream, partition, aggregate_id, sequence, pinned, state, seal)
SELECT numbered('log', 1), 'users', n % 4, numbered('user', n)::text, 1, false, decode(repeat('00', 200), 'hex'), ''
FROM generate_series(1, 5000) n;
INSERT INTO access_snapshots (log_id, ledger, format, part, content, seal)
SELECT numbered('log', 1), n % 16, 1, n / 16, decode(repeat('00', 100), 'hex'), ''
FROM generate_series(0, 1999) n;

ANALYZE;
