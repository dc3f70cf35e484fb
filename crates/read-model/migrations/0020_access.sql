-- Who may do what; each role can do what its service does, and nothing else. A table that is not named here is its
-- owner's alone. `cargo test -p read-model --test roles` tries every verb of every role on every table.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY '{rolecall_projector,rolecall_command,rolecall_query,rolecall_reader,rolecall_operator}'::text[] LOOP
        IF to_regrole(role) IS NULL THEN
            RAISE 'there is no role %: run crates/read-model/roles.sql on this cluster', role;
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO rolecall_projector, rolecall_command, rolecall_query, rolecall_reader,
    rolecall_operator;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

-- What every service asks first: whose the database is, and whether its tables are of this version.
GRANT SELECT ON _sqlx_migrations, projection_identity TO rolecall_projector, rolecall_command, rolecall_query;
GRANT INSERT ON projection_identity TO rolecall_projector, rolecall_command;

-- The projector writes the read model.
GRANT SELECT, INSERT, UPDATE ON roles, permissions, users, user_sessions, user_passkeys, user_roles,
    service_keys, security_audit_log, projection_checkpoint TO rolecall_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON role_permissions, email_shard_lookup, username_shard_lookup,
    password_history, user_role_cache, projection_failure TO rolecall_projector;
GRANT SELECT, INSERT ON session_shard_lookup TO rolecall_projector;
GRANT SELECT, INSERT, UPDATE ON shard_map, shard_placement TO rolecall_projector;
-- A copy of a ledger that is filled anew is emptied first.
GRANT DELETE ON users, user_sessions, user_roles, session_shard_lookup, security_audit_log, user_passkeys,
    service_keys TO rolecall_projector;
GRANT SELECT ON time_series TO rolecall_projector;
GRANT EXECUTE ON FUNCTION refresh_user_role_cache, refresh_user_role_cache_of_roles, ensure_month, retained_from,
    retire_months, detached_months, erase_detached_audit TO rolecall_projector;

-- Owners of ledgers save snapshots behind their commands.
GRANT SELECT, INSERT, UPDATE, DELETE ON aggregate_snapshots TO rolecall_command;
GRANT SELECT, INSERT, UPDATE ON snapshot_positions TO rolecall_command;
-- With them they move to another shard.
GRANT DELETE ON snapshot_positions TO rolecall_operator;
GRANT SELECT, INSERT, DELETE ON access_snapshots TO rolecall_command;

-- The query service and readers read.
GRANT SELECT ON projection_checkpoint, roles, permissions, role_permissions TO rolecall_query, rolecall_reader;
GRANT SELECT ON access_snapshots TO rolecall_query;

-- States are about people too, so the owner of the tables has no policy here either. Whoever moves ledgers
-- (rolecall_operator) bypasses row-level security.
ALTER TABLE aggregate_snapshots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE access_snapshots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owners_of_ledgers ON aggregate_snapshots TO rolecall_command USING (true);
CREATE POLICY owners_of_ledgers ON access_snapshots TO rolecall_command USING (true);
CREATE POLICY query_service ON access_snapshots FOR SELECT TO rolecall_query USING (true);

-- The user whose rows a reader sees; none before it is set.
CREATE FUNCTION reading_user() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('rolecall.user_id', true), '')::uuid
$$;
REVOKE EXECUTE ON FUNCTION reading_user FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reading_user TO rolecall_reader;

-- User data. Row-level security binds the owner too: whoever makes the tables does not thereby read them. `secret`
-- columns are the projector's alone; `sealed` ones are ciphertext or blind indexes, for whose keys only the query service
-- has, and readers never see.
DO $$
DECLARE
    it record;
    columns text[];
BEGIN
    FOR it IN
        SELECT * FROM (VALUES
            ('users', 'id', true, '{password_hash}'::text[],
             '{username,username_index,email,email_index,phone_number,last_login_ip_sealed}'::text[]),
            ('user_sessions', 'user_id', true, '{session_token,refresh_token_hash}',
             '{ip_address_sealed,user_agent,device_fingerprint,city}'),
            ('user_passkeys', 'user_id', true, '{}', '{name}'),
            ('service_keys', 'user_id', true, '{}', '{}'),
            ('password_history', 'user_id', false, '{password_hash}', '{}'),
            ('user_roles', 'user_id', true, '{}', '{}'),
            ('user_role_cache', 'user_id', true, '{}', '{username,email}'),
            ('security_audit_log', 'user_id', true, '{}', '{user_agent}'),
            ('email_shard_lookup', 'user_id', true, '{}', '{email}'),
            ('username_shard_lookup', 'user_id', true, '{}', '{username}'),
            ('session_shard_lookup', 'user_id', false, '{session_token}', '{}')
        ) AS t (name, user_column, queried, secret, sealed)
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', it.name);
        SELECT array_agg(quote_ident(attname)) INTO STRICT columns FROM pg_attribute
        WHERE attrelid = it.name::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (it.secret);
        IF it.queried THEN
            EXECUTE format('GRANT SELECT (%s) ON %I TO rolecall_query', array_to_string(columns, ', '), it.name);
            EXECUTE format('CREATE POLICY query_service ON %I FOR SELECT TO rolecall_query USING (true)', it.name);
        END IF;
        SELECT array_agg(quote_ident(attname)) INTO STRICT columns FROM pg_attribute
        WHERE attrelid = it.name::regclass AND attnum > 0 AND NOT attisdropped
          AND attname <> ALL (it.secret || it.sealed);
        EXECUTE format('GRANT SELECT (%s) ON %I TO rolecall_reader', array_to_string(columns, ', '), it.name);
        EXECUTE format('CREATE POLICY own_rows ON %I FOR SELECT TO rolecall_reader USING (%I = reading_user())',
                       it.name, it.user_column);
    END LOOP;
END
$$;
