-- One ledger's rows live together on one shard. Text about a person is ciphertext (base64); the
-- *_index columns hold the keyed blind index that look-ups use. inet columns hold the coarse
-- network only, the full address lies sealed beside it.
CREATE TABLE users (
    id                    uuid PRIMARY KEY,
    ledger                smallint NOT NULL,
    shard_id              integer NOT NULL,
    username              varchar NOT NULL,
    username_index        bytea NOT NULL,
    -- A service account has none of the three: its callers bring keys.
    email                 varchar,
    email_index           bytea,
    password_hash         text,
    phone_number          varchar,
    is_service            boolean NOT NULL,
    email_verified        boolean NOT NULL DEFAULT false,
    phone_verified        boolean NOT NULL DEFAULT false,
    is_active             boolean NOT NULL,
    failed_login_attempts integer NOT NULL DEFAULT 0 CHECK (failed_login_attempts >= 0),
    locked_until          timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    last_login_at         timestamptz,
    last_login_ip         inet,
    last_login_ip_sealed  text,
    deleted_at            timestamptz,
    -- Second factors.
    totp_enabled          boolean NOT NULL DEFAULT false,
    passkeys              integer NOT NULL DEFAULT 0 CHECK (passkeys >= 0),
    -- Sequence of the user's last event.
    version               bigint NOT NULL,
    -- Offset of the last event that touched rights, activity or session revocation: a reader that
    -- knows of a later one does not use this row.
    rights_position       bigint NOT NULL,
    -- Time of the last event that the user's row of user_role_cache depends on.
    rights_changed_at     timestamptz NOT NULL,
    -- Per ledger: ledgers are projected independently, so a released address may reach its next
    -- holder's ledger first. The look-up tables are unique across ledgers. Deferred: a batch holds the
    -- last state of each row only, and people may have passed a name on to each other within it.
    CONSTRAINT users_person CHECK (is_service = (email_index IS NULL) AND is_service = (password_hash IS NULL)),
    CONSTRAINT users_email UNIQUE (ledger, email_index) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT users_username UNIQUE (ledger, username_index) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 85);
CREATE INDEX users_locked ON users (locked_until) WHERE locked_until IS NOT NULL;

CREATE TABLE user_sessions (
    id                 uuid PRIMARY KEY,
    user_id            uuid NOT NULL REFERENCES users (id),
    ledger             smallint NOT NULL,
    shard_id           integer NOT NULL,
    -- SHA-256 of the session id, hexadecimal: the table gives no usable token away. Bytes compare
    -- faster than a locale's text.
    session_token      text COLLATE "C" NOT NULL UNIQUE,
    refresh_token_hash text COLLATE "C" NOT NULL UNIQUE,
    ip_address         inet,
    ip_address_sealed  text,
    user_agent         text,
    device_fingerprint text,
    country_code       char(2),
    city               varchar,
    device_id          uuid NOT NULL,
    -- How the user proved who they are: method references of RFC 8176.
    methods            text[] NOT NULL,
    created_at         timestamptz NOT NULL,
    -- It ends then, whatever is refreshed, and so long after its last activity too.
    expires_at         timestamptz NOT NULL,
    idle_timeout       interval,
    last_activity_at   timestamptz NOT NULL,
    is_active          boolean NOT NULL,
    revoked_at         timestamptz,
    revoked_reason     varchar,
    CHECK (is_active = (revoked_at IS NULL))
) WITH (fillfactor = 85);
CREATE INDEX user_sessions_by_user ON user_sessions (user_id, created_at DESC);

CREATE TABLE user_roles (
    -- Id of the event that granted it last.
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id),
    role_id    uuid NOT NULL REFERENCES roles (id),
    ledger     smallint NOT NULL,
    shard_id   integer NOT NULL,
    granted_at timestamptz NOT NULL,
    expires_at timestamptz,
    -- No foreign key: the grantor may live on another shard.
    granted_by uuid,
    is_active  boolean NOT NULL,
    UNIQUE (user_id, role_id)
) WITH (fillfactor = 85);
CREATE INDEX user_roles_by_role ON user_roles (role_id) INCLUDE (user_id) WHERE is_active;

-- One row for each password that the user has had; id of the event that set it.
CREATE TABLE password_history (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users (id),
    ledger        smallint NOT NULL,
    shard_id      integer NOT NULL,
    -- Of the password's last hash: made anew, it takes the place of the former one.
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    -- Sequence of that event in the user's history: orders what came at one time.
    version       bigint NOT NULL,
    UNIQUE (user_id, version)
);

CREATE TABLE user_passkeys (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (id),
    ledger       smallint NOT NULL,
    shard_id     integer NOT NULL,
    name         text NOT NULL,
    is_backed_up boolean NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    removed_at   timestamptz
);
CREATE INDEX user_passkeys_by_user ON user_passkeys (user_id) WHERE removed_at IS NULL;

-- Keys of service accounts, those that are good no more too. Their hashes stay in the log.
CREATE TABLE service_keys (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id),
    ledger     smallint NOT NULL,
    shard_id   integer NOT NULL,
    -- Roles of the account that count for who brings the key; null for all.
    role_ids   uuid[],
    issued_at  timestamptz NOT NULL,
    -- No foreign key: whoever issued it may live on another shard.
    issued_by  uuid,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX service_keys_by_user ON service_keys (user_id, issued_at DESC, id DESC);
