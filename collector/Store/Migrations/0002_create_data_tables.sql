-- Metrics and logs. label_key is the exact label set (docs/formats/storage.md); labels is the same for SQL users, where
-- U+0000, which jsonb cannot hold, is shown as U+FFFD.

CREATE TABLE petrel.series (
    id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint int8 NOT NULL,
    label_key bytea NOT NULL,
    digest bytea GENERATED ALWAYS AS (sha256(label_key)) STORED UNIQUE,
    labels jsonb NOT NULL,
    metric text NOT NULL,
    -- NULL: more than one host sends this series.
    host_id int4,
    type text NOT NULL,
    help text NOT NULL,
    unit text NOT NULL
);
CREATE INDEX series_metric ON petrel.series (metric);

-- One row per scrape of a batch (part counts from 0); a batch without scrapes has one row with NULL columns. The
-- partition is an hour since the Unix epoch: that of the receipt.
CREATE TABLE petrel.ingest_batch (
    recv_hour int4 NOT NULL,
    host_id int4 NOT NULL,
    kind int2 NOT NULL,
    epoch int8 NOT NULL,
    seq int8 NOT NULL,
    part int4 NOT NULL,
    ts int8,
    received_ns int8 NOT NULL,
    record_count int4 NOT NULL,
    digest bytea NOT NULL,
    series int4[],
    vals float8[],
    PRIMARY KEY (recv_hour, host_id, kind, epoch, seq, part)
) PARTITION BY RANGE (recv_hour);
CREATE INDEX ingest_batch_ts ON petrel.ingest_batch (host_id, ts) WHERE ts IS NOT NULL;

CREATE TABLE petrel.log_stream (
    id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label_key bytea NOT NULL,
    digest bytea GENERATED ALWAYS AS (sha256(label_key)) STORED UNIQUE,
    labels jsonb NOT NULL
);

CREATE SEQUENCE petrel.log_entry_id;

-- line holds the bytes as read. metadata is name, value, name, value, …; where a text has U+0000 it is shown as U+FFFD
-- there and metadata_key has the exact set. trace_id and request_id repeat metadata for their indexes. ts is
-- nanoseconds; the partition is the day of the receipt, counted from the Unix epoch.
CREATE TABLE petrel.log_entry (
    recv_day int4 NOT NULL,
    stream_id int4 NOT NULL,
    ts int8 NOT NULL,
    id int8 NOT NULL DEFAULT nextval('petrel.log_entry_id'),
    epoch int8 NOT NULL,
    seq int8 NOT NULL,
    level text,
    trace_id text,
    request_id text,
    metadata text[],
    metadata_key bytea,
    line bytea NOT NULL
) PARTITION BY RANGE (recv_day);
CREATE INDEX log_entry_stream ON petrel.log_entry (stream_id, ts, id);
CREATE INDEX log_entry_time ON petrel.log_entry (ts, id, stream_id);
CREATE INDEX log_entry_trace ON petrel.log_entry (trace_id) WHERE trace_id IS NOT NULL;

-- lz4 decodes several times faster than pglz; servers built without it keep their default.
DO $$ BEGIN
    ALTER TABLE petrel.ingest_batch ALTER series SET COMPRESSION lz4, ALTER vals SET COMPRESSION lz4;
    ALTER TABLE petrel.log_entry ALTER line SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN NULL;
END $$;
