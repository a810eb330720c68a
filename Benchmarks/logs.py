#!/usr/bin/env python3
"""Logs: reference lines pushed to a collector of its own, then bytes, ingest, sealing, queries.

    logs.py --programs FOLDER [--lines N | --days D [--per-day N]] [--traces] [--packed] [--keep]

The lines are half Caddy's access JSON (1,047 bytes), half JSON of an application (253 bytes), 650 in the mean, of 20
streams of 5 hosts, with times that end now (see loglines.py). --traces plants 1,000 traces of six lines over five hosts
and finds each whole (30 days of 500,000 lines, where nothing else is said). --packed has the days that are over packed,
and measures and asks once more (8 days of 200,000 lines, where nothing else is said). A peer is the same lines in plain
tables of the same PostgreSQL; more than --peer-lines are not copied there. Nothing passes or fails by time; the run fails
where lines are missing or are more than were sent, and where a trace is not whole. Everything listens on loopback.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "Faults"))
import logpeers  # noqa: E402
import logpush  # noqa: E402
import logqueries  # noqa: E402
from figures import Figures  # noqa: E402
from harness import Fleet, wait_until  # noqa: E402
from loglines import CHUNK_LINES, HOSTS, SECOND, Reference  # noqa: E402
from processes import Run, memory_bound, peak_mib, postgres_seconds, resident_mib, say, tick_seconds  # noqa: E402
from servers import RETENTION_DAYS, Petrel  # noqa: E402

LINES, PER_DAY, TRACES_PER_DAY, TRACE_DAYS, TRACES = 120_000, 5_000_000, 500_000, 30, 1000
PACKED_PER_DAY, PACKED_DAYS = 200_000, 8
# The last days are not packed: their short blocks are merged first.
UNPACKED_DAYS = 4
PACK_SECONDS_MAX = 600
TRACE_IDS = 100
AGENT_LINES = 200_000
SENDERS = 3
# How one trace is asked for after a restart too.
COLD_WAYS = ("trace view", "| trace_id")
PEER_LINES_MAX = 1_000_000
SEAL_SECONDS_MAX = 1500
CHECKED_CHUNKS = 20
# Tables that a seal empties, hour by hour.
UNSEALED = ("log_batch", "ingest_batch")


class LogServer(Petrel):
    """The collector, and what its database holds of logs."""

    def metrics(self):
        """{name{labels}: value} of the collector's own metrics of logs."""
        with urllib.request.urlopen(self.fleet.url + "/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("petrel_log"))}

    def unsealed(self):
        """Lines that are committed and not sealed; None where the collector does not tell."""
        found = [value for name, value in self.metrics().items() if name.startswith("petrel_log_unsealed_lines")]
        return sum(found) if found else None

    def relations(self):
        """{table without its day: (heap, TOAST, indexes)} in bytes, of schema petrel."""
        rows = self.fleet.sql(
            "SELECT regexp_replace(relname, '_[hd][0-9]+$', ''), sum(pg_relation_size(oid)), sum(CASE WHEN reltoastrelid = 0"
            " THEN 0 ELSE pg_total_relation_size(reltoastrelid) END), sum(pg_indexes_size(oid)) FROM pg_class WHERE"
            " relnamespace = 'petrel'::regnamespace AND relkind = 'r' GROUP BY 1")
        return {name: tuple(map(int, sizes)) for name, *sizes in (row.split("|") for row in rows.splitlines())}

    def database_bytes(self):
        return int(self.fleet.sql("SELECT pg_database_size('petrel')"))

    def opened(self):
        """(blocks that queries opened since the start, blocks that filters ruled out one by one)."""
        metrics = self.metrics()
        return tuple(int(metrics.get(f"petrel_log_{what}_blocks_total", 0)) for what in ("opened", "skipped"))

    def blocks(self):
        """{codec: (blocks, lines, {column: bytes})}: 0 is lines as they are, 1 packed ones."""
        columns = self.fleet.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'petrel.log_block'::regclass AND"
                                 " attnum > 0 AND NOT attisdropped ORDER BY attnum").split()
        rows = self.fleet.sql("SELECT (packed IS NOT NULL)::int, count(*), sum(line_count), " + ", ".join(
            f"coalesce(sum(pg_column_size({name})), 0)" for name in columns) + " FROM petrel.log_block GROUP BY 1 ORDER BY 1")
        found = {}
        for row in rows.splitlines():
            codec, count, lines, *sizes = row.split("|")
            found[codec] = int(count), int(lines), dict(zip(columns, map(int, sizes)))
        return found

    def days(self):
        """{codec: (days, lines, bytes of their tables of blocks, all included)}, of the days that have one codec alone."""
        rows = self.fleet.sql(
            "SELECT codec, count(*), sum(lines), sum(pg_total_relation_size(name::regclass)) FROM (SELECT min(codec) AS codec,"
            " sum(line_count) AS lines, 'petrel.log_block_d' || day AS name FROM (SELECT day, line_count,"
            " (packed IS NOT NULL)::int AS codec FROM petrel.log_block) AS blocks GROUP BY day HAVING min(codec) = max(codec))"
            " AS days GROUP BY 1 ORDER BY 1")
        return {codec: tuple(map(int, rest)) for codec, *rest in (row.split("|") for row in rows.splitlines())}

    def pack(self):
        """Has the days that are over packed: one at each start. Seconds that it took."""
        with open(self.fleet.collector_config, encoding="utf-8") as f:
            text = f.read()
        with open(self.fleet.collector_config, "w", encoding="utf-8") as f:
            f.write(text.replace("retention: {", "retention: {logs_pack_after: 1d, ", 1))
        newest, started = int(time.time()) // 86400 - UNPACKED_DAYS, time.perf_counter()

        def due():
            return int(self.fleet.sql("SELECT count(DISTINCT day) FROM petrel.log_block WHERE packed IS NULL AND"
                                      f" day <= {newest}"))
        while (left := due()) > 0:
            self.stop()
            self.program.start()
            self.wait_ready()
            wait_until("a day is packed", PACK_SECONDS_MAX, lambda: due() < left, 0.5)
        return time.perf_counter() - started


