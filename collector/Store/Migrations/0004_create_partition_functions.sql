-- Partitions are made aside and attached, which no open reader delays: CREATE TABLE … PARTITION OF would queue behind
-- one and hold up every insert. They run with the owner's rights; callers hold only those of petrel_ingest.

CREATE FUNCTION petrel.ensure_ingest_partition(wanted int4) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
DECLARE name text := 'ingest_batch_h' || wanted;
BEGIN
    IF wanted < 0 THEN RAISE EXCEPTION 'hour % is before 1970', wanted; END IF;
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    PERFORM pg_advisory_xact_lock(728014, 1);
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    EXECUTE format(
        'CREATE TABLE petrel.%I (LIKE petrel.ingest_batch INCLUDING ALL, CHECK (recv_hour = %s))',
        name, wanted);
    EXECUTE format(
        'ALTER TABLE petrel.ingest_batch ATTACH PARTITION petrel.%I FOR VALUES FROM (%s) TO (%s)',
        name, wanted, wanted + 1);
    RETURN true;
END $$;

CREATE FUNCTION petrel.ensure_log_partition(wanted int4) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
DECLARE name text := 'log_entry_d' || wanted;
BEGIN
    IF wanted < 0 THEN RAISE EXCEPTION 'day % is before 1970', wanted; END IF;
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    PERFORM pg_advisory_xact_lock(728014, 2);
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    EXECUTE format(
        'CREATE TABLE petrel.%I (LIKE petrel.log_entry INCLUDING ALL, CHECK (recv_day = %s))',
        name, wanted);
    EXECUTE format(
        'ALTER TABLE petrel.log_entry ATTACH PARTITION petrel.%I FOR VALUES FROM (%s) TO (%s)',
        name, wanted, wanted + 1);
    RETURN true;
END $$;

-- Drops a table that was once a partition of ours and is attached to nothing any more.
CREATE FUNCTION petrel.drop_detached_partition(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF name !~ '^(ingest_batch_h|log_entry_d)[0-9]+$' THEN
        RAISE EXCEPTION '% is no partition of petrel', name;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('petrel.' || name)) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS petrel.%I', name);
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION petrel.ensure_ingest_partition(int4), petrel.ensure_log_partition(int4),
    petrel.drop_detached_partition(text) FROM PUBLIC;
