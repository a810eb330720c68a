"""The metric store beside its peers: one fleet's history sent to each, then sizes, memory, queries, hostile queries."""
import os
import time

import hostile_queries
import queries
from corpus import Corpus
from fleetdata import HOSTS, SERIES, STEP_MS, Fleet
from harness import wait_until
from processes import installed, memory_bound, say
from servers import PEERS, RETENTION_DAYS, Petrel

HOUR_MS = 3_600_000
# The collector seals windows of so long, ten minutes after their end.
WINDOW_MS = 2 * HOUR_MS
# The end of what is sent in the live shape, one sample a series in a request, is the time of the queries.
LIVE_MS = HOUR_MS
HISTORY_SAMPLES = 20
VISIBLE_SECONDS_MAX = 60
HOURS_MAX = (RETENTION_DAYS - 2) * 24


class Times:
    """Where the stretches of a run lie: history | the rest of its shape | live, each up to the next."""

    def __init__(self, now_seconds, hours):
        # A multiple of every query's step; nothing lies ahead of the servers' clock.
        self.end = int(now_seconds - 60) // 600 * 600 * 1000
        self.live = self.end - LIVE_MS
        # The end of a window, so that all of the history can be sealed.
        self.rest = self.live // WINDOW_MS * WINDOW_MS
        self.start = self.rest - hours * HOUR_MS

    @property
    def at(self):
        return self.end // 1000


class Run:
    """Figures of one server, by name."""

    def __init__(self, server):
        self.server, self.figures = server, {}

    def load(self, history, rest, live):
        server, figures = self.server, self.figures
        say(f"{server.name}: {history.samples:,} samples of history")
        figures["empty"] = server.resident()
        log = server.log_position()
        self._measured("history", history)
        figures["peak"] = server.peak()
        server.settle(history.samples)
        figures["history log"] = self._logged(log, history)
        figures.update({f"bytes of {name}": value for name, value in server.sizes(history.samples).items()})
        rest.send(server.write_url)
        say(f"{server.name}: {live.samples:,} samples one by one")
        log = server.log_position()
        sent = self._measured("live", live)
        figures["live log"] = self._logged(log, live)
        figures["ack median"], figures["ack p99"] = sent.median_ms, sent.latency_ms(.99)
        figures["after"] = server.resident()

    def _logged(self, before, stretch):
        return None if before is None else (self.server.log_position() - before) / stretch.samples

    def _measured(self, name, stretch):
        """Sends the stretch; the rate, and what it took of CPU and disk."""
        server, figures = self.server, self.figures
        server.forget_peak()
        cpu, written = server.cpu(), server.written()
        sent = stretch.send(server.write_url)
        figures[f"{name} rate"] = sent.rate
        figures[f"{name} CPU"] = (server.cpu() - cpu) / sent.samples * 1e6
        after = server.written()
        figures[f"{name} written"] = None if after is None or written is None else (after - written) / sent.samples
        if sent.retries:
            say(f"{server.name}: {sent.retries} requests were put off and sent again")
        return sent

    def check(self, at, series):
        """Every series must be there, with its last sample; not every server shows at once what it acknowledged."""
        def count():
            found = self.server.instant('count({instance=~"h[0-9]+"})', at)
            return found and int(found[0]["value"][1]) == series
        wait_until(f"{self.server.name} has all {series:,} series", VISIBLE_SECONDS_MAX, count)

    def restart(self, at):
        self.figures["restart"] = self.server.restart_seconds("up", at)
        self.figures["loaded"] = self.server.resident()
        self.figures["database"] = self.server.database_resident()


