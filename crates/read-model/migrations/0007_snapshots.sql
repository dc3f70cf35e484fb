-- Aggregates as the owners of ledgers save them. No read model: only owners read it, and digests leave it out.
CREATE TABLE aggregate_snapshots (
    log_id       uuid NOT NULL,
    stream       varchar NOT NULL,
    partition    integer NOT NULL,
    aggregate_id varchar NOT NULL,
    sequence     bigint NOT NULL,
    -- It stays in its owner's memory.
    pinned       boolean NOT NULL,
    state        bytea NOT NULL,
    -- Under a key of the owners', so that nobody else can make a row.
    seal         bytea NOT NULL,
    PRIMARY KEY (log_id, stream, partition, aggregate_id)
);

-- Every event before next_offset is in the rows. The seal is over which rows there are, too.
CREATE TABLE snapshot_positions (
    log_id        uuid NOT NULL,
    stream        varchar NOT NULL,
    partition     integer NOT NULL,
    state_version integer NOT NULL,
    next_offset   bigint NOT NULL,
    chain_seq     bigint NOT NULL,
    chain_hash    bytea NOT NULL,
    last_at       bigint NOT NULL,
    -- Of the owner who saved: an earlier owner saves nothing any more.
    claim_offset  bigint NOT NULL,
    row_count     bigint NOT NULL,
    seal          bytea NOT NULL,
    PRIMARY KEY (log_id, stream, partition)
) WITH (fillfactor = 50);
