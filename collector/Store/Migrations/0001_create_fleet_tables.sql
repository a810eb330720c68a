-- Hosts, enrolment, certificates, cursors and audit. Times are int8: milliseconds since the Unix epoch unless the
-- name ends in _ns. Host 0, which has no row, is the collector itself.

CREATE TABLE petrel.incarnation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO petrel.incarnation DEFAULT VALUES;

CREATE TABLE petrel.host (
    id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    agent_version text NOT NULL DEFAULT '',
    machine_id text NOT NULL DEFAULT '',
    boot_id text NOT NULL DEFAULT '',
    kernel text NOT NULL DEFAULT '',
    operating_system text NOT NULL DEFAULT '',
    role text NOT NULL DEFAULT '',
    enrolled_at int8,
    last_seen_at int8,
    revoked_at int8
) WITH (fillfactor = 50);

CREATE TABLE petrel.enrol_token (
    hash bytea PRIMARY KEY,
    host text NOT NULL,
    expires_at int8 NOT NULL,
    used_at int8
);

CREATE TABLE petrel.certificate (
    serial text PRIMARY KEY,
    host_id int4 NOT NULL REFERENCES petrel.host,
    not_before int8 NOT NULL,
    not_after int8 NOT NULL,
    revoked_at int8
);
CREATE INDEX certificate_host ON petrel.certificate (host_id);
CREATE INDEX certificate_revoked ON petrel.certificate (not_after) WHERE revoked_at IS NOT NULL;

CREATE TABLE petrel.audit (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at int8 NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX audit_at ON petrel.audit (at);

-- The one truth about what is stored: a sequence is committed together with its rows or not at all.
-- epoch is the unsigned 64-bit number of the agent's spool, kept as its bit pattern.
CREATE TABLE petrel.agent_cursor (
    host_id int4 NOT NULL,
    kind int2 NOT NULL,
    epoch int8 NOT NULL,
    last_seq int8 NOT NULL DEFAULT 0,
    session int8 NOT NULL,
    digest bytea NOT NULL DEFAULT '',
    stored_records int8 NOT NULL DEFAULT 0,
    gap_records int8 NOT NULL DEFAULT 0,
    updated_at int8 NOT NULL DEFAULT 0,
    PRIMARY KEY (host_id, kind, epoch)
) WITH (fillfactor = 50);
CREATE SEQUENCE petrel.ingest_session;

CREATE TABLE petrel.gap (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id int4 NOT NULL,
    kind int2 NOT NULL,
    epoch int8 NOT NULL,
    seq int8 NOT NULL,
    reason text NOT NULL,
    record_count int8 NOT NULL,
    from_ns int8,
    to_ns int8,
    source text NOT NULL,
    detail text NOT NULL,
    received_ns int8 NOT NULL
);
CREATE INDEX gap_received ON petrel.gap (received_ns);
