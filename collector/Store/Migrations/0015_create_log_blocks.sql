-- Log lines as blocks: a row has many lines of one stream, in columns. log_batch has what was committed, as it came;
-- what is sealed stands in log_block, in longer rows with filters, and is gone from log_batch in the same transaction.
-- The rows of log_entry are moved by the collector and their partitions dropped. docs/formats/storage.md, "Log blocks".

CREATE SEQUENCE petrel.log_row_id;

CREATE TABLE petrel.log_batch (
    -- Of the receipt.
    recv_hour int4 NOT NULL,
    id int8 NOT NULL DEFAULT nextval('petrel.log_row_id'),
    stream_id int4 NOT NULL,
    first_ns int8 NOT NULL,
    last_ns int8 NOT NULL,
    received_ns int8 NOT NULL,
    line_count int4 NOT NULL,
    byte_count int4 NOT NULL,
    -- minute (at whose end, inclusive, the lines are), level, lines, bytes, …
    rates int4[] NOT NULL,
    -- The first is empty: no level.
    level_names text[] NOT NULL,
    -- Nanoseconds, ascending.
    ts int8[] NOT NULL,
    -- A byte a line: a place in level_names, from 0.
    levels bytea NOT NULL,
    meta bytea,
    -- Each ended by U+001E.
    lines text NOT NULL,
    -- Index, length and bytes of the lines that text can't hold.
    odd bytea,
    -- Names of the fields that lines have.
    fields text[] NOT NULL
) PARTITION BY RANGE (recv_hour);
CREATE INDEX log_batch_stream ON petrel.log_batch (stream_id, id);

