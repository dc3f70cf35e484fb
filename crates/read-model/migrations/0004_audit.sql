-- No foreign keys: an audit row outlives what it tells of, and may tell of what never came to be.
CREATE TABLE security_audit_log (
    -- Id of the event.
    id                uuid NOT NULL,
    user_id           uuid,
    session_id        uuid,
    event_type        varchar NOT NULL,
    event_status      varchar NOT NULL,
    event_description text NOT NULL,
    ip_address        inet,
    user_agent        text,
    request_id        uuid NOT NULL,
    risk_score        integer NOT NULL,
    is_suspicious     boolean NOT NULL,
    occurred_at       timestamptz NOT NULL,
    partition_date    date NOT NULL,
    actor             text NOT NULL,
    -- Where the record stands in the log. Ledger -1 is the catalog.
    ledger            smallint NOT NULL,
    log_offset        bigint NOT NULL,
    PRIMARY KEY (id, partition_date)
) PARTITION BY RANGE (partition_date);
CREATE INDEX security_audit_log_by_user ON security_audit_log (user_id, occurred_at DESC, log_offset DESC);
-- By ledger: a page of one that had little of late, such as the catalog, must not read what happened in the others.
CREATE INDEX security_audit_log_by_ledger ON security_audit_log (ledger, occurred_at DESC, log_offset DESC);
CREATE INDEX security_audit_log_suspicious ON security_audit_log (ledger, occurred_at DESC, log_offset DESC)
    WHERE is_suspicious;
CREATE INDEX security_audit_log_failures ON security_audit_log (event_type, occurred_at) WHERE event_status = 'failure';
