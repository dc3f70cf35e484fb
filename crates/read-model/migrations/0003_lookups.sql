-- From an identifier or token to the shard of its user; each lies on its own ledger's shard. The
-- first two are keyed by the blind index in hexadecimal and fed by the identifiers stream alone.
CREATE TABLE email_shard_lookup (
    email      varchar COLLATE "C" PRIMARY KEY,
    user_id    uuid NOT NULL,
    -- Of the user's ledger, wherever it moves.
    shard_id   integer NOT NULL,
    user_ledger smallint NOT NULL,
    ledger     smallint NOT NULL,
    claim_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE username_shard_lookup (
    username   varchar COLLATE "C" PRIMARY KEY,
    user_id    uuid NOT NULL,
    -- Of the user's ledger, wherever it moves.
    shard_id   integer NOT NULL,
    user_ledger smallint NOT NULL,
    ledger     smallint NOT NULL,
    claim_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE session_shard_lookup (
    session_token text COLLATE "C" PRIMARY KEY,
    user_id       uuid NOT NULL,
    shard_id      integer NOT NULL,
    ledger        smallint NOT NULL,
    expires_at    timestamptz NOT NULL,
    created_at    timestamptz NOT NULL
);