CREATE TABLE petrel.log_block (
    -- Of its lines.
    day int4 NOT NULL,
    id int8 NOT NULL DEFAULT nextval('petrel.log_row_id'),
    stream_id int4 NOT NULL,
    first_ns int8 NOT NULL,
    last_ns int8 NOT NULL,
    line_count int4 NOT NULL,
    byte_count int4 NOT NULL,
    -- A run of more than 32 letters and digits, 32 hexadecimal ones among them, is in it: its ids tell nothing of that.
    has_long_run boolean NOT NULL,
    rates int4[] NOT NULL,
    level_names text[] NOT NULL,
    ts int8[] NOT NULL,
    levels bytea NOT NULL,
    meta bytea,
    -- NULL where they are packed.
    lines text,
    -- Of days that are long over: the lines in Zstandard's format, for the collector alone to read.
    packed bytea,
    odd bytea,
    fields text[] NOT NULL,
    id_filter bytea NOT NULL,
    trigram_filter bytea NOT NULL,
    CHECK ((lines IS NULL) <> (packed IS NULL)),
    PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
CREATE INDEX log_block_stream ON petrel.log_block (stream_id, first_ns);
-- Dense already; of the filters of ids single blocks are read.
ALTER TABLE petrel.log_block ALTER id_filter SET STORAGE EXTERNAL,
    ALTER trigram_filter SET STORAGE EXTERNAL, ALTER packed SET STORAGE EXTERNAL;

-- Traces and requests of the blocks first_id … last_id of a day. Blocks with greater ids are in none.
CREATE TABLE petrel.log_trace_filter (
    day int4 NOT NULL,
    first_id int8 NOT NULL,
    last_id int8 NOT NULL,
    has_long_run boolean NOT NULL,
    filter bytea NOT NULL,
    PRIMARY KEY (day, first_id)
);
ALTER TABLE petrel.log_trace_filter ALTER filter SET STORAGE EXTERNAL;

-- What was pushed over HTTP: the same again is a repeat.
CREATE TABLE petrel.log_push (
    digest bytea PRIMARY KEY,
    received_ns int8 NOT NULL
);
CREATE INDEX log_push_received ON petrel.log_push (received_ns);

DO $$ BEGIN
    ALTER TABLE petrel.log_batch ALTER ts SET COMPRESSION lz4, ALTER levels SET COMPRESSION lz4,
        ALTER meta SET COMPRESSION lz4, ALTER lines SET COMPRESSION lz4;
    ALTER TABLE petrel.log_block ALTER ts SET COMPRESSION lz4, ALTER levels SET COMPRESSION lz4,
        ALTER meta SET COMPRESSION lz4, ALTER lines SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN NULL;
END $$;

CREATE FUNCTION petrel.ensure_log_batch_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition('log_batch', 'log_batch_h' || wanted, 'recv_hour', wanted, 5)
$$;
CREATE FUNCTION petrel.ensure_log_block_partition(wanted int4) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = petrel, pg_temp AS $$
    SELECT petrel.ensure_partition('log_block', 'log_block_d' || wanted, 'day', wanted, 6)
$$;

-- Drops a table that was once a partition of ours and is attached to nothing any more.
CREATE OR REPLACE FUNCTION petrel.drop_detached_partition(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = petrel, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    IF name !~ '^(ingest_batch_h|log_batch_h|log_entry_d|log_block_d|exemplar_d|chunk_d|chunk_c[1-9][0-9]?_d)[0-9]+$' THEN
        RAISE EXCEPTION '% is no partition of petrel', name;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass('petrel.' || name)) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS petrel.%I', name);
    RETURN true;
END $$;

-- The fields beside each of the lines as shown, from columns (`MetadataColumns`).
CREATE FUNCTION petrel.log_metadata(meta bytea, shown text[]) RETURNS jsonb[]
LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE AS $$
DECLARE
    bytes bytea := substring(meta FROM 1);
    line_count int4 := coalesce(array_length(shown, 1), 0);
    result jsonb[] := array_fill('{}'::jsonb, ARRAY[line_count]);
    at int4 := 0;
    name_count int8;
    name text;
    kind int4;
    number record;
    size int4;
    value text;
    known text[];
    -- Where in each line the value of the column before begins.
    anchors int4[] := array_fill(0, ARRAY[line_count]);
BEGIN
    -- What is in packed lines can't be shown.
    IF shown IS NULL THEN RETURN NULL; END IF;
    IF bytes IS NULL OR octet_length(bytes) = 0 THEN RETURN result; END IF;
    number := petrel.chunk_varint(bytes, at);
    at := number.at;
    name_count := number.value;
    FOR of_name IN 1..name_count LOOP
        number := petrel.chunk_varint(bytes, at);
        name := petrel.line_text(substring(bytes FROM number.at + 1 FOR number.value::int4));
        at := number.at + number.value::int4;
        kind := get_byte(bytes, at);
        at := at + 1;
        size := 0;
        known := '{}';
        IF kind = 0 THEN
            number := petrel.chunk_varint(bytes, at);
            value := petrel.line_text(substring(bytes FROM number.at + 1 FOR number.value::int4));
            at := number.at + number.value::int4;
        ELSIF kind = 1 THEN
            number := petrel.chunk_varint(bytes, at);
            at := number.at;
            FOR of_value IN 1..number.value LOOP
                number := petrel.chunk_varint(bytes, at);
                known := known
                    || petrel.line_text(substring(bytes FROM number.at + 1 FOR number.value::int4));
                at := number.at + number.value::int4;
            END LOOP;
        ELSIF kind IN (2, 3) THEN
            number := petrel.chunk_varint(bytes, at);
            at := number.at;
            size := number.value;
        END IF;
        FOR line IN 1..line_count LOOP
            IF kind <> 0 THEN
                value := NULL;
                number := petrel.chunk_varint(bytes, at);
                at := number.at;
                IF kind = 1 AND number.value > 0 THEN
                    value := known[number.value];
                ELSIF kind = 2 AND number.value = 1 THEN
                    number := petrel.chunk_varint(bytes, at);
                    value := petrel.line_text(
                        substring(bytes FROM number.at + 1 FOR number.value::int4));
                    at := number.at + number.value::int4;
                ELSIF kind = 2 AND number.value > 1 THEN
                    -- Zigzag.
                    anchors[line] := anchors[line]
                        + (((number.value - 2) >> 1) # -((number.value - 2) & 1))::int4;
                    value := petrel.line_text(substring(
                        convert_to(shown[line], 'UTF8') FROM anchors[line] + 1 FOR size));
                ELSIF kind = 3 AND number.value > 0 THEN
                    value := encode(substring(bytes FROM at + 1 FOR size / 2), 'hex');
                    at := at + size / 2;
                ELSIF kind = 4 AND number.value > 0 THEN
                    value := petrel.line_text(
                        substring(bytes FROM at + 1 FOR number.value::int4 - 1));
                    at := at + number.value::int4 - 1;
                END IF;
            END IF;
            IF value IS NOT NULL THEN
                result[line] := result[line] || jsonb_build_object(name, value);
            END IF;
        END LOOP;
    END LOOP;
    RETURN result;
END $$;

CREATE FUNCTION petrel.log_shown(lines text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN lines = E'\x1e' THEN ARRAY[''] ELSE string_to_array(left(lines, -1), E'\x1e') END
$$;

-- The lines of a row, from 1; of packed ones only times and levels.
CREATE FUNCTION petrel.log_lines(
    ts int8[], levels bytea, level_names text[], lines text, meta bytea)
RETURNS TABLE (ordinal int4, at_ns int8, level text, metadata jsonb, line text)
LANGUAGE sql IMMUTABLE PARALLEL UNSAFE ROWS 1000 AS $$
    SELECT u.number::int4, u.ts, nullif($3[get_byte($2, u.number::int4 - 1) + 1], ''), u.meta, u.line
    FROM unnest($1, petrel.log_shown($4), petrel.log_metadata($5, petrel.log_shown($4)))
        WITH ORDINALITY AS u (ts, line, meta, number)
$$;

-- The exact bytes of a line that is shown as `shown`.
CREATE FUNCTION petrel.log_line_bytes(odd bytea, ordinal int4, shown text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    at int4 := 0;
    index record;
    size record;
BEGIN
    WHILE at < coalesce(octet_length(odd), 0) LOOP
        index := petrel.chunk_varint(odd, at);
        size := petrel.chunk_varint(odd, index.at);
        IF index.value = ordinal - 1 THEN
            RETURN substring(odd FROM size.at + 1 FOR size.value::int4);
        END IF;
        at := size.at + size.value::int4;
    END LOOP;
    RETURN convert_to(shown, 'UTF8');
END $$;

DROP VIEW petrel.log;
CREATE VIEW petrel.log AS
SELECT to_timestamp(l.at_ns / 1e9) AS at, l.at_ns, s.labels, l.level,
    l.metadata ->> 'trace_id' AS trace_id, l.metadata ->> 'request_id' AS request_id, l.metadata,
    l.line, petrel.log_line_bytes(b.odd, l.ordinal, l.line) AS line_bytes, b.stream_id, b.id,
    l.ordinal
FROM (
    SELECT stream_id, id, ts, levels, level_names, lines, meta, odd FROM petrel.log_batch
    UNION ALL
    SELECT stream_id, id, ts, levels, level_names, lines, meta, odd FROM petrel.log_block
) AS b
JOIN petrel.log_stream s ON s.id = b.stream_id
CROSS JOIN LATERAL petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) AS l;

-- Lines of [from_time, to_time) of the streams that have all labels of `selector`, in the order of time.
CREATE FUNCTION petrel.logs(
    from_time timestamptz, to_time timestamptz, selector jsonb DEFAULT '{}')
RETURNS TABLE (at timestamptz, at_ns int8, labels jsonb, level text, metadata jsonb, line text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10000 AS $$
    WITH span AS (
        SELECT (extract(epoch FROM greatest($1, 'epoch')) * 1000000)::int8 * 1000 AS from_ns,
            (extract(epoch FROM least($2, '2200-01-01')) * 1000000)::int8 * 1000 AS to_ns
    ), rows AS (
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_batch b, span WHERE b.last_ns >= span.from_ns AND b.first_ns < span.to_ns
        UNION ALL
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_block b, span
        WHERE b.day BETWEEN span.from_ns / 86400000000000 AND span.to_ns / 86400000000000
            AND b.last_ns >= span.from_ns AND b.first_ns < span.to_ns
    )
    SELECT to_timestamp(l.at_ns / 1e9), l.at_ns, s.labels, l.level, l.metadata, l.line
    FROM span, rows b JOIN petrel.log_stream s ON s.id = b.stream_id AND s.labels @> $3
    CROSS JOIN LATERAL petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) AS l
    WHERE l.at_ns >= span.from_ns AND l.at_ns < span.to_ns
    ORDER BY l.at_ns, b.id, l.ordinal
$$;

-- Those of them that have `needle` in them as it is written.
CREATE FUNCTION petrel.log_grep(
    needle text, from_time timestamptz, to_time timestamptz, selector jsonb DEFAULT '{}')
RETURNS TABLE (at timestamptz, at_ns int8, labels jsonb, level text, metadata jsonb, line text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 100 AS $$
    WITH span AS (
        SELECT (extract(epoch FROM greatest($2, 'epoch')) * 1000000)::int8 * 1000 AS from_ns,
            (extract(epoch FROM least($3, '2200-01-01')) * 1000000)::int8 * 1000 AS to_ns
    ), rows AS (
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_batch b, span
        WHERE b.last_ns >= span.from_ns AND b.first_ns < span.to_ns AND strpos(b.lines, $1) > 0
        UNION ALL
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_block b, span
        WHERE b.day BETWEEN span.from_ns / 86400000000000 AND span.to_ns / 86400000000000
            AND b.last_ns >= span.from_ns AND b.first_ns < span.to_ns AND strpos(b.lines, $1) > 0
    )
    SELECT to_timestamp(l.at_ns / 1e9), l.at_ns, s.labels, l.level, l.metadata, l.line
    FROM span, rows b JOIN petrel.log_stream s ON s.id = b.stream_id AND s.labels @> $4
    CROSS JOIN LATERAL petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) AS l
    WHERE l.at_ns >= span.from_ns AND l.at_ns < span.to_ns AND strpos(l.line, $1) > 0
    ORDER BY l.at_ns, b.id, l.ordinal
$$;

-- `LogHash`: two numbers of 32 bits.
CREATE FUNCTION petrel.log_hash(value bytea) RETURNS int8[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    mask CONSTANT int8 := 4294967295;
    parts int8[] := ARRAY[2166136261, 461845907];
    byte int4;
    part int8;
BEGIN
    FOR place IN 0..octet_length(value) - 1 LOOP
        byte := get_byte(value, place);
        parts[1] := ((parts[1] # byte) * 16777619) & mask;
        parts[2] := (((parts[2] + byte + 1) & mask) * 1540483477) & mask;
    END LOOP;
    FOR number IN 1..2 LOOP
        part := parts[number];
        part := part # (part >> 15);
        part := (part * 739982445) & mask;
        part := part # (part >> 12);
        part := (part * 695872825) & mask;
        parts[number] := part # (part >> 15);
    END LOOP;
    RETURN parts;
END $$;

-- Whether a filter of ids may have a value of that hash (`BlockFilter`). Reads one of its blocks.
CREATE FUNCTION petrel.log_filter_has(filter bytea, hash int8[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    salts CONSTANT int8[] := ARRAY[1203114875, 1150766481, 2284105051, 2729912477, 1884591559,
        770785867, 2667333959, 1550580529];
    place int4 := ((hash[1] * (octet_length(filter) / 32)) >> 32) * 32;
    block bytea := substring(filter FROM place + 1 FOR 32);
    bit int4;
BEGIN
    IF octet_length(block) <> 32 THEN RETURN octet_length(block) > 0; END IF;
    FOR word IN 0..7 LOOP
        bit := (((hash[2] & 65535) * salts[word + 1]
            + ((((hash[2] >> 16) * salts[word + 1]) & 65535) << 16)) & 4294967295) >> 27;
        IF get_bit(block, word * 32 + bit) = 0 THEN RETURN false; END IF;
    END LOOP;
    RETURN true;
END $$;

-- Every line of every host within [from_time, to_time) that has `wanted` as its trace_id or request_id.
CREATE FUNCTION petrel.log_trace(
    wanted text, from_time timestamptz DEFAULT '-infinity', to_time timestamptz DEFAULT 'infinity')
RETURNS TABLE (at timestamptz, at_ns int8, labels jsonb, level text, metadata jsonb, line text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10 AS $$
    WITH span AS (
        SELECT (extract(epoch FROM greatest($2, 'epoch')) * 1000000)::int8 * 1000 AS from_ns,
            (extract(epoch FROM least($3, '2200-01-01')) * 1000000)::int8 * 1000 AS to_ns,
            petrel.log_hash(convert_to($1, 'UTF8')) AS hash
    ), rows AS (
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_batch b, span WHERE b.last_ns >= span.from_ns AND b.first_ns < span.to_ns
        UNION ALL
        SELECT b.stream_id, b.id, b.ts, b.levels, b.level_names, b.lines, b.meta
        FROM petrel.log_block b, span
        WHERE b.day BETWEEN span.from_ns / 86400000000000 AND span.to_ns / 86400000000000
            AND b.last_ns >= span.from_ns AND b.first_ns < span.to_ns
            AND petrel.log_filter_has(b.id_filter, span.hash)
    )
    SELECT to_timestamp(l.at_ns / 1e9), l.at_ns, s.labels, l.level, l.metadata, l.line
    FROM span, rows b JOIN petrel.log_stream s ON s.id = b.stream_id
    CROSS JOIN LATERAL petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) AS l
    WHERE l.at_ns >= span.from_ns AND l.at_ns < span.to_ns
        AND $1 IN (l.metadata ->> 'trace_id', l.metadata ->> 'request_id')
    ORDER BY l.at_ns, b.id, l.ordinal
$$;

REVOKE ALL ON FUNCTION petrel.ensure_log_batch_partition(int4),
    petrel.ensure_log_block_partition(int4) FROM PUBLIC;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT, INSERT, DELETE ON petrel.log_batch, petrel.log_block,
            petrel.log_trace_filter, petrel.log_push TO petrel_ingest;
        GRANT USAGE, SELECT ON SEQUENCE petrel.log_row_id TO petrel_ingest;
        GRANT EXECUTE ON FUNCTION petrel.ensure_log_batch_partition(int4),
            petrel.ensure_log_block_partition(int4) TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.log, petrel.log_batch, petrel.log_block, petrel.log_trace_filter
            TO petrel_query;
        GRANT EXECUTE ON FUNCTION petrel.chunk_varint(bytea, int4), petrel.line_text(bytea),
            petrel.log_metadata(bytea, text[]), petrel.log_shown(text),
            petrel.log_lines(int8[], bytea, text[], text, bytea),
            petrel.log_line_bytes(bytea, int4, text),
            petrel.logs(timestamptz, timestamptz, jsonb),
            petrel.log_grep(text, timestamptz, timestamptz, jsonb), petrel.log_hash(bytea),
            petrel.log_filter_has(bytea, int8[]),
            petrel.log_trace(text, timestamptz, timestamptz) TO petrel_query;
    END IF;
END $$;
