"""The same lines in plain tables of the same PostgreSQL: a row a line with a B-tree, and JSON documents with a GIN index."""
import re
import subprocess

from loglines import ABSENT, HOSTS, RARE, REGEX, SECOND

DATABASE = "bench"
PEERS = ("rows", "jsonb")
STATEMENT_SECONDS_MAX = 600
ROUNDS = 3
TABLES = {
    "rows": ("CREATE TABLE rows (stream int NOT NULL, ts int8 NOT NULL, line text NOT NULL)",
             "CREATE INDEX ON rows (stream, ts)"),
    "jsonb": ("CREATE TABLE jsonb (stream int NOT NULL, ts int8 NOT NULL, line jsonb NOT NULL)",
              "CREATE INDEX ON jsonb (stream, ts)", "CREATE INDEX ON jsonb USING gin (line jsonb_path_ops)"),
}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Tables:
    """A database of its own in the collector's PostgreSQL, removed at the end."""

    def __init__(self, fleet, reference):
        self.fleet, self.reference = fleet, reference
        self.streams = {labels: number for number, labels in enumerate(sorted(reference.streams.values()))}

    def __enter__(self):
        self._psql("CREATE DATABASE " + DATABASE, database="postgres")
        return self

    def __exit__(self, *_):
        self._psql(f"DROP DATABASE {DATABASE} WITH (FORCE)", database="postgres")

    def _command(self, database):
        return ["psql", "-h", self.fleet.socket_folder(), "-U", "postgres", "-d", database, "-AtqX",
                "-v", "ON_ERROR_STOP=1"]

    def _psql(self, *statements, database=DATABASE):
        command = self._command(database)
        for statement in statements:
            command += ["-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=STATEMENT_SECONDS_MAX)
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr.strip()[:300]}")
        return done.stdout.strip()

    def load(self):
        """COPY of all lines into each table, then its indexes: what a table of logs is at best. {table: seconds}."""
        took = {}
        for table, statements in TABLES.items():
            self._psql(statements[0])
            copy = subprocess.Popen([*self._command(DATABASE), "-c", "\\timing on", "-c", f"\\copy {table} FROM STDIN"],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for number in range(self.reference.chunks):
                copy.stdin.write("".join(
                    f"{self.streams[labels]}\t{at}\t{line.decode().translate(_ESCAPES)}\n"
                    for labels, entries in self.reference.chunk(number) for at, line in entries).encode())
            told, error = copy.communicate()
            if copy.returncode:
                raise RuntimeError(f"COPY: {error.decode()[:300]}")
            took[table] = self._milliseconds(told.decode()) / 1000
            self._psql(*statements[1:], f"VACUUM ANALYZE {table}")
        return took

    def bytes(self, table):
        """(of all, of the indexes alone)."""
        return tuple(int(x) for x in self._psql(
            f"SELECT pg_total_relation_size('{table}'), pg_indexes_size('{table}')").split("|"))

    @staticmethod
    def _milliseconds(text):
        return sum(float(x) for x in re.findall(r"^Time: ([0-9.]+) ms", text, re.M))

    def time(self, statement):
        """Median of the server's times as psql sees them, milliseconds; the first is not counted."""
        command = [*self._command(DATABASE), "-c", "\\timing on"]
        times = []
        for _ in range(ROUNDS + 1):
            done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, timeout=STATEMENT_SECONDS_MAX)
            if done.returncode:
                raise RuntimeError(f"psql: {done.stderr.strip()[:300]}")
            times.append(self._milliseconds(done.stdout))
        return sorted(times[1:])[ROUNDS // 2]

    def statements(self, table, trace):
        """{the query's name begins so: SQL for the same question}."""
        text = "line" if table == "rows" else "line::text"
        id_ = (f"line LIKE '%{trace}%'" if table == "rows" else
               f"line @> '{{\"trace_id\":\"{trace}\"}}' OR line @> '{{\"traceID\":\"{trace}\"}}'")
        minute = f"ts / {60 * SECOND}"
        level = "line::json->>'level'" if table == "rows" else "line->>'level'"
        host = "CASE"
        for name in HOSTS:
            numbers = ", ".join(str(n) for labels, n in self.streams.items() if f'host="{name}"' in labels)
            host += f" WHEN stream IN ({numbers}) THEN '{name}'"
        host += " END"
        stream = self.streams[self.reference.streams["app", "api"]]
        return {
            "one trace_id": f"SELECT * FROM {table} WHERE {id_}",
            "rare substring": f"SELECT * FROM {table} WHERE {text} LIKE '%{RARE}%'",
            "substring that is nowhere": f"SELECT * FROM {table} WHERE {text} LIKE '%{ABSENT}%'",
            "sum by (host)": f"SELECT {host}, {minute}, count(*) FROM {table} GROUP BY 1, 2",
            "sum by (detected_level)": f"SELECT {level}, {minute}, count(*) FROM {table} GROUP BY 1, 2",
            "last 100 lines of a stream": f"SELECT * FROM {table} WHERE stream = {stream} ORDER BY ts DESC LIMIT 100",
            "regular expression": f"SELECT * FROM {table} WHERE {text} ~ '{REGEX}'",
        }

    def times(self, trace):
        """{table: {the query's name begins so: milliseconds}}."""
        return {table: {name: self.time(statement) for name, statement in self.statements(table, trace).items()}
                for table in TABLES}
