"""The stores that are measured: each with a folder, a port on loopback and a bound of memory of its own."""
import json
import os
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request

from harness import Fleet, Program, free_port, wait_until
from processes import (bounded, disk_bytes, family, forget_peak, peak_mib, postgres_seconds, proportional_mib, resident_mib,
                       steady, tick_seconds, written_bytes)

READY_SECONDS_MAX = 120
SETTLE_SECONDS_MAX = 300
# Data of any age that a run may make is kept.
RETENTION_DAYS = 60


class Server:
    """One store. `pid` is the process whose memory counts, `api` the root of Prometheus' HTTP API."""
    name = ""
    # What has a query computed anew.
    fresh = {}

    def get(self, path, seconds=60, **parameters):
        query = "?" + urllib.parse.urlencode(parameters, doseq=True) if parameters else ""
        with urllib.request.urlopen(self.api + path + query, timeout=seconds) as answer:
            return answer.read()

    def instant(self, expression, at):
        """The elements of an instant query."""
        return json.loads(self.get("/query", query=expression, time=at, **self.fresh))["data"]["result"]

    def start(self):
        self.program.start()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            assert self.program.running, f"{self.name} ended; see {self.program.log}"
            return self.get("/query", query="1")
        wait_until(f"{self.name} is ready", READY_SECONDS_MAX, ready)

    def stop(self):
        self.program.stop()

    def end(self):
        """Whatever state it is in."""
        self.program.kill()

    @property
    def pid(self):
        return self.program.process.pid

    @property
    def running(self):
        return self.program.running

    def restart_seconds(self, expression, at):
        """Stops and starts it; how long until the query has an answer that is not empty."""
        self.stop()
        started = time.perf_counter()
        self.program.start()

        def answered():
            assert self.program.running, f"{self.name} ended; see {self.program.log}"
            return self.instant(expression, at)
        wait_until(f"{self.name} answers", READY_SECONDS_MAX, answered, interval=0.005)
        return time.perf_counter() - started

    def resident(self):
        return resident_mib(self.pid)

    def database_resident(self):
        """Memory of a database beside it, MiB; None where there is none."""
        return None

    def log_position(self):
        """Bytes that were written to its log (WAL) since it was made; None where it does not tell."""
        return None

    def forget_peak(self):
        forget_peak(self.pid)

    def peak(self):
        return peak_mib(self.pid)

    def cpu(self):
        return tick_seconds(self.pid)

    def written(self):
        """Bytes written to its files so far; None where the kernel does not say."""
        try:
            return self._written()
        except PermissionError:
            return None

    def _written(self):
        return written_bytes(self.pid)


