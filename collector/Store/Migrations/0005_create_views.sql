-- The ways in for SQL users.

-- Unsafe in parallel plans: an exception block is a subtransaction.
CREATE FUNCTION petrel.line_text(line bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS $$
BEGIN
    RETURN convert_from(line, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN encode(line, 'escape');
END $$;

CREATE VIEW petrel.sample AS
SELECT to_timestamp(b.ts / 1000.0) AS at, b.ts AS at_ms, s.metric, s.labels, p.value,
    coalesce(h.name, '') AS host, p.series_id
FROM petrel.ingest_batch b
CROSS JOIN LATERAL unnest(b.series, b.vals) AS p (series_id, value)
JOIN petrel.series s ON s.id = p.series_id
LEFT JOIN petrel.host h ON h.id = b.host_id
WHERE b.ts IS NOT NULL;

CREATE VIEW petrel.log AS
SELECT to_timestamp(e.ts / 1e9) AS at, e.ts AS at_ns, s.labels, e.level, e.trace_id, e.request_id,
    jsonb_object(coalesce(e.metadata, '{}')) AS metadata, petrel.line_text(e.line) AS line,
    e.line AS line_bytes, e.stream_id, e.id
FROM petrel.log_entry e
JOIN petrel.log_stream s ON s.id = e.stream_id;
