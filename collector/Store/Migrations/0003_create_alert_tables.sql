-- Alerts, their history, the notifications that wait or were sent, and each attempt to deliver one.

CREATE TABLE petrel.alert (
    rule text NOT NULL,
    label_digest bytea NOT NULL,
    label_key bytea NOT NULL,
    labels jsonb NOT NULL,
    annotation_key bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('inactive', 'pending', 'firing')),
    value float8 NOT NULL,
    active_at int8 NOT NULL,
    fired_at int8,
    resolved_at int8,
    keep_firing_since int8,
    last_notified_at int8,
    PRIMARY KEY (rule, label_digest)
) WITH (fillfactor = 50);

CREATE TABLE petrel.alert_transition (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    label_key bytea NOT NULL,
    labels jsonb NOT NULL,
    from_state text NOT NULL,
    to_state text NOT NULL,
    value float8 NOT NULL,
    at int8 NOT NULL
);
CREATE INDEX alert_transition_at ON petrel.alert_transition (at);

CREATE TABLE petrel.outbox (
    id text PRIMARY KEY,
    receiver text NOT NULL,
    integration text NOT NULL,
    group_key text NOT NULL,
    group_label_key bytea NOT NULL,
    alerts bytea NOT NULL,
    alert_labels jsonb NOT NULL,
    created_at int8 NOT NULL,
    attempt_count int4 NOT NULL DEFAULT 0,
    next_attempt_at int8 NOT NULL,
    leased_until int8 NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'abandoned'))
) WITH (fillfactor = 50);
CREATE INDEX outbox_waiting ON petrel.outbox (created_at, id) WHERE state = 'waiting';

CREATE TABLE petrel.delivery (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL REFERENCES petrel.outbox,
    at int8 NOT NULL,
    status int4,
    error text NOT NULL,
    duration_ms int8 NOT NULL
);
