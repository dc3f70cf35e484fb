-- What checks need of a ledger's users, as owners save it now and then, so that a node that starts need not read the
-- whole log. No read model: digests leave it out.
CREATE TABLE access_snapshots (
    log_id  uuid NOT NULL,
    ledger  integer NOT NULL,
    -- Of the content; a reader takes no other than its own.
    format  integer NOT NULL,
    -- 0 says how far it reaches and how many more parts there are.
    part    integer NOT NULL,
    content bytea NOT NULL,
    -- Under a key of the nodes', so that nobody else can make one.
    seal    bytea NOT NULL,
    PRIMARY KEY (log_id, ledger, format, part)
);

-- Ids do not compress.
ALTER TABLE access_snapshots ALTER COLUMN content SET STORAGE EXTERNAL;
