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
    -- Digest of the ledger's rows when somebody last asked for it; not kept up by every batch.
    digest      bytea,
    -- Time of the last applied event.
    updated_at  timestamptz,
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
