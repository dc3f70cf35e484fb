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
CREATE INDEX security_audit_log_by_time ON security_audit_log USING brin (occurred_at);
CREATE INDEX security_audit_log_failures ON security_audit_log (event_type, occurred_at) WHERE event_status = 'failure';

-- Makes the partition of a month unless it is there. Attaching, unlike CREATE ... PARTITION OF,
-- does not lock out the writers of other months. The lock comes before the look: another session's
-- new partition may be visible before every session has been told to route rows to it, and only
-- then does that session let go of the lock.
CREATE FUNCTION ensure_audit_month(wanted date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first_day date := date_trunc('month', wanted)::date;
    part text := 'security_audit_log_' || to_char(first_day, 'YYYY_MM');
BEGIN
    LOCK TABLE security_audit_log IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(part) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE security_audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
        EXECUTE format('ALTER TABLE security_audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, first_day, (first_day + interval '1 month')::date);
    END IF;
END
$$;
