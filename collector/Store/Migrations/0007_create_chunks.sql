-- Metrics at rest: chunks of up to 32 neighbouring series of one sender over two hours (docs/formats/chunk.md).
-- ingest_batch stays the write-ahead log: what is in a chunk is read from there, the rest from ingest_batch.

-- Series of one sender and target, by metric name, share chunks: grp and slot say where the samples lie.
ALTER TABLE petrel.series ADD COLUMN grp int4, ADD COLUMN slot int2;
WITH target AS (
    SELECT id, coalesce(host_id, -1) AS host, coalesce(labels ->> 'job', '') AS job,
        coalesce(labels ->> 'instance', '') AS instance, metric, label_key
    FROM petrel.series
), ranked AS (
    SELECT id, dense_rank() OVER (ORDER BY host, job, instance) AS number,
        row_number() OVER (PARTITION BY host, job, instance ORDER BY metric, label_key) - 1 AS at
    FROM target
), first AS (
    SELECT number, sum((count(*) + 31) / 32) OVER (ORDER BY number) - (count(*) + 31) / 32 AS grp
    FROM ranked GROUP BY number
)
UPDATE petrel.series s SET grp = f.grp + r.at / 32, slot = r.at % 32
FROM ranked r JOIN first f USING (number) WHERE s.id = r.id;
ALTER TABLE petrel.series ALTER grp SET NOT NULL, ALTER slot SET NOT NULL,
    ADD CHECK (slot BETWEEN 0 AND 31);
CREATE UNIQUE INDEX series_place ON petrel.series (grp, slot);

-- The partition is the day of the samples, counted from the Unix epoch. Where chunks of one group overlap, the sample
-- of the later seal counts.
CREATE TABLE petrel.chunk (
    day int4 NOT NULL,
    grp int4 NOT NULL,
    first_ms int8 NOT NULL,
    last_ms int8 NOT NULL,
    seal int8 NOT NULL,
    sample_count int4 NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (grp, day, first_ms, seal)
) PARTITION BY RANGE (day);
-- Packed already.
ALTER TABLE petrel.chunk ALTER data SET STORAGE EXTERNAL;

-- One number a store call, in the order of receipt. Rows from before this migration have 0.
ALTER TABLE petrel.ingest_batch ADD COLUMN number int8 NOT NULL DEFAULT 0;

-- What of ingest_batch is in chunks: rows up to `number` whose scrape is not after through_ms. writer is the collector
-- that may write metrics; the next one to start takes its place.
CREATE TABLE petrel.metric_seal (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    writer int8 NOT NULL DEFAULT 0,
    seal int8 NOT NULL DEFAULT 0,
    number int8 NOT NULL DEFAULT -1,
    through_ms int8 NOT NULL DEFAULT -9223372036854775808
) WITH (fillfactor = 50);
INSERT INTO petrel.metric_seal DEFAULT VALUES;

CREATE FUNCTION petrel.ensure_chunk_partition(wanted int4) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
DECLARE name text := 'chunk_d' || wanted;
BEGIN
    IF wanted < 0 THEN RAISE EXCEPTION 'day % is before 1970', wanted; END IF;
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    PERFORM pg_advisory_xact_lock(728014, 3);
    IF to_regclass('petrel.' || name) IS NOT NULL THEN RETURN false; END IF;
    EXECUTE format(
        'CREATE TABLE petrel.%I (LIKE petrel.chunk INCLUDING ALL, CHECK (day = %s))', name, wanted);
    EXECUTE format(
        'ALTER TABLE petrel.chunk ATTACH PARTITION petrel.%I FOR VALUES FROM (%s) TO (%s)',
        name, wanted, wanted + 1);
    RETURN true;
END $$;

-- Drops a table that was once a partition of ours and is attached to nothing any more.
CREATE OR REPLACE FUNCTION petrel.drop_detached_partition(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF name !~ '^(ingest_batch_h|log_entry_d|chunk_d)[0-9]+$' THEN
        RAISE EXCEPTION '% is no partition of petrel', name;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('petrel.' || name)) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS petrel.%I', name);
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION petrel.ensure_chunk_partition(int4) FROM PUBLIC;

-- Called after rows were inserted, within the same transaction: whoever takes over waits for it or is seen here. The
-- code tells the sender to come again.
CREATE FUNCTION petrel.require_writer(wanted int8) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = petrel, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM petrel.metric_seal WHERE writer = wanted) THEN
        RAISE EXCEPTION 'another collector took over this database' USING ERRCODE = '57P03';
    END IF;
END $$;
REVOKE ALL ON FUNCTION petrel.require_writer(int8) FROM PUBLIC;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT, INSERT ON petrel.chunk TO petrel_ingest;
        GRANT SELECT, UPDATE ON petrel.metric_seal TO petrel_ingest;
        GRANT EXECUTE ON FUNCTION petrel.ensure_chunk_partition(int4),
            petrel.require_writer(int8) TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.chunk, petrel.metric_seal TO petrel_query;
    END IF;
END $$;
