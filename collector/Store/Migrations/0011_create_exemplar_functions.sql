-- Partitions of exemplars, as those of chunks; and all of them also where several sessions need the same one at once.

-- to_regclass remembers that there was none, also when another session has made it since: this looks anew.
CREATE FUNCTION petrel.partition_exists(name text) RETURNS boolean
LANGUAGE sql SET search_path = petrel, pg_temp AS $$
    SELECT EXISTS (
        SELECT 1 FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'petrel'::regnamespace AND c.relname = name)
$$;

-- A partition of one hour or day; `lock` keeps others that make the same from doing so meanwhile.
CREATE FUNCTION petrel.ensure_partition(parent text, name text, key text, wanted int4, lock int4)
RETURNS boolean
LANGUAGE plpgsql SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF wanted < 0 THEN RAISE EXCEPTION '% % is before 1970', key, wanted; END IF;
    IF petrel.partition_exists(name) THEN RETURN false; END IF;
    PERFORM pg_advisory_xact_lock(728014, lock);
    IF petrel.partition_exists(name) THEN RETURN false; END IF;
    EXECUTE format(
        'CREATE TABLE petrel.%I (LIKE petrel.%I INCLUDING ALL, CHECK (%I = %s))', name, parent, key,
        wanted);
    EXECUTE format(
        'ALTER TABLE petrel.%I ATTACH PARTITION petrel.%I FOR VALUES FROM (%s) TO (%s)', parent,
        name, wanted, wanted + 1);
    RETURN true;
END $$;

-- These run with the owner's rights.
CREATE OR REPLACE FUNCTION petrel.ensure_ingest_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition(
        'ingest_batch', 'ingest_batch_h' || wanted, 'recv_hour', wanted, 1)
$$;
CREATE OR REPLACE FUNCTION petrel.ensure_log_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition('log_entry', 'log_entry_d' || wanted, 'recv_day', wanted, 2)
$$;
CREATE OR REPLACE FUNCTION petrel.ensure_chunk_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition('chunk', 'chunk_d' || wanted, 'day', wanted, 3)
$$;
CREATE FUNCTION petrel.ensure_exemplar_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition('exemplar', 'exemplar_d' || wanted, 'day', wanted, 4)
$$;
REVOKE ALL ON FUNCTION petrel.partition_exists(text),
    petrel.ensure_partition(text, text, text, int4, int4),
    petrel.ensure_exemplar_partition(int4) FROM PUBLIC;

-- Drops a table that was once a partition of ours and is attached to nothing any more.
CREATE OR REPLACE FUNCTION petrel.drop_detached_partition(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF name !~ '^(ingest_batch_h|log_entry_d|chunk_d|exemplar_d)[0-9]+$' THEN
        RAISE EXCEPTION '% is no partition of petrel', name;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('petrel.' || name)) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS petrel.%I', name);
    RETURN true;
END $$;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT EXECUTE ON FUNCTION petrel.ensure_exemplar_partition(int4) TO petrel_ingest;
    END IF;
END $$;
