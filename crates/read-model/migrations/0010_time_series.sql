-- Tables cut into months by partition_date, and from which month on their rows are kept: older ones
-- are not written any more. NULL keeps all. It only ever moves forward.
CREATE TABLE time_series (
    name          varchar PRIMARY KEY,
    retained_from date CHECK (retained_from = date_trunc('month', retained_from))
);
INSERT INTO time_series (name) VALUES ('security_audit_log');

-- The partition's name; of a later month, a later name.
CREATE FUNCTION month_table(series text, month date) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT series || to_char(month, '"_"YYYY"_"MM')
$$;

-- Months that were let go, and stay as tables of their own.
CREATE FUNCTION detached_months(series text) RETURNS SETOF name LANGUAGE sql STABLE AS $$
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
      AND c.relname ~ ('^' || series || '_\d{4}_\d{2}$')
$$;

-- Makes the partition of a month unless it is there or not kept any more. Attaching, unlike CREATE ...
-- PARTITION OF, does not lock out the writers of other months. The lock comes before the look: another
-- session's new partition may be visible before every session has been told to route rows to it, and
-- only then does that session let go of the lock.
CREATE FUNCTION ensure_month(series text, wanted date) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', wanted)::date;
    part text := month_table(series, first_day);
BEGIN
    IF NOT EXISTS (SELECT FROM time_series WHERE name = series) THEN
        RAISE 'no time series %', series;
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE UPDATE EXCLUSIVE MODE', series);
    IF to_regclass(part) IS NOT NULL
       OR EXISTS (SELECT FROM time_series WHERE name = series AND first_day < retained_from) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, series);
    -- For whoever reads it by its own name: no policy, no rows.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   series, part, first_day, (first_day + interval '1 month')::date);
END
$$;

-- From which month on a writer's rows are kept; it stays so until the writer's transaction ends.
CREATE FUNCTION retained_from(series text) RETURNS date LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('LOCK TABLE %I IN ROW EXCLUSIVE MODE', series);
    RETURN (SELECT t.retained_from FROM time_series t WHERE t.name = series);
END
$$;

-- Keeps no month before `oldest` any more: detaches them, and drops what is detached if so wanted.
-- Whoever waits for the lock holds up all others, so not for long; the caller comes again.
CREATE FUNCTION retire_months(series text, oldest date, dropping boolean) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    part text;
BEGIN
    IF EXISTS (SELECT FROM time_series WHERE name = series AND (retained_from IS NULL OR retained_from < oldest)) THEN
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', series);
        UPDATE time_series t SET retained_from = oldest
        WHERE t.name = series AND (t.retained_from IS NULL OR t.retained_from < oldest);
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = series::regclass AND c.relname < month_table(series, oldest)
        LOOP
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', series, part);
            -- As before through its table: whom the log erases later is erased there too.
            EXECUTE format('GRANT SELECT, UPDATE ON %I TO rolecall_projector', part);
        END LOOP;
    END IF;
    IF dropping THEN
        FOR part IN
            SELECT d.name FROM detached_months(series) AS d (name), time_series t
            WHERE t.name = series AND d.name < month_table(series, t.retained_from)
        LOOP
            EXECUTE format('DROP TABLE %I', part);
        END LOOP;
    END IF;
END
$$;

-- Takes network and user agent from what months that were let go tell of these users, and of a ledger that has left the
-- shard: of erasures in that one, nobody would hear here any more. With the rights of the caller: forced row-level
-- security lets the owner see no row.
CREATE FUNCTION erase_detached_audit(erased uuid[], left_ledger smallint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text;
BEGIN
    FOR part IN SELECT d.name FROM detached_months('security_audit_log') AS d (name) LOOP
        BEGIN
            EXECUTE format('UPDATE %I SET ip_address = NULL, user_agent = NULL
                            WHERE (user_id = ANY ($1) OR ledger = $2)
                              AND (ip_address IS NOT NULL OR user_agent IS NOT NULL)', part)
                USING erased, left_ledger;
        EXCEPTION WHEN undefined_table THEN
            NULL; -- dropped meanwhile, and the rows with it
        END;
    END LOOP;
END
$$;
