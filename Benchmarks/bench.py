#!/usr/bin/env python3
"""Figures of the real programs beside their peers: bench.py --programs FOLDER [--only scrape|ingest|promql]

Ratios measured in one run on one machine; nothing here passes or fails by time. Peers that are not installed are
named and left out: prometheus-node-exporter and prometheus (Debian packages of those names). About 3 minutes.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Tests", "Faults"))
from harness import Fleet, Program, free_port, wait_until  # noqa: E402

SCRAPES = 200
QUERIES = 50
INGEST_LINES = 200_000
INGEST_SECONDS_MAX = 90
LIVE_SECONDS = 75
COLLECTORS = ("cpu", "meminfo", "loadavg", "stat", "filesystem", "diskstats", "netdev", "uname", "time")
RATE = "sum by (mode) (rate(node_cpu_seconds_total[1m]))"

TABLE = []


def row(figure, petrel, peer=None, unit="", digits=2):
    def text(value):
        return "-" if value is None else f"{value:.{digits}f} {unit}".rstrip()
    ratio = "-" if not peer or petrel is None else f"{petrel / peer:.2f}"
    TABLE.append((figure, text(petrel), text(peer), ratio))


def say(text):
    print(f"  {text}", flush=True)


# What the kernel says of a process.

def cpu_seconds(pid):
    """CPU time of all threads, in nanoseconds' resolution; threads that ended are not in it."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def tick_seconds(pid, with_children=False):
    """CPU time by the clock's ticks (10 ms), ended threads included; with the children it waited for."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in fields[11:15 if with_children else 13]) / os.sysconf("SC_CLK_TCK")


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            found += [int(x) for x in f.read().split()]
    return found


def postgres_seconds(postmaster):
    """CPU time of a PostgreSQL: the postmaster, what it waited for, and the processes that live."""
    total = tick_seconds(postmaster, with_children=True)
    for pid in children(postmaster):
        try:
            total += tick_seconds(pid)
        except FileNotFoundError:
            continue
    return total


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) / 1024


def get(url, **parameters):
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    with urllib.request.urlopen(url + query, timeout=60) as answer:
        return answer.read()


def installed(program, given=None):
    found = given or shutil.which(program)
    if not found:
        say(f"{program} is not installed: its column stays empty")
    return found


def agent_yaml(fleet_lines, interval):
    return f"""
metrics: {{interval: {interval}}}
logs:
  journal: {{enabled: false}}
  files: [{{path: {fleet_lines}, service: app}}]