class Metrics:
    """The part: its servers, their runs, and the tables that come of them."""

    def __init__(self, options, figures):
        self.options, self.figures = options, figures
        assert 1 <= options.hours <= HOURS_MAX, f"--hours: 1 to {HOURS_MAX}"
        self.folder = options.folder("metrics")
        self.times = Times(time.time(), options.hours)
        bound = memory_bound(options.memory_max)
        say(f"{options.hours} h of {HOSTS} hosts with {SERIES} series, every {STEP_MS // 1000} s; "
            f"no server may take more than {bound >> 20:,} MiB")
        self.servers = [Petrel(options.programs, self._place("petrel"), bound)]
        for name, kind in PEERS.items():
            program = installed(name, options.peers.get(name))
            if program:
                self.servers.append(kind(program, self._place(name), bound))
        self.peers = [server.name for server in self.servers[1:]]
        self.runs = {server.name: Run(server) for server in self.servers}

    def _place(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path, 0o755)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            try:
                server.stop()
            except Exception as error:
                say(f"{server.name} did not stop: {error!r}")
            finally:
                server.end()

    def run(self):
        self._load()
        self._ingest()
        self._sizes()
        self._queries()
        self._memory()
        self._hostile()

    def _load(self):
        times = self.times
        corpus = Corpus(os.path.join(self.folder, "corpus"), Fleet())
        history = corpus.add(times.start, times.rest, HISTORY_SAMPLES)
        rest = corpus.add(times.rest, times.live, HISTORY_SAMPLES)
        live = corpus.add(times.live, times.end, 1)
        say(f"{history.bytes / history.samples:.2f} bytes a sample of history on the wire, "
            f"{live.bytes / live.samples:.2f} live")
        # One after the other: none is slowed by another's load. Then all are asked in turn.
        for server in self.servers:
            server.start()
            run = self.runs[server.name]
            run.load(history, rest, live)
            run.check(times.at, HOSTS * SERIES)
            run.restart(times.at)
        os.unlink(corpus.path)

    def _rows(self, section, rows):
        """Rows (figure, name among the figures, unit, digits) of all servers."""
        for figure, name, unit, digits in rows:
            values = {server: run.figures.get(name) for server, run in self.runs.items()}
            petrel = values.pop("petrel")
            section.row(figure, petrel, values, unit, digits)

    def _ingest(self):
        section = self.figures.section("metrics: ingest", self.peers)
        self._rows(section, [
            (f"history, {HISTORY_SAMPLES} samples a series: samples a second", "history rate", "", 0),
            ("history: CPU a million samples, database included", "history CPU", "s", 2),
            ("history: written to files a sample", "history written", "B", 2),
            ("history: most memory", "peak", "MiB", 0),
            (f"live, {SERIES:,} samples a request: samples a second", "live rate", "", 0),
            ("live: CPU a million samples, database included", "live CPU", "s", 2),
            ("live: written to files a sample", "live written", "B", 2),
            ("live: ack, median", "ack median", "ms", 2),
            ("live: ack, p99", "ack p99", "ms", 2),
        ])

    def _sizes(self):
        section = self.figures.section("metrics: bytes a sample on disk", self.peers)
        self._rows(section, [
            ("samples (chunks, blocks) with their indexes", "bytes of samples", "B", 3),
            ("the data directory's growth without logs for a crash", "bytes of rest", "B", 3),
            ("the data directory's growth as it is after loading", "bytes of whole", "B", 3),
            ("PostgreSQL's log (WAL), history and its seal", "history log", "B", 2),
            ("PostgreSQL's log (WAL), live, before its seal", "live log", "B", 2),
        ])

    def _queries(self):
        say(f"queries, {self.options.rounds} rounds")
        asked = queries.queries(self.options.hours)
        ways = [queries.Contestant(server.name, server, server.fresh) for server in self.servers]
        again = queries.Contestant("petrel, asked again", self.servers[0], {})
        queries.run([*ways, again], asked, self.times.at, self.options.rounds)
        ours, others = ways[0], {way.label: way for way in ways[1:]}
        section = self.figures.section("metrics: queries, median", self.peers)
        for query in asked:
            theirs = {name: way.median(query) for name, way in others.items()}
            section.row(query.name, ours.median(query), theirs, "ms")
            if query.can_be_known:
                section.row("  asked again, from the cache of answers", again.median(query), theirs, "ms")
        first = self.figures.section("metrics: queries, asked for the first time since the start", self.peers)
        for query in asked:
            first.row(query.name, ours.first[query.name], {n: way.first[query.name] for n, way in others.items()}, "ms")
        self._answers(asked, ours, {again.label: again, **others})

    def _answers(self, asked, ours, others):
        """Whether all answer alike; where Petrel and Prometheus don't, or Petrel and its own cache, the part fails."""
        section = self.figures.section(f"metrics: answers, points that differ by more than {queries.TOLERANCE:g}", others)
        wrong = []
        for query in asked:
            told = {}
            for name, way in others.items():
                count, different, worst = queries.difference(ours.answers[query.name], way.answers[query.name])
                told[name] = f"{different:,}, worst {worst:.1e}"
                # VictoriaMetrics computes rates in a way of its own.
                if different and name != "victoria-metrics":
                    wrong.append(f"{query.name} ({name})")
            section.row(query.name, f"of {count:,}", told)
        if wrong:
            self.options.fail(f"metrics: answers differ: {', '.join(wrong)}")

    def _memory(self):
        section = self.figures.section("metrics: memory, restart", self.peers)
        for name, run in self.runs.items():
            run.figures["asked"] = run.server.resident()
        self._rows(section, [
            ("resident, empty", "empty", "MiB", 0), ("resident, after loading", "after", "MiB", 0),
            ("resident, restarted", "loaded", "MiB", 0),
            ("resident, after the queries", "asked", "MiB", 0), ("its database beside it (Pss)", "database", "MiB", 0),
            ("from start to first answer", "restart", "s", 2),
        ])

    def _hostile(self):
        told = {}
        for server in self.servers:
            say(f"{server.name}: hostile queries")
            server.forget_peak()
            told[server.name] = hostile_queries.run(server, self.times.at, self.options.hours)
        section = self.figures.section("metrics: hostile queries", self.peers)
        ours = told["petrel"][0]
        for index, outcome in enumerate(ours):
            section.row(outcome.name, str(outcome), {name: str(told[name][0][index]) for name in self.peers})
        def all_of(what):
            values = {name: what(*of) for name, of in told.items()}
            return values.pop("petrel"), values
        section.row("most memory", *all_of(lambda outcomes, quiet, beside: max(o.peak for o in outcomes)), "MiB", 0)
        section.row("a harmless query alone, p99", *all_of(
            lambda outcomes, quiet, beside: hostile_queries.share(quiet, .99)), "ms")
        section.row("a harmless query beside them, p99", *all_of(
            lambda outcomes, quiet, beside: hostile_queries.share(beside, .99)), "ms")
        bad = [outcome.name for outcome in ours if not outcome.is_good]
        if bad:
            self.options.fail(f"metrics: neither answered nor refused: {', '.join(bad)}")


def metrics(options, figures):
    with Metrics(options, figures) as part:
        part.run()
