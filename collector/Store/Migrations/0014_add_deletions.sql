-- Deleted samples. They stay in their chunks until those are rewritten or dropped; every reader leaves them out. A deletion
-- takes what was received before it: chunks up to its seal, rows of ingest_batch up to its number. What comes later at the
-- same times is not touched. A tombstone without its deletion means nothing: it is of one that was not finished.

CREATE SEQUENCE petrel.deletion_id;
CREATE TABLE petrel.deletion (
    id int8 PRIMARY KEY,
    -- Both inclusive.
    from_ms int8 NOT NULL,
    to_ms int8 NOT NULL,
    seal int8 NOT NULL,
    number int8 NOT NULL,
    at int8 NOT NULL,
    -- No chunk holds them any more.
    cleaned boolean NOT NULL DEFAULT false
);
CREATE TABLE petrel.tombstone (
    series_id int4 NOT NULL,
    deletion_id int8 NOT NULL,
    PRIMARY KEY (series_id, deletion_id)
);

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
    AND NOT EXISTS (
        SELECT 1 FROM petrel.tombstone t JOIN petrel.deletion d ON d.id = t.deletion_id
        WHERE t.series_id = p.series_id AND d.number >= b.number
            AND p.ts BETWEEN d.from_ms AND d.to_ms)
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
WHERE p.ts <> ALL (r.replaced)
    AND NOT EXISTS (
        SELECT 1 FROM petrel.tombstone t JOIN petrel.deletion d ON d.id = t.deletion_id
        WHERE t.series_id = s.id AND d.seal >= c.seal AND p.ts BETWEEN d.from_ms AND d.to_ms);

CREATE OR REPLACE FUNCTION petrel.samples(
    wanted_metric text, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (at timestamptz, labels jsonb, value float8, series_id int4)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 100000 ROWS 10000 AS $$
DECLARE
    -- Infinity and whatever int8 doesn't hold become the farthest that a chunk can have.
    from_ms int8 := least(greatest(ceil(extract(epoch FROM from_time) * 1000), 0), 1e17);
    to_ms int8 := least(greatest(ceil(extract(epoch FROM to_time) * 1000), 0), 1e17);
    from_day int4 := from_ms / 86400000;
    to_day int4 := to_ms / 86400000;
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT s.id, s.grp, s.slot, s.labels FROM petrel.series s WHERE s.metric = wanted_metric
    ), found AS (
        SELECT g.ids[array_position(g.slots, p.slot)] AS id, p.ts, p.value, c.seal,
            -1::int8 AS number, 0::int8 AS received_ns
        FROM (
            SELECT w.grp, array_agg(w.slot ORDER BY w.slot) AS slots,
                array_agg(w.id ORDER BY w.slot) AS ids
            FROM wanted w GROUP BY w.grp
        ) AS g
        JOIN petrel.chunk c USING (grp)
        CROSS JOIN LATERAL petrel.chunk_samples(c.data, g.slots) AS p
        WHERE c.day BETWEEN from_day AND to_day AND c.first_ms < to_ms AND c.last_ms >= from_ms
            AND p.ts >= from_ms AND p.ts < to_ms
        UNION ALL
        SELECT w.id, p.ts, p.value, 9223372036854775807, b.number, b.received_ns
        FROM petrel.ingest_batch b
        CROSS JOIN LATERAL petrel.row_samples(b.ts, b.series, b.vals, b.data) AS p
        JOIN wanted w ON w.id = p.series_id
        -- ts is the newest time of a row, and where there is no data the only one.
        WHERE b.ts >= from_ms AND (b.ts < to_ms OR b.data IS NOT NULL)
            AND (b.number > (SELECT m.number FROM petrel.metric_seal m)
                OR b.ts > (SELECT m.through_ms FROM petrel.metric_seal m)
                AND p.ts > (SELECT m.through_ms FROM petrel.metric_seal m))
            AND p.ts >= from_ms AND p.ts < to_ms
    ), newest AS (
        SELECT DISTINCT ON (f.id, f.ts) f.id, f.ts, f.value
        FROM found f
        WHERE NOT EXISTS (
            SELECT 1 FROM petrel.tombstone t JOIN petrel.deletion d ON d.id = t.deletion_id
            WHERE t.series_id = f.id AND f.ts BETWEEN d.from_ms AND d.to_ms
                AND (d.seal >= f.seal OR f.number >= 0 AND d.number >= f.number))
        ORDER BY f.id, f.ts, f.seal DESC, f.number DESC, f.received_ns DESC
    )
    SELECT to_timestamp(n.ts / 1000.0), w.labels, n.value, n.id
    FROM newest n JOIN wanted w USING (id);
END $$;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT ON petrel.deletion, petrel.tombstone TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.deletion, petrel.tombstone TO petrel_query;
    END IF;
END $$;
