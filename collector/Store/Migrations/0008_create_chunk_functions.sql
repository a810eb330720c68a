-- Chunks for SQL users: the floats of docs/formats/chunk.md, decoded without an extension. Native histograms and start
-- timestamps stay out. The checksum is not looked at: in PL/pgSQL it would cost as much as the decoding.

-- LEB128 at byte `at`; `at` is then behind it. Values above 2^63 come as their bit pattern.
CREATE FUNCTION petrel.chunk_varint(data bytea, INOUT at int4, OUT value int8)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    byte int4 := get_byte(data, at);
    shift int4 := 7;
BEGIN
    at := at + 1;
    value := byte & 127;
    WHILE byte > 127 LOOP
        byte := get_byte(data, at);
        IF shift = 63 AND byte > 1 THEN
            RAISE EXCEPTION 'a number of more than 64 bits before byte %', at
                USING ERRCODE = 'data_corrupted';
        END IF;
        at := at + 1;
        value := value | ((byte & 127)::int8 << shift);
        shift := shift + 7;
    END LOOP;
END $$;

-- The eight bytes from `at` on, little-endian.
CREATE FUNCTION petrel.chunk_bits(data bytea, at int4) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT get_byte(data, at)::int8
        | (get_byte(data, at + 1)::int8 << 8) | (get_byte(data, at + 2)::int8 << 16)
        | (get_byte(data, at + 3)::int8 << 24) | (get_byte(data, at + 4)::int8 << 32)
        | (get_byte(data, at + 5)::int8 << 40) | (get_byte(data, at + 6)::int8 << 48)
        | (get_byte(data, at + 7)::int8 << 56)
$$;

