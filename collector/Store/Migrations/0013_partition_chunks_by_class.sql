-- Retention classes: chunks are partitioned by class and then by day, so that each class has an age of its own and a day of
-- it goes with its table. Class 0, without a name, has all that no rule chose.

CREATE TABLE petrel.retention_class (
    id int2 PRIMARY KEY CHECK (id BETWEEN 0 AND 99),
    name text NOT NULL UNIQUE,
    age_hours int4 NOT NULL,
    -- Days up to this one, since the Unix epoch, were dropped for space: samples of theirs are not taken any more.
    dropped_through int4 NOT NULL DEFAULT -1
) WITH (fillfactor = 50);
INSERT INTO petrel.retention_class (id, name, age_hours) VALUES (0, '', 720);

-- Fixed when the series is made, as its place is: a group is of one class.
ALTER TABLE petrel.series ADD COLUMN class int2 NOT NULL DEFAULT 0;

ALTER TABLE petrel.chunk RENAME TO chunk_c0;
ALTER TABLE petrel.chunk_c0 ADD COLUMN class int2 NOT NULL DEFAULT 0;
CREATE TABLE petrel.chunk (
    day int4 NOT NULL,
    grp int4 NOT NULL,
    first_ms int8 NOT NULL,
    last_ms int8 NOT NULL,
    seal int8 NOT NULL,
    sample_count int4 NOT NULL,
    data bytea NOT NULL,
    class int2 NOT NULL DEFAULT 0
) PARTITION BY LIST (class);
ALTER TABLE petrel.chunk ALTER data SET STORAGE EXTERNAL;
ALTER TABLE petrel.chunk ATTACH PARTITION petrel.chunk_c0 FOR VALUES IN (0);

-- The class of that name, made where there is none, with that age from now on.
CREATE FUNCTION petrel.ensure_retention_class(wanted text, hours int4) RETURNS int2
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '10s' AS $$
DECLARE number int2;
BEGIN
    PERFORM pg_advisory_xact_lock(728014, 4);
    UPDATE petrel.retention_class SET age_hours = hours WHERE name = wanted RETURNING id INTO number;
    IF FOUND THEN RETURN number; END IF;
    INSERT INTO petrel.retention_class (id, name, age_hours)
    SELECT max(id) + 1, wanted, hours FROM petrel.retention_class RETURNING id INTO number;
    EXECUTE format(
        'CREATE TABLE petrel.%I (LIKE petrel.chunk_c0 INCLUDING ALL) PARTITION BY RANGE (day)',
        'chunk_c' || number);
    EXECUTE format(
        'ALTER TABLE petrel.chunk ATTACH PARTITION petrel.%I FOR VALUES IN (%s)',
        'chunk_c' || number, number);
    RETURN number;
END $$;

-- Days of class 0 are chunk_d<day>, those of others chunk_c<class>_d<day>.
DROP FUNCTION petrel.ensure_chunk_partition(int4);
CREATE FUNCTION petrel.ensure_chunk_partition(wanted int4, of_class int2) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition(
        'chunk_c' || of_class,
        CASE of_class WHEN 0 THEN 'chunk' ELSE 'chunk_c' || of_class END || '_d' || wanted, 'day',
        wanted, 3)
$$;

-- What the retention dropped, when and why. It was stored before, so it is no gap.
CREATE TABLE petrel.retention_drop (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at int8 NOT NULL,
    relation text NOT NULL,
    -- Of metrics.
    class int2,
    -- Since the Unix epoch: of the samples, or of the receipt of log entries.
    day int4 NOT NULL,
    reason text NOT NULL CHECK (reason IN ('age', 'size')),
    record_count int8 NOT NULL,
    bytes int8 NOT NULL
);
CREATE INDEX retention_drop_at ON petrel.retention_drop (at);

-- Drops a table that was once a partition of ours and is attached to nothing any more.
CREATE OR REPLACE FUNCTION petrel.drop_detached_partition(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF name !~ '^(ingest_batch_h|log_entry_d|exemplar_d|chunk_d|chunk_c[1-9][0-9]?_d)[0-9]+$' THEN
        RAISE EXCEPTION '% is no partition of petrel', name;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('petrel.' || name)) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS petrel.%I', name);
    RETURN true;
END $$;

-- As before, on the new table.
CREATE OR REPLACE VIEW petrel.sample AS
SELECT to_timestamp(p.ts / 1000.0) AS at, p.ts AS at_ms, s.metric, s.labels, p.value,
    coalesce(h.name, '') AS host, p.series_id
FROM petrel.ingest_batch b
CROSS JOIN LATERAL petrel.row_samples(b.ts, b.series, b.vals, b.data) AS p
JOIN petrel.series s ON s.id = p.series_id
LEFT JOIN petrel.host h ON h.id = b.host_id
WHERE b.ts IS NOT NULL
    AND (b.number > (SELECT m.number FROM petrel.metric_seal m)
        OR b.ts > (SELECT m.through_ms FROM petrel.metric_seal m)
        AND p.ts > (SELECT m.through_ms FROM petrel.metric_seal m))
UNION ALL
SELECT to_timestamp(p.ts / 1000.0), p.ts, s.metric, s.labels, p.value, coalesce(h.name, ''), s.id
FROM petrel.chunk c
JOIN petrel.series s ON s.grp = c.grp
-- Once a chunk and series: OFFSET keeps it from being asked once a sample.
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT n.ts
        FROM petrel.chunk l CROSS JOIN LATERAL petrel.chunk_samples_of(l.data, s.slot) AS n
        WHERE l.day = c.day AND l.grp = c.grp AND l.seal > c.seal
            AND l.first_ms <= c.last_ms AND l.last_ms >= c.first_ms
    ) AS replaced OFFSET 0
) AS r
CROSS JOIN LATERAL petrel.chunk_samples_of(c.data, s.slot) AS p
LEFT JOIN petrel.host h ON h.id = s.host_id
WHERE p.ts <> ALL (r.replaced);

REVOKE ALL ON FUNCTION petrel.ensure_chunk_partition(int4, int2),
    petrel.ensure_retention_class(text, int4) FROM PUBLIC;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT, INSERT ON petrel.chunk TO petrel_ingest;
        GRANT SELECT ON petrel.retention_class, petrel.retention_drop TO petrel_ingest;
        GRANT EXECUTE ON FUNCTION petrel.ensure_chunk_partition(int4, int2) TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.chunk, petrel.retention_class, petrel.retention_drop TO petrel_query;
    END IF;
END $$;
