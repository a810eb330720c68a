"""An agent and its collector as they run on a host: exposition, log lines, live queries, each beside a peer."""
import json
import os
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

from harness import Fleet, Program, free_port, wait_until
from processes import cpu_seconds, installed, postgres_seconds, resident_mib, say, tick_seconds

SCRAPES = 200
QUERIES = 50
INGEST_LINES = 200_000
INGEST_SECONDS_MAX = 90
LIVE_SECONDS = 75
COLLECTORS = ("cpu", "meminfo", "loadavg", "stat", "filesystem", "diskstats", "netdev", "uname", "time")
RATE = "sum by (mode) (rate(node_cpu_seconds_total[1m]))"


def get(url, **parameters):
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    with urllib.request.urlopen(url + query, timeout=60) as answer:
        return answer.read()


def agent_yaml(fleet_lines, interval):
    return f"""
metrics: {{interval: {interval}}}
logs:
  journal: {{enabled: false}}
  files: [{{path: {fleet_lines}, service: app}}]
"""


# (a) One exposition: CPU and memory beside node_exporter's.

def scrape(options, figures):
    exporter = installed("prometheus-node-exporter", options.peers["prometheus-node-exporter"])
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
        section = figures.section("scrape: /metrics", ["node_exporter"])
        for figure, values, unit, digits in (
                ("CPU a cycle", cpu, "ms", 2), ("median latency", latency, "ms", 2),
                ("resident", memory, "MiB", 1), ("series", series, "", 0)):
            section.row(figure, values["petrel"], {"node_exporter": values.get("peer")}, unit, digits)


# (b) Lines from a file to committed rows, beside PostgreSQL's own COPY of the same file.

def ingest(options, figures):
    say(f"{INGEST_LINES:,} lines from a file through spool, mTLS and PostgreSQL")
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
        section = figures.section("ingest: log lines", ["COPY"])
        section.row("lines a second", stored / wall, {"COPY": INGEST_LINES / copied}, "", 0)
        for name in ("agent", "collector", "postgres"):
            section.row(f"CPU a million lines, {name}", (after[name] - before[name]) / stored * 1e6, None, "s")
        section.row("resident, agent", resident_mib(fleet.agent.process.pid), None, "MiB", 1)
        section.row("resident, collector", resident_mib(fleet.collector.process.pid), None, "MiB", 1)
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

def promql(options, figures):
    say(f"{LIVE_SECONDS} s of live data every second, then {QUERIES} queries each")
    server = installed("prometheus", options.peers["prometheus"])
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
        section = figures.section("promql: data that comes every second", ["prometheus"])
        for figure, values, unit, digits in (
                ("instant query, median", medians["instant"], "ms", 2),
                ("10 min range, median", medians["range"], "ms", 2), ("resident", memory, "MiB", 1)):
            section.row(figure, values["petrel"], {"prometheus": values.get("peer")}, unit, digits)
