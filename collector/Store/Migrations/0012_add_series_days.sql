-- Which series have samples on which day: bit n mod 8 of byte n / 8 stands for series n. The rows of a day add up; each is
-- written with the chunks of its seal, and goes when the chunks of its day go. class is the retention class.
CREATE TABLE petrel.series_day (
    class int2 NOT NULL,
    day int4 NOT NULL,
    seal int8 NOT NULL,
    series bytea NOT NULL,
    PRIMARY KEY (class, day, seal)
);

-- Of chunks that are there: all series of their groups.
INSERT INTO petrel.series_day (class, day, seal, series)
SELECT 0, d.day, 0, (
    SELECT string_agg(set_byte('\x00', 0, coalesce(m.mask, 0)), ''::bytea ORDER BY b.at)
    FROM generate_series(0, (SELECT max(id) / 8 FROM petrel.series)) AS b (at)
    LEFT JOIN (
        SELECT s.id / 8 AS at, bit_or(1 << (s.id % 8)) AS mask
        FROM petrel.series s
        WHERE EXISTS (SELECT 1 FROM petrel.chunk c WHERE c.grp = s.grp AND c.day = d.day)
        GROUP BY 1
    ) AS m USING (at)
)
FROM (SELECT DISTINCT day FROM petrel.chunk) AS d
WHERE EXISTS (SELECT 1 FROM petrel.series);

DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_ingest') THEN
        GRANT SELECT, INSERT ON petrel.series_day TO petrel_ingest;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'petrel_query') THEN
        GRANT SELECT ON petrel.series_day TO petrel_query;
    END IF;
END $$;