class SealWatch(threading.Thread):
    """The most unsealed lines, and of each metric of logs its highest value, while this runs."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.ending = server, threading.Event()
        self.peaks = {}

    def run(self):
        while not self.ending.wait(0.5):
            try:
                for name, value in self.server.metrics().items():
                    self.peaks[name] = max(self.peaks.get(name, value), value)
            except (OSError, ValueError):
                continue

    def finish(self):
        self.ending.set()
        self.join()
        return self.peaks


class Usage:
    """CPU of collector and PostgreSQL, and bytes of WAL, since it was made."""

    def __init__(self, server):
        self.server, self.begun = server, time.perf_counter()
        self.base = self._now()

    def _now(self):
        return (tick_seconds(self.server.pid), postgres_seconds(self.server.fleet.postgres_pid()),
                self.server.log_position())

    def since(self):
        """(seconds, CPU s of the collector, CPU s of PostgreSQL, bytes of WAL)."""
        return (time.perf_counter() - self.begun, *(now - base for now, base in zip(self._now(), self.base)))


class Logs:
    """The part: a collector, its lines, and the tables that come of them."""

    def __init__(self, options, figures):
        self.options, self.figures = options, figures
        end = time.time_ns() - 5 * SECOND
        self.reference = Reference(options.lines, end, options.per_day, options.seed, options.traces)
        self.lines = options.lines + 6 * options.traces
        folder = options.folder("logs")
        self.server = LogServer(options.programs, folder, memory_bound(options.memory_max))
        self.peers = logpeers.PEERS if options.lines <= options.peer_lines else ()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.server.stop()
        finally:
            self.server.end()

    def run(self):
        days = (self.reference.end_ns - self.reference.start_ns) / SECOND / 86400
        say(f"{self.lines:,} lines over {days:.3g} days, of {len(self.reference.streams)} streams of {len(HOSTS)} hosts")
        self.server.start()
        self._load()
        self._check_bytes()
        self.peer_times = {}
        if self.peers:
            self._copy()
        self._sizes()
        if self.options.traces:
            self._planted()
        self._queries()
        if self.options.packed:
            self._pack()

    # Ingest, and the seal.

    def _load(self):
        server, section = self.server, self.figures.section("logs: ingest by push", self.peers)
        self.empty, self.empty_relations = server.database_bytes(), server.relations()
        usage, watch = Usage(server), SealWatch(server)
        watch.start()
        sent = logpush.push(self.reference, server.fleet.url, self.options.senders)
        took = usage.since()
        say(f"pushed in {sent.seconds:.1f} s: {sent.rate:,.0f} lines/s, {sent.retries} requests sent again")
        sealed = self._wait_sealed()
        peaks = watch.finish()
        whole = usage.since()
        section.row(f"lines a second, {self.options.senders} senders beside it", sent.rate, digits=0)
        section.row("ack of 1,400 lines, median", sent.latency_ms(.5), unit="ms")
        section.row("ack of 1,400 lines, p99", sent.latency_ms(.99), unit="ms")
        for name, place in (("collector", 1), ("PostgreSQL", 2)):
            section.row(f"CPU a million lines until the ack, {name}", took[place] / self.lines * 1e6, unit="s")
            section.row(f"CPU a million lines, sealed, {name}", whole[place] / self.lines * 1e6, unit="s")
        section.row("WAL a line until the ack", took[3] / self.lines, unit="B", digits=1)
        section.row("WAL a line, sealed", whole[3] / self.lines, unit="B", digits=1)
        section.row("most lines that waited for the seal", peaks.get("petrel_log_unsealed_lines"), digits=0)
        section.row("most that a sealed line had waited", peaks.get("petrel_log_seal_lag_seconds"), unit="s", digits=1)
        section.row("all sealed after the last ack", sealed, unit="s", digits=1)
        section.row("resident, collector", resident_mib(server.pid), unit="MiB", digits=0)
        section.row("most resident, collector", peak_mib(server.pid), unit="MiB", digits=0)
        section.row("PostgreSQL beside it (Pss)", server.database_resident(), unit="MiB", digits=0)

    def _wait_sealed(self):
        """Seconds until nothing waits for the seal; a text where that is not told or did not come."""
        if self.server.unsealed() is None:
            return "not told"
        started = time.perf_counter()
        # The rest of a stream waits up to a quarter of an hour for more.
        ask = urllib.request.Request(self.server.fleet.url + "/api/v1/logs/seal", method="POST")
        urllib.request.urlopen(ask, timeout=600).read()
        try:
            wait_until("all lines sealed", self.options.seal_seconds, lambda: self.server.unsealed() == 0, 0.5)
        except AssertionError:
            return f"{self.server.unsealed():,.0f} lines not within {self.options.seal_seconds} s"
        return time.perf_counter() - started

    def _check_bytes(self):
        """Each line of some chunks must be there once, byte for byte, at its time."""
        asker, wrong = logqueries.Asker(self.server.fleet.url + "/loki/api/v1", 600), 0
        step = max(1, self.reference.chunks // CHECKED_CHUNKS)
        for number in range(0, self.reference.chunks, step):
            for labels, entries in self.reference.chunk(number):
                selector = "{" + ", ".join(re.findall(r'\w+="[^"]*"', labels)) + "}"
                status, body = asker.ask("/query_range", {
                    "query": selector, "start": entries[0][0], "end": entries[-1][0] + 1, "limit": 2 * CHUNK_LINES,
                    "direction": "forward"})[1:]
                found = json.loads(body)["data"]["result"] if status == 200 else []
                got = sorted((int(value[0]), value[1].encode()) for stream in found for value in stream["values"])
                # Neighbouring chunks of the stream share no time.
                wrong += got != sorted(entries)
        asker.close()
        if wrong:
            self.options.fail(f"logs: {wrong} stretches of streams differ from what was sent")

    # Bytes.

    def _copy(self):
        with logpeers.Tables(self.server.fleet, self.reference) as tables:
            took = tables.load()
            self.peer_rates = {name: self.lines / seconds for name, seconds in took.items()}
            self.peer_bytes = {name: tables.bytes(name) for name in self.peers}
            trace = self.reference.some_trace_ids(1)[0][0]
            self.peer_times = tables.times(trace)
        section = self.figures.section("logs: COPY of the same lines, no index yet", self.peers)
        section.row("lines a second", None, self.peer_rates, digits=0)

    def _sizes(self):
        server, lines = self.server, self.lines
        section = self.figures.section("logs: bytes a line in PostgreSQL", self.peers)
        grown = server.database_bytes() - self.empty
        relations, rest = {}, grown
        for name, sizes in server.relations().items():
            base = self.empty_relations.get(name, (0, 0, 0))
            relations[name] = tuple(now - before for now, before in zip(sizes, base))
            if name in UNSEALED:
                rest -= sum(relations[name])
        peers = getattr(self, "peer_bytes", {})
        section.row("the database's growth without what a seal empties", rest / lines,
                    {name: whole / lines for name, (whole, _) in peers.items()}, "B", 1)
        section.row("the database's growth as it is", grown / lines, None, "B", 1)
        section.row("indexes alone", sum(x[2] for name, x in relations.items() if name not in UNSEALED) / lines,
                    {name: index / lines for name, (_, index) in peers.items()}, "B", 1)
        for name, sizes in sorted(relations.items(), key=lambda pair: -sum(pair[1])):
            if sum(sizes) >= lines / 20:
                heap, toast, index = (size / lines for size in sizes)
                section.row(f"{name}: heap {heap:.1f}, TOAST {toast:.1f}, indexes {index:.1f}", sum(sizes) / lines, None, "B", 1)
        self._codecs(section)

    def _codecs(self, section):
        server = self.server
        rest = sum(sum(sizes) - sum(self.empty_relations.get(name, (0, 0, 0))) for name, sizes in server.relations().items()
                   if name.startswith("log_") and name != "log_block" and name not in UNSEALED)
        for codec, (days, count, size) in server.days().items():
            section.row(f"codec {codec}: tables of {days:,} days, and a line's part of the rest of logs",
                        size / count + rest / self.lines, None, "B", 1)
        for codec, (blocks, count, columns) in server.blocks().items():
            section.row(f"codec {codec}: {blocks:,} blocks of {count / max(1, blocks):,.0f} lines",
                        sum(columns.values()) / max(1, count), None, "B", 1)
            for name, size in sorted(columns.items(), key=lambda pair: -pair[1]):
                if size >= count / 20:
                    section.row(f"  column {name}", size / count, None, "B", 2)

    def _pack(self):
        """The days that are over are packed; then what they take, and the same answers."""
        took = self.server.pack()
        section = self.figures.section("logs: packed", self.peers)
        section.row("packing the days that are over, with a start for each", took, unit="s", digits=1)
        self._codecs(section)
        self._check_bytes()
        self._queries(" (packed)")

    # Queries, warm and after a restart.

    def _queries(self, state=""):
        reference, url = self.reference, self.server.fleet.url
        end, start = reference.end_ns, reference.start_ns - 1
        asked = logqueries.queries(reference)
        ids = reference.some_trace_ids(TRACE_IDS)
        say(f"queries, {self.options.rounds} rounds; {len(ids)} trace ids")
        warm = logqueries.run(url + "/loki/api/v1", asked, end, self.options.rounds + 1, self.server.opened)
        traces = logqueries.traces(url, [trace for trace, _ in ids], start, end, self.server.opened)
        self._restart()
        cold_traces = logqueries.traces(url, [trace for trace, _ in ids], start, end, self.server.opened, COLD_WAYS)
        self._restart()
        cold = logqueries.run(url + "/loki/api/v1", asked, end, 1, self.server.opened)
        memory = self.figures.section(f"logs: memory after the queries{state}", self.peers)
        memory.row("resident, collector, restarted", resident_mib(self.server.pid), unit="MiB", digits=0)
        memory.row("most resident, collector, restarted", peak_mib(self.server.pid), unit="MiB", digits=0)
        memory.row("PostgreSQL beside it (Pss)", self.server.database_resident(), unit="MiB", digits=0)
        self._trace_rows(f"logs: one trace_id over the whole time{state}", traces, cold_traces, dict(ids))
        section = self.figures.section(f"logs: queries, median{state}", self.peers)
        for query in asked:
            peers = {name: next((ms for begin, ms in times.items() if query.name.startswith(begin)), None)
                     for name, times in self.peer_times.items()}
            outcome = warm[query.name]
            section.row(query.name, outcome.error or outcome.median, peers, "ms", 1)
            self._told(section, outcome, cold[query.name])
            if query.expect is not None and outcome.count != query.expect:
                self.options.fail(f"logs: {query.name}: {outcome.count} and not {query.expect} ({outcome.error})")

    @staticmethod
    def _told(section, outcome, cold):
        section.row("  after a restart", cold.error or cold.median, None, "ms", 1)
        if outcome.opened is not None:
            blocks, skipped = outcome.opened
            told = "".join(f", {name} {value:,}" for name, value in outcome.stats.items())
            section.row(f"  p99 {outcome.share(.99) or 0:,.1f} ms; lines read {outcome.lines}; answer {outcome.count:,}",
                        f"opened {blocks:,}, ruled out {skipped:,}{told}")

    def _restart(self):
        self.server.stop()
        if self.options.drop_caches:
            subprocess.run(["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"], check=False)
        self.server.program.start()
        self.server.wait_ready()

    def _trace_rows(self, title, warm, cold, expected):
        section = self.figures.section(title, self.peers)
        peers = {name: times.get("one trace_id") for name, times in self.peer_times.items()}
        for way, (outcome, answers) in warm.items():
            section.row(f"{way}: p50", outcome.error or outcome.median, peers, "ms", 1)
            section.row(f"{way}: p99", outcome.share(.99), None, "ms", 1)
            if outcome.opened and answers:
                section.row(f"{way}: blocks opened an id", outcome.opened[0] / len(answers), digits=1)
                section.row(f"{way}: blocks ruled out one by one an id", outcome.opened[1] / len(answers), digits=1)
            if way in cold:
                other = cold[way][0]
                section.row(f"{way}, after a restart: first", other.times[0] if other.times else other.error, None, "ms", 1)
                section.row(f"{way}, after a restart: p50", other.median, None, "ms", 1)
                section.row(f"{way}, after a restart: p99", other.share(.99), None, "ms", 1)
            wrong = [trace for trace, answer in answers.items() if len(answer.lines) != expected[trace] or not answer.is_ordered]
            if wrong:
                self.options.fail(f"{title}: {way}: {len(wrong)} of {len(answers)} not whole, {wrong[0]}")

    def _planted(self):
        """Each planted trace must be found whole, in its order, on its hosts."""
        plants = self.reference.plants
        say(f"{len(plants):,} planted traces")
        url, start, end = self.server.fleet.url, self.reference.start_ns - 1, self.reference.end_ns
        warm = logqueries.traces(url, list(plants), start, end, self.server.opened, COLD_WAYS)
        self._restart()
        cold = logqueries.traces(url, list(plants), start, end, self.server.opened, COLD_WAYS)
        self._trace_rows(f"logs: {len(plants):,} planted traces", warm, cold, {trace: 6 for trace in plants})
        for when, found in (("warm", warm), ("after a restart", cold)):
            for way, (outcome, answers) in found.items():
                whole = sum([(host, at) for at, host in answers[trace].lines] == [(host, at) for host, at, _ in visits]
                            for trace, visits in plants.items() if trace in answers)
                say(f"{way}, {when}: {whole} of {len(plants)} whole: lines, order, times, hosts {outcome.error or ''}")
                if whole != len(plants):
                    self.options.fail(f"logs: {way}: {whole} of {len(plants)} traces are whole")


def agent_ingest(options, figures):
    """The same lines through a file, agent, spool and stream; the agent on one CPU, collector and PostgreSQL on another."""
    cpus = sorted(os.sched_getaffinity(0))
    reference = Reference(AGENT_LINES, time.time_ns(), options.per_day, options.seed + 1)
    text = b"".join(line + b"\n" for number in range(reference.chunks) for _, entries in reference.chunk(number)
                    for _, line in entries)
    with Fleet(options.programs, folder=options.folder("agent")) as fleet:
        for program, cpu in ((fleet.agent, cpus[0]), (fleet.collector, cpus[-1])):
            program.arguments = ["taskset", "-c", str(cpu), *program.arguments]
        fleet.up()
        wait_until("agent streams", 30, lambda: fleet.agent_metrics()['petrel_agent_stream_connected{stream="logs"}'] == 1)

        def cpu():
            return (tick_seconds(fleet.agent.process.pid), tick_seconds(fleet.collector.process.pid),
                    postgres_seconds(fleet.postgres_pid()))

        def acknowledged():
            metrics = fleet.agent_metrics()
            return (metrics.get('petrel_agent_records_produced_total{stream="logs"}', 0)
                    - metrics.get('petrel_agent_spool_records{stream="logs"}', 0))
        before, base, started = cpu(), acknowledged(), time.perf_counter()
        with open(fleet.lines, "ab") as f:
            f.write(text)
        wait_until("all lines acknowledged", 300, lambda: acknowledged() - base >= AGENT_LINES, 0.1)
        wall, after = time.perf_counter() - started, cpu()
        answer = json.loads(fleet.get("/loki/api/v1/query", query='sum(count_over_time({service_name="app"}[1h]))'))
        stored = int(float(answer["data"]["result"][0]["value"][1]))
        if stored != AGENT_LINES:
            options.fail(f"logs: through the agent {stored:,} of {AGENT_LINES:,} lines are stored")
        section = figures.section(f"logs: {AGENT_LINES:,} lines through the agent, one CPU each side")
        section.row("lines a second, written to acknowledged", AGENT_LINES / wall, digits=0)
        for name, used in zip(("agent", "collector", "PostgreSQL"), (b - a for a, b in zip(before, after))):
            section.row(f"CPU a million lines, {name}", used / AGENT_LINES * 1e6, unit="s")
        section.row("most resident, agent", peak_mib(fleet.agent.process.pid), unit="MiB", digits=1)
        section.row("most resident, collector", peak_mib(fleet.collector.process.pid), unit="MiB", digits=1)


def logs(options, figures):
    if options.agent:
        agent_ingest(options, figures)
    with Logs(options, figures) as part:
        part.run()


def complete(options, lines=None):
    """The options of a run that has only those of bench.py."""
    options.lines, options.per_day, options.traces, options.agent = lines or LINES, PER_DAY, 0, True
    options.packed = False
    options.seed, options.senders, options.seal_seconds = 1, SENDERS, SEAL_SECONDS_MAX
    options.drop_caches, options.peer_lines = False, PEER_LINES_MAX


class Options(Run):
    """The arguments of this run."""

    def __init__(self, parsed, base):
        super().__init__(parsed.programs, base)
        self.traces = TRACES if parsed.traces else 0
        self.packed = parsed.packed
        usual_per_day, usual_days = ((TRACES_PER_DAY, TRACE_DAYS) if parsed.traces else
                                     (PACKED_PER_DAY, PACKED_DAYS) if parsed.packed else (PER_DAY, None))
        per_day = parsed.per_day or usual_per_day
        days = parsed.days or (None if parsed.lines else usual_days)
        assert not days or days <= RETENTION_DAYS - 2, f"--days: at most {RETENTION_DAYS - 2}"
        self.lines, self.per_day = int(days * per_day) if days else parsed.lines or LINES, per_day
        self.agent = not parsed.no_agent
        for name in ("seed", "senders", "rounds", "seal_seconds", "drop_caches", "peer_lines"):
            setattr(self, name, getattr(parsed, name))
        self.memory_max = parsed.memory_mib


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="the folder of the built programs")
    parser.add_argument("--lines", type=int, help=f"so many lines ({LINES:,})")
    parser.add_argument("--days", type=float, help="so many days of lines instead")
    parser.add_argument("--per-day", type=int, help=f"lines a day ({PER_DAY:,})")
    parser.add_argument("--traces", action="store_true", help=f"plant {TRACES:,} traces and find them")
    parser.add_argument("--packed", action="store_true", help="have the days that are over packed, and ask again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--senders", type=int, default=SENDERS, help=f"processes that push ({SENDERS})")
    parser.add_argument("--rounds", type=int, default=10, help="times that each query is asked (10)")
    parser.add_argument("--peer-lines", type=int, default=PEER_LINES_MAX, help="more lines than this are in no peer's table")
    parser.add_argument("--seal-seconds", type=int, default=SEAL_SECONDS_MAX, help="how long the seal may take")
    parser.add_argument("--drop-caches", action="store_true", help="the kernel forgets files at each restart too")
    parser.add_argument("--memory-mib", type=int, default=4096, help="what the collector may take (4096)")
    parser.add_argument("--no-agent", action="store_true", help="leave out the ingest through an agent")
    parser.add_argument("--folder", help="where data is kept meanwhile (where temporary files are)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON too")
    parser.add_argument("--keep", action="store_true", help="leave the data where it is")
    return parser.parse_args()


def main():
    parsed = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="petrel-logs-", dir=parsed.folder)
    os.chmod(base, 0o755)
    options, figures = Options(parsed, base), Figures()
    try:
        logs(options, figures)
    except Exception as error:  # the figures so far are worth having
        options.fail(f"logs: {error!r} {getattr(error, 'stderr', '') or ''}")
    figures.print()
    if parsed.json:
        figures.write(parsed.json, {"lines": options.lines, "per_day": options.per_day, "traces": options.traces,
                                    "seed": options.seed, "failures": options.failures})
    if options.failures:
        print("failed:\n  " + "\n  ".join(options.failures))
    if options.failures or parsed.keep:
        print(f"kept: {base}")
    else:
        shutil.rmtree(base, ignore_errors=True)
    sys.exit(1 if options.failures else 0)


if __name__ == "__main__":
    main()
