-- Exemplars of pushed series: one row each. The partition is the day of the exemplar's time, counted from the Unix epoch.

CREATE TABLE petrel.exemplar (
    day int4 NOT NULL,
    series_id int4 NOT NULL,
    ts int8 NOT NULL,
    -- Of labels and value: what comes again is not stored again.
    digest bytea NOT NULL,
    value float8 NOT NULL,
    -- Empty where the labels name no trace.
    trace_id text NOT NULL,
    label_key bytea NOT NULL,
    labels jsonb NOT NULL,
    PRIMARY KEY (series_id, day, ts, digest)
) PARTITION BY RANGE (day);

-- Which exemplars are of a trace, of any day.
CREATE INDEX exemplar_trace ON petrel.exemplar (trace_id) WHERE trace_id <> '';

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT, INSERT ON petrel.exemplar TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.exemplar TO petrel_query;
    END IF;
END $$;