"""


# (a) One exposition: CPU and memory beside node_exporter's.

def scrape(options):
    print("scrape: /metrics beside node_exporter", flush=True)
    exporter = installed("prometheus-node-exporter", options.node_exporter)
    folder = options.folder("scrape")
    # The agent's own cycle is as rare as can be, so that the cycles counted are those asked for here.
    with Fleet(options.programs, folder=folder,
               agent_yaml=agent_yaml(os.path.join(folder, "app.log"), "60s")).up() as fleet:
        places = {"petrel": (fleet.agent.process.pid, f"http://127.0.0.1:{fleet.ports['agent']}/metrics")}
        peer = None
        if exporter:
            port = free_port()
            peer = Program([exporter, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
                            "--web.disable-exporter-metrics"] + [f"--collector.{c}" for c in COLLECTORS],
                           os.path.join(folder, "node-exporter.log")).start()
            places["peer"] = (peer.process.pid, f"http://127.0.0.1:{port}/metrics")
        try:
            for pid, url in places.values():
                wait_until(f"{url} answers", 30, lambda u=url: get(u))
            for _ in range(10):
                for pid, url in places.values():
                    get(url)
            before = {name: cpu_seconds(pid) for name, (pid, _) in places.items()}
            walls, bytes_read, series = {name: [] for name in places}, {}, {}
            for _ in range(SCRAPES):
                for name, (_, url) in places.items():
                    started = time.perf_counter()
                    body = get(url)
                    walls[name].append(time.perf_counter() - started)
                    bytes_read[name] = len(body)
                    series[name] = sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))
            cpu = {name: (cpu_seconds(pid) - before[name]) / SCRAPES * 1000 for name, (pid, _) in places.items()}
            memory = {name: resident_mib(pid) for name, (pid, _) in places.items()}
            latency = {name: statistics.median(values) * 1000 for name, values in walls.items()}
        finally:
            if peer:
                peer.stop()
        row("scrape: CPU a cycle", cpu["petrel"], cpu.get("peer"), "ms")
        row("scrape: median latency", latency["petrel"], latency.get("peer"), "ms")
        row("scrape: resident", memory["petrel"], memory.get("peer"), "MiB", 1)
        row("scrape: series", series["petrel"], series.get("peer"), "", 0)


# (b) Lines from a file to committed rows, beside PostgreSQL's own COPY of the same file.

def ingest(options):
    print(f"ingest: {INGEST_LINES} lines from a file through spool, mTLS and PostgreSQL", flush=True)
    folder = options.folder("ingest")
    with Fleet(options.programs, folder=folder).up() as fleet:
        lines = "".join(
            '{"seq":%d,"level":"info","trace_id":"%032x","msg":"%s"}\n' % (n, n, "x" * 100)
            for n in range(INGEST_LINES))
        wait_until("agent streams", 30, lambda: any(
            k.startswith("petrel_agent_stream_connected") and v == 1 for k, v in fleet.agent_metrics().items()))
        postmaster = fleet.postgres_pid()

        def cpu():
            return {"agent": tick_seconds(fleet.agent.process.pid), "collector": tick_seconds(
                fleet.collector.process.pid), "postgres": postgres_seconds(postmaster)}

        def acknowledged():
            metrics = fleet.agent_metrics()
            made = metrics.get('petrel_agent_records_produced_total{stream="logs"}', 0)
            waiting = metrics.get('petrel_agent_spool_records{stream="logs"}', 0)
            return made - waiting
        base, before, started = acknowledged(), cpu(), time.perf_counter()
        with open(fleet.lines, "ab") as f:
            f.write(lines.encode())
        while acknowledged() - base < INGEST_LINES and time.perf_counter() - started < INGEST_SECONDS_MAX:
            time.sleep(0.1)
        wall, after = time.perf_counter() - started, cpu()
        stored = int(fleet.sql("SELECT count(*) FROM petrel.log"))
        if stored != INGEST_LINES:
            say(f"of {INGEST_LINES} lines {stored} were stored within {INGEST_SECONDS_MAX} s")
        copied = copy_seconds(fleet)
        row("ingest: lines a second", stored / wall, INGEST_LINES / copied, "", 0)
        for name in ("agent", "collector", "postgres"):
            row(f"ingest: CPU a million lines, {name}", (after[name] - before[name]) / stored * 1e6, None, "s")
        row("ingest: resident, agent", resident_mib(fleet.agent.process.pid), None, "MiB", 1)
        row("ingest: resident, collector", resident_mib(fleet.collector.process.pid), None, "MiB", 1)
        size = int(fleet.sql("SELECT pg_database_size('petrel')"))
        say(f"peer of the ingest rate: COPY of the same file into a plain table; the database holds {size >> 20} MiB")


def copy_seconds(fleet):
    """Seconds that PostgreSQL takes to COPY the file into a logged table of its own, removed afterwards."""
    def psql(*commands):
        arguments = ["psql", "-h", fleet.socket_folder(), "-U", "petrel_owner", "-d", "petrel", "-qX",
                     "-v", "ON_ERROR_STOP=1"]
        for command in commands:
            arguments += ["-c", command]
        subprocess.run(arguments, check=True, capture_output=True, text=True)
    psql("CREATE SCHEMA bench", "CREATE TABLE bench.line (line text NOT NULL)")
    try:
        started = time.perf_counter()
        # Quote and delimiter that no line has, so that every line is one value as it is.
        psql(f"\\copy bench.line FROM '{fleet.lines}' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')")
        return time.perf_counter() - started
    finally:
        psql("DROP SCHEMA bench CASCADE")


# (c) PromQL over live data, beside Prometheus that scraped the same agent.

def promql(options):
    print(f"promql: {LIVE_SECONDS} s of live data every second, then {QUERIES} queries each", flush=True)
    server = installed("prometheus", options.prometheus)
    folder = options.folder("promql")
    with Fleet(options.programs, folder=folder).up() as fleet:
        places, peer = {"petrel": fleet.url + "/prometheus/api/v1"}, None
        if server:
            port = free_port()
            config = os.path.join(folder, "prometheus.yml")
            with open(config, "w") as f:
                f.write("global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: agent\n    static_configs:\n"
                        f"      - targets: ['127.0.0.1:{fleet.ports['agent']}']\n")
            peer = Program([server, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
                            f"--storage.tsdb.path={folder}/prometheus"],
                           os.path.join(folder, "prometheus.log")).start()
            places["peer"] = f"http://127.0.0.1:{port}/api/v1"
        try:
            time.sleep(LIVE_SECONDS)
            medians = {"instant": {}, "range": {}}
            walls = {(kind, name): [] for kind in medians for name in places}
            answers = {}
            for _ in range(QUERIES):
                now = time.time()
                for name, url in places.items():
                    started = time.perf_counter()
                    answers[name] = json.loads(get(url + "/query", query=RATE))
                    walls["instant", name].append(time.perf_counter() - started)
                    started = time.perf_counter()
                    json.loads(get(url + "/query_range", query=RATE, start=f"{now - 600:.3f}", end=f"{now:.3f}",
                                   step="5s"))
                    walls["range", name].append(time.perf_counter() - started)
            for (kind, name), values in walls.items():
                medians[kind][name] = statistics.median(values) * 1000
            modes = {name: len(answer["data"]["result"]) for name, answer in answers.items()}
            say(f"modes in the answers: {modes}")
            memory = {"petrel": resident_mib(fleet.collector.process.pid)}
            if peer:
                memory["peer"] = resident_mib(peer.process.pid)
        finally:
            if peer:
                peer.stop()
        row("promql: instant query, median", medians["instant"]["petrel"], medians["instant"].get("peer"), "ms")
        row("promql: 10 min range, median", medians["range"]["petrel"], medians["range"].get("peer"), "ms")
        row("promql: resident, collector or prometheus", memory["petrel"], memory.get("peer"), "MiB", 1)


PARTS = {"scrape": scrape, "ingest": ingest, "promql": promql}


class Options:
    """The arguments, and the folders of this run; they are kept where a part failed."""

    def __init__(self, parsed, base):
        self.programs, self.node_exporter, self.prometheus = (
            parsed.programs, parsed.node_exporter, parsed.prometheus)
        self.base = base

    def folder(self, name):
        path = os.path.join(self.base, name)
        os.mkdir(path, 0o755)
        return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="the folder of the built programs")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--node-exporter", help="its program, where it is not in PATH")
    parser.add_argument("--prometheus", help="its program, where it is not in PATH")
    parsed = parser.parse_args()
    base = tempfile.mkdtemp(prefix="petrel-bench-")
    os.chmod(base, 0o755)
    options = Options(parsed, base)
    started, failed = time.monotonic(), []
    for name in [parsed.only] if parsed.only else PARTS:
        try:
            PARTS[name](options)
        except Exception as error:  # one part's failure leaves the others their figures
            failed.append(name)
            say(f"{name} failed: {error!r} {getattr(error, 'stderr', '') or ''}")
    width = [max(len(line[i]) for line in [("figure", "petrel", "peer", "ratio"), *TABLE]) for i in range(4)]
    print()
    for line in [("figure", "petrel", "peer", "ratio"), tuple("-" * w for w in width), *TABLE]:
        print(" | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, width))))
    print(f"\n{time.monotonic() - started:.0f} s; petrel programs of {os.path.abspath(parsed.programs)}, "
          f"{os.cpu_count()} CPUs")
    if failed:
        print(f"failed: {', '.join(failed)}; kept: {base}")
        sys.exit(1)
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
