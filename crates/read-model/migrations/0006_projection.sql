-- Which log this database holds, and as which shard: rows of another log must never mix in.
CREATE TABLE projection_identity (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    log_id    uuid NOT NULL,
    ledgers   integer NOT NULL,
    shard_id  integer NOT NULL
);

-- How far each topic partition is applied. It moves only together with the rows, and holds the
-- head of the partition's hash chain, so that the next record proves it is the next one.
CREATE TABLE projection_checkpoint (
    topic       varchar NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    chain_seq   bigint NOT NULL,
    chain_hash  bytea NOT NULL,
    -- Time of the last applied event.
    updated_at  timestamptz,
    -- Of the shard map by which this copy of a ledger came to be; who goes by an older one means an earlier copy.
    since_map   integer NOT NULL DEFAULT 0,
    -- Of the shard map by which nobody keeps it up any more: nobody may read it from then on.
    retired_by_map integer,
    -- For a moment it does not go beyond this offset: copies are compared at one position.
    hold_at     bigint,
    hold_until  timestamptz,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Why a partition halted. Operational, so the one table with a clock of its own.
CREATE TABLE projection_failure (
    topic     varchar NOT NULL,
    partition integer NOT NULL,
    at_offset bigint NOT NULL,
    reason    text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

-- The log's shard map as applied here: whoever takes the shard up goes by it at least.
CREATE TABLE shard_map (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    map       jsonb NOT NULL
);

-- Its places: what the shard_id columns of look-ups follow.
CREATE TABLE shard_placement (
    ledger   smallint PRIMARY KEY,
    shard_id integer NOT NULL
);