-- The double of these bits, by arithmetic that is exact: a 53-bit integer times a power of two. strtod of glibc makes a
-- NaN of any payload, but only quiet ones: a signalling NaN, the staleness marker among them, comes
-- with its quiet bit set (0x7ff0000000000002 as 0x7ff8000000000002). It is not STRICT so that it can be inlined.
CREATE FUNCTION petrel.chunk_double(bits int8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN bits & 9218868437227405312 <> 9218868437227405312 THEN
            CASE WHEN bits < 0 THEN -1::float8 ELSE 1::float8 END
            * (((bits & 4503599627370495)
                | CASE WHEN bits & 9218868437227405312 = 0 THEN 0 ELSE 4503599627370496 END)::float8
                / 4503599627370496)
            * power(2::float8, greatest((bits >> 52) & 2047, 1)::float8 - 1023)
        WHEN bits & 4503599627370495 <> 0 THEN
            (CASE WHEN bits < 0 THEN '-nan(0x' ELSE 'nan(0x' END
                || to_hex(bits & 2251799813685247) || ')')::float8
        WHEN bits < 0 THEN '-Infinity'::float8
        ELSE 'Infinity'::float8
    END
$$;

-- Whether a value is Prometheus' staleness marker, as ingest_batch has it or as a chunk gives it.
CREATE FUNCTION petrel.is_stale(value float8) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT float8send(value) IN ('\x7ff0000000000002', '\x7ff8000000000002')
$$;

-- `count` integers of the column at byte `at`; `at` is then behind it. Eight bytes more than the column can be read.
-- Sums that pass 64 bits wrap in the format; here they raise an error, but for a block of 63 or 64 bits a value, which
-- values up to 2^61 can lead to.
CREATE FUNCTION petrel.chunk_integers(
    data bytea, INOUT at int4, count int4, until int4, OUT ints int8[])
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    number record;
    step int8;
    base int8;
    slope int8;
    width int4;
    low int8;
    mask int8;
    size int4;
    bit int4;
    part int8;
    upper int8;
    sort int4 := get_byte(data, at);
    done int4;
BEGIN
    IF sort > 2 OR sort > 0 AND sort >= count THEN
        RAISE EXCEPTION 'an integer column of order % before byte %', sort, at + 1
            USING ERRCODE = 'data_corrupted';
    END IF;
    number := petrel.chunk_varint(data, at + 1);
    step := number.value;
    number := petrel.chunk_varint(data, number.at);
    base := ((number.value >> 1) & 9223372036854775807) # -(number.value & 1);
    IF sort = 2 THEN
        number := petrel.chunk_varint(data, number.at);
        slope := ((number.value >> 1) & 9223372036854775807) # -(number.value & 1);
    END IF;
    at := number.at;
    ints := array_fill(0::int8, ARRAY[count]);

    done := sort;
    WHILE done < count LOOP
        size := least(64, count - done);
        width := get_byte(data, at);
        number := petrel.chunk_varint(data, at + 1);
        low := ((number.value >> 1) & 9223372036854775807) # -(number.value & 1);
        at := number.at;
        IF width > 64 OR at + ((size * width + 7) >> 3) > until THEN
            RAISE EXCEPTION 'a block of % bits a value before byte %', width, at
                USING ERRCODE = 'data_corrupted';
        END IF;
        bit := 8 * at;
        mask := ~(-1::int8 << width);
        -- Each value by as few bytes as it can lie in.
        IF width = 0 THEN
            FOR index IN done + 1 .. done + size LOOP
                ints[index] := low;
            END LOOP;
        ELSIF width <= 9 THEN
            FOR index IN done + 1 .. done + size LOOP
                ints[index] := low
                    + (((get_byte(data, bit >> 3) | (get_byte(data, (bit >> 3) + 1) << 8))
                        >> (bit & 7)) & mask);
                bit := bit + width;
            END LOOP;
        ELSIF width <= 17 THEN
            FOR index IN done + 1 .. done + size LOOP
                ints[index] := low
                    + (((get_byte(data, bit >> 3) | (get_byte(data, (bit >> 3) + 1) << 8)
                        | (get_byte(data, (bit >> 3) + 2) << 16)) >> (bit & 7)) & mask);
                bit := bit + width;
            END LOOP;
        ELSIF width <= 56 THEN
            FOR index IN done + 1 .. done + size LOOP
                ints[index] := low
                    + ((petrel.chunk_bits(data, bit >> 3) >> (bit & 7)) & mask);
                bit := bit + width;
            END LOOP;
        ELSE
            FOR index IN done + 1 .. done + size LOOP
                part := (petrel.chunk_bits(data, bit >> 3) >> (bit & 7)) & 4294967295;
                bit := bit + 32;
                upper := (petrel.chunk_bits(data, bit >> 3) >> (bit & 7))
                    & ~(-1::int8 << (width - 32));
                bit := bit + width - 32;
                IF width <= 62 THEN
                    ints[index] := low + ((upper << 32) | part);
                ELSE
                    -- By halves, so that the sum may wrap.
                    part := part + (low & 4294967295);
                    ints[index] := ((upper + (low >> 32) + (part >> 32)) << 32)
                        | (part & 4294967295);
                END IF;
            END LOOP;
        END IF;
        at := at + (size * width + 7) / 8;
        done := done + size;
    END LOOP;

    IF sort = 0 THEN
        IF step <> 1 OR base <> 0 THEN
            FOR index IN 1 .. count LOOP
                ints[index] := base + step * ints[index];
            END LOOP;
        END IF;
    ELSIF sort = 1 THEN
        ints[1] := base;
        FOR index IN 2 .. count LOOP
            base := base + step * ints[index];
            ints[index] := base;
        END LOOP;
    ELSE
        ints[1] := base;
        base := base + step * slope;
        ints[2] := base;
        FOR index IN 3 .. count LOOP
            slope := slope + ints[index];
            base := base + step * slope;
            ints[index] := base;
        END LOOP;
    END IF;
END $$;

-- `count` doubles of the value column at byte `at`; `at` is then behind it.
CREATE FUNCTION petrel.chunk_values(
    data bytea, INOUT at int4, count int4, until int4, OUT vals float8[])
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    kind int4 := get_byte(data, at);
    number record;
    power float8;
    exceptions int4[] := '{}';
    place int4 := 0;
BEGIN
    IF kind = 0 THEN
        vals := array_fill(petrel.chunk_double(petrel.chunk_bits(data, at + 1)), ARRAY[count]);
        at := at + 9;
    ELSIF kind = 1 THEN
        IF get_byte(data, at + 1) > 15 THEN
            RAISE EXCEPTION 'a decimal column of exponent % before byte %',
                get_byte(data, at + 1), at + 2 USING ERRCODE = 'data_corrupted';
        END IF;
        power := ('1e' || get_byte(data, at + 1))::float8;
        number := petrel.chunk_varint(data, at + 2);
        at := number.at;
        FOR index IN 1 .. number.value LOOP
            number := petrel.chunk_varint(data, at);
            place := place + number.value;
            exceptions := exceptions || place || number.at;
            at := number.at + 8;
        END LOOP;
        number := petrel.chunk_integers(data, at, count, until);
        at := number.at;
        vals := ARRAY(SELECT i / power FROM unnest(number.ints) AS i);
        FOR index IN 1 .. cardinality(exceptions) BY 2 LOOP
            IF exceptions[index] >= count THEN
                RAISE EXCEPTION 'an exception at % of %', exceptions[index], count
                    USING ERRCODE = 'data_corrupted';
            END IF;
            vals[exceptions[index] + 1] :=
                petrel.chunk_double(petrel.chunk_bits(data, exceptions[index + 1]));
        END LOOP;
    ELSIF kind = 2 THEN
        number := petrel.chunk_integers(data, at + 1, count, until);
        at := number.at;
        IF at + 6 * count <= until THEN
            vals := ARRAY(
                SELECT petrel.chunk_double(bits) FROM (
                    SELECT (petrel.chunk_bits(data, at + 6 * i::int4 - 6) & 281474976710655)
                        | (u.upper << 48)
                    FROM unnest(number.ints) WITH ORDINALITY AS u (upper, i)
                    OFFSET 0
                ) AS b (bits));
        END IF;
        at := at + 6 * count;
    ELSE
        RAISE EXCEPTION 'a value column of kind % before byte %', kind, at + 1
            USING ERRCODE = 'data_corrupted';
    END IF;
END $$;

-- The float samples of a chunk, or of the wanted slots of it, slot by slot in order of time.
CREATE FUNCTION petrel.chunk_samples(
    data bytea,
    wanted int2[] DEFAULT
        '{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31}')
RETURNS TABLE (slot int2, ts int8, value float8)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 20000 ROWS 500 AS $$
DECLARE
    -- In memory once, with what wide reads may touch behind the end.
    bytes bytea := substring(data FROM 1) || '\x0000000000000000';
    total int4 := octet_length(bytes) - 8;
    number record;
    slots int4;
    times int8[];
    -- First byte of each slot's column, and the end of the last.
    starts int4[];
    present int8[];
    runs int4;
    run int4;
    have int4;
    told int4;
    at int4;
    flags int4;
BEGIN
    IF total < 6 THEN
        RAISE EXCEPTION '% bytes are no chunk', total USING ERRCODE = 'data_corrupted';
    ELSIF get_byte(bytes, 0) <> 1 THEN
        RAISE EXCEPTION 'a chunk of version %', get_byte(bytes, 0)
            USING ERRCODE = 'data_corrupted';
    END IF;
    number := petrel.chunk_varint(bytes, 5);
    slots := number.value;
    number := petrel.chunk_varint(bytes, number.at);
    IF slots NOT BETWEEN 1 AND 32 OR number.value NOT BETWEEN 1 AND 72000 THEN
        RAISE EXCEPTION 'a chunk of % series and % times', slots, number.value
            USING ERRCODE = 'data_corrupted';
    END IF;
    number := petrel.chunk_integers(bytes, number.at, number.value::int4, total);
    times := number.ints;
    at := number.at;
    starts := ARRAY[0];
    FOR index IN 1 .. slots LOOP
        number := petrel.chunk_varint(bytes, at);
        at := number.at;
        starts := starts || (starts[index] + number.value)::int4;
    END LOOP;
    IF at + starts[slots + 1] <> total THEN
        RAISE EXCEPTION 'columns to byte % in a chunk of %', at + starts[slots + 1], total
            USING ERRCODE = 'data_corrupted';
    END IF;
    starts := ARRAY(SELECT at + s FROM unnest(starts) AS s);

    FOREACH slot IN ARRAY wanted LOOP
        CONTINUE WHEN slot IS NULL OR slot NOT BETWEEN 0 AND slots - 1;
        at := starts[slot + 1];
        flags := get_byte(bytes, at);
        at := at + 1;
        IF flags > 7 THEN
            RAISE EXCEPTION 'a column of flags % before byte %', flags, at
                USING ERRCODE = 'data_corrupted';
        END IF;
        IF flags & 1 = 0 THEN
            present := times;
        ELSE
            number := petrel.chunk_varint(bytes, at);
            at := number.at;
            runs := number.value;
            present := '{}';
            have := 0;
            told := 0;
            FOR index IN 1 .. runs LOOP
                number := petrel.chunk_varint(bytes, at);
                at := number.at;
                run := number.value;
                IF run NOT BETWEEN 0 AND cardinality(times) - told THEN EXIT; END IF;
                IF index & 1 = 0 THEN
                    FOR place IN told + 1 .. told + run LOOP
                        have := have + 1;
                        present[have] := times[place];
                    END LOOP;
                END IF;
                told := told + run;
            END LOOP;
            IF told <> cardinality(times) THEN
                RAISE EXCEPTION 'runs of % times where there are %', told, cardinality(times)
                    USING ERRCODE = 'data_corrupted';
            END IF;
        END IF;
        IF cardinality(present) > 0 THEN
            number := petrel.chunk_values(
                bytes, at, cardinality(present), starts[slot + 2]);
            at := number.at;
            IF at > starts[slot + 2] OR flags < 2 AND at < starts[slot + 2] THEN
                RAISE EXCEPTION 'slot % ends at byte %, not %', slot, starts[slot + 2], at
                    USING ERRCODE = 'data_corrupted';
            END IF;
            RETURN QUERY SELECT slot, u.t, u.v FROM unnest(present, number.vals) AS u (t, v);
        END IF;
    END LOOP;
END $$;

-- The float samples of one slot; the columns of the others are stepped over.
CREATE FUNCTION petrel.chunk_samples_of(data bytea, wanted int2)
RETURNS TABLE (ts int8, value float8)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT c.ts, c.value FROM petrel.chunk_samples(data, ARRAY[wanted]) AS c
$$;

-- What no chunk holds yet, and what chunks hold. A sample that a later seal of the same group replaced is left out; two
-- rows of ingest_batch for the same series and time are both shown, as is one that replaces a sample in a chunk. Only
-- the columns of the series that a query asks for are decoded: say the metric. A time alone decodes every chunk;
-- petrel.samples does not.
CREATE OR REPLACE VIEW petrel.sample AS
SELECT to_timestamp(b.ts / 1000.0) AS at, b.ts AS at_ms, s.metric, s.labels, p.value,
    coalesce(h.name, '') AS host, p.series_id
FROM petrel.ingest_batch b
CROSS JOIN LATERAL unnest(b.series, b.vals) AS p (series_id, value)
JOIN petrel.series s ON s.id = p.series_id
LEFT JOIN petrel.host h ON h.id = b.host_id
WHERE b.ts IS NOT NULL
    AND (b.number > (SELECT m.number FROM petrel.metric_seal m)
        OR b.ts > (SELECT m.through_ms FROM petrel.metric_seal m))
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

-- The samples of a metric with from_time <= at < to_time, one a series and time: the one received last. Only chunks of
-- that metric and time are decoded, and of them only the metric's columns.
CREATE FUNCTION petrel.samples(
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
        SELECT w.id, b.ts, p.value, 9223372036854775807, b.number, b.received_ns
        FROM petrel.ingest_batch b
        CROSS JOIN LATERAL unnest(b.series, b.vals) AS p (series_id, value)
        JOIN wanted w ON w.id = p.series_id
        WHERE b.ts >= from_ms AND b.ts < to_ms
            AND (b.number > (SELECT m.number FROM petrel.metric_seal m)
                OR b.ts > (SELECT m.through_ms FROM petrel.metric_seal m))
    ), newest AS (
        SELECT DISTINCT ON (f.id, f.ts) f.id, f.ts, f.value
        FROM found f ORDER BY f.id, f.ts, f.seal DESC, f.number DESC, f.received_ns DESC
    )
    SELECT to_timestamp(n.ts / 1000.0), w.labels, n.value, n.id
    FROM newest n JOIN wanted w USING (id);
END $$;

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.chunk, petrel.metric_seal TO petrel_query;
        GRANT EXECUTE ON FUNCTION petrel.chunk_varint(bytea, int4), petrel.chunk_bits(bytea, int4),
            petrel.chunk_double(int8), petrel.is_stale(float8),
            petrel.chunk_integers(bytea, int4, int4, int4),
            petrel.chunk_values(bytea, int4, int4, int4), petrel.chunk_samples(bytea, int2[]),
            petrel.chunk_samples_of(bytea, int2),
            petrel.samples(text, timestamptz, timestamptz) TO petrel_query;
    END IF;
END $$;