class Petrel(Server):
    """The collector with its private PostgreSQL."""
    name = "petrel"
    fresh = {"nocache": "1"}

    def __init__(self, programs, folder, memory_max):
        self.fleet = Fleet(programs, folder=folder, collector_yaml=f"retention: {{age: {RETENTION_DAYS}d}}\n")
        self.program = self.fleet.collector
        self.program.arguments = bounded(self.program.arguments, memory_max)
        self.api = self.fleet.url + "/prometheus/api/v1"
        self.write_url = self.api + "/write"

    def start(self):
        super().start()
        self.empty = self._sizes()
        return self

    def end(self):
        """As `Fleet` does at its end: the collector takes its PostgreSQL down with it, or one that was killed leaves it."""
        try:
            self.fleet.__exit__(None, None, None)
        finally:
            if self.fleet.postgres_runs():
                os.kill(self.fleet.postgres_pid(), signal.SIGINT)

    def wait_ready(self):
        self.fleet.wait_ready(READY_SECONDS_MAX)

    def database_resident(self):
        return family(self.fleet.postgres_pid(), proportional_mib)

    def cpu(self):
        return tick_seconds(self.pid) + postgres_seconds(self.fleet.postgres_pid())

    def _written(self):
        # What is dirty in PostgreSQL's own buffers counts too.
        self._administrate("CHECKPOINT")
        return written_bytes(self.pid) + family(self.fleet.postgres_pid(), written_bytes)

    def _administrate(self, statement):
        subprocess.run(["psql", "-h", self.fleet.socket_folder(), "-U", "postgres", "-d", "petrel", "-qAtXc", statement],
                       check=True, capture_output=True, text=True)

    def log_position(self):
        return int(self.fleet.sql("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def settle(self, samples):
        """Has all windows of the history sealed: a start looks for those that are over."""
        self.stop()
        super().start()
        wait_until("all of the history is sealed", SETTLE_SECONDS_MAX, lambda: self._sealed() >= samples, 0.5)

    def _sealed(self):
        return int(self.fleet.sql("SELECT coalesce(sum(sample_count), 0) FROM petrel.chunk"))

    def _sizes(self):
        """Bytes of the whole data folder, of the log in it, of the rows that are a log, of the chunks."""
        trees = self.fleet.sql("SELECT tree, (SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM "
                               "pg_partition_tree(tree::regclass)) FROM (VALUES ('petrel.ingest_batch'), "
                               "('petrel.chunk')) AS names (tree)")
        sizes = {name.removeprefix("petrel."): int(size) for name, size in (line.split("|") for line in trees.splitlines())}
        data = os.path.join(self.fleet.data, "postgres", "data")
        return {"whole": disk_bytes(self.fleet.data), "wal": disk_bytes(os.path.join(data, "pg_wal")), **sizes}

    def sizes(self, samples):
        """Bytes a sample: the samples alone; the folder without what a crash needs; the folder as it is."""
        grown = {name: size - self.empty[name] for name, size in self._sizes().items()}
        return {"samples": grown["chunk"] / self._sealed(),
                "rest": (grown["whole"] - grown["wal"] - grown["ingest_batch"]) / samples,
                "whole": grown["whole"] / samples}


class Prometheus(Server):
    name = "prometheus"

    def __init__(self, program, folder, memory_max):
        self.folder, port = os.path.join(folder, "data"), free_port()
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w") as f:
            f.write("global: {scrape_interval: 15s}\n")
        self.root = f"http://127.0.0.1:{port}"
        self.api, self.write_url = self.root + "/api/v1", self.root + "/api/v1/write"
        self.program = Program(bounded(
            [program, f"--config.file={config}", f"--storage.tsdb.path={self.folder}",
             f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
             f"--storage.tsdb.retention.time={RETENTION_DAYS}d"], memory_max), os.path.join(folder, "prometheus.log"))

    def start(self):
        super().start()
        self.empty = disk_bytes(self.folder)
        return self

    def settle(self, samples):
        """Waits for compactions: they come by themselves, every minute at least."""
        def head_hours():
            text = self._metrics()
            newest, oldest = (float(re.search(rf"^prometheus_tsdb_head_{end}_time_seconds (\S+)$", text, re.M)[1])
                              for end in ("max", "min"))
            return (newest - oldest) / 3600
        wait_until("the head is compacted", SETTLE_SECONDS_MAX, lambda: head_hours() <= 3, 1)
        steady(lambda: disk_bytes(self.folder), 120)

    def _metrics(self):
        with urllib.request.urlopen(self.root + "/metrics", timeout=30) as answer:
            return answer.read().decode()

    def sizes(self, samples):
        blocks, stored = 0, 0
        for name in os.listdir(self.folder):
            about = os.path.join(self.folder, name, "meta.json")
            if os.path.exists(about):
                with open(about) as f:
                    stored += json.load(f)["stats"]["numSamples"]
                blocks += disk_bytes(os.path.join(self.folder, name))
        whole = disk_bytes(self.folder) - self.empty
        log = sum(disk_bytes(os.path.join(self.folder, name)) for name in ("wal", "chunks_head"))
        # What is in the head is on disk in the log alone.
        return {"samples": blocks / stored if stored else None, "rest": (whole - log) / stored if stored else None,
                "whole": whole / samples}


class VictoriaMetrics(Server):
    name = "victoria-metrics"
    fresh = {"nocache": "1"}

    def __init__(self, program, folder, memory_max):
        self.folder, port = os.path.join(folder, "data"), free_port()
        self.root = f"http://127.0.0.1:{port}"
        self.api, self.write_url = self.root + "/api/v1", self.root + "/api/v1/write"
        self.program = Program(bounded(
            [program, f"-storageDataPath={self.folder}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=1y",
             "-loggerLevel=WARN"], memory_max), os.path.join(folder, "victoria-metrics.log"))

    def start(self):
        super().start()
        self.empty = disk_bytes(self.folder)
        return self

    def settle(self, samples):
        """Has it write what it holds in memory, and waits for its merges."""
        with urllib.request.urlopen(self.root + "/internal/force_flush", timeout=60) as answer:
            answer.read()
        steady(lambda: disk_bytes(self.folder), 120)

    def sizes(self, samples):
        whole = disk_bytes(self.folder) - self.empty
        return {"samples": disk_bytes(os.path.join(self.folder, "data")) / samples, "rest": whole / samples,
                "whole": whole / samples}


PEERS = {"prometheus": Prometheus, "victoria-metrics": VictoriaMetrics}
