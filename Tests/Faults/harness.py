"""Runs the real programs and torments them; the oracle stands outside both.

Only the standard library and psql. Everything listens on loopback; every process started here is ended here, by pid.
"""
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, seconds, condition, interval=0.1):
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (OSError, ValueError, subprocess.SubprocessError, KeyError):
            value = None
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(interval)


class Program:
    """One of our programs, in a session of its own, its output in a file."""

    def __init__(self, arguments, log, environment=None):
        self.arguments, self.log = [str(a) for a in arguments], log
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def start(self):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, env=self.environment)
        return self

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, number=signal.SIGKILL):
        if self.running:
            os.kill(self.process.pid, number)
            self.process.wait(30)

    def stop(self):
        if not self.running:
            return
        os.kill(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments[0]} did not stop within 30 s of SIGTERM")


class Fleet:
    """A collector with its private PostgreSQL, and one agent that follows a log file."""

    def __init__(self, programs, folder=None, host="h1", agent_yaml="", collector_yaml="",
                 alerting_yaml="", rules_yaml="", environment=None, agent_state=None):
        self.programs = os.path.abspath(programs)
        self.owns = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="petrel-fleet-")
        os.chmod(self.folder, 0o755)
        self.host = host
        self.ports = {name: free_port() for name in ("http", "fleet", "enroll", "public", "agent")}
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self.data = os.path.join(self.folder, "collector")
        self.state = agent_state or os.path.join(self.folder, "agent")
        self.lines = os.path.join(self.folder, "app.log")
        open(self.lines, "ab").close()
        self.socket = None  # where the database is another than the collector's own
        self._write("alerting.yaml", alerting_yaml or "route: {receiver: none}\nreceivers: [{name: none}]\n")
        self._write("rules.yaml", rules_yaml or "groups: []\n")
        collector_config = self._write("collector.yaml", collector_yaml + f"""
rules: {{files: [{self.folder}/rules.yaml], interval: 5s}}
alerting: {{file: {self.folder}/alerting.yaml}}
""")
        agent_config = self._write("agent.yaml", agent_yaml or f"""
metrics: {{interval: 1s}}
logs:
  journal: {{enabled: false}}
  files: [{{path: {self.lines}, service: app}}]
""")
        listeners = ["--http", f"127.0.0.1:{self.ports['http']}", "--fleet", f"127.0.0.1:{self.ports['fleet']}",
                     "--enroll", f"127.0.0.1:{self.ports['enroll']}", "--public", f"127.0.0.1:{self.ports['public']}"]
        self.listeners, self.collector_config = listeners, collector_config
        self.collector = Program(
            [self.program("petrel-collector"), "run", "--config", collector_config, "--data-dir", self.data]
            + listeners, os.path.join(self.folder, "collector.log"))
        self.agent = Program(
            [self.program("petrel-agent"), "run", "--config", agent_config, "--state-dir", self.state,
             "--listen", f"127.0.0.1:{self.ports['agent']}"], os.path.join(self.folder, "agent.log"), environment)

    def program(self, name):
        return os.path.join(self.programs, name)

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.agent.stop()
            self.collector.stop()
        finally:
            self.agent.kill()
            self.collector.kill()
            if kind is not None:
                for name in ("collector.log", "agent.log"):
                    path = os.path.join(self.folder, name)
                    print(f"--- last lines of {name}")
                    subprocess.run(["tail", "-n", "25", path])
                print(f"--- kept: {self.folder}")
            elif self.owns:
                shutil.rmtree(self.folder, ignore_errors=True)

    def enrol(self, host, state):
        """Makes `host`, whose state folder is `state`, a member of the fleet."""
        token = subprocess.run(
            [self.program("petrel-collector"), "enroll", "create", "--host", host, "--config",
             self.collector_config, "--data-dir", self.data]
            + self.listeners[2:6], check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
        subprocess.run(
            [self.program("petrel-agent"), "join", "--token", token, "--collector", "127.0.0.1",
             "--state-dir", state], check=True, capture_output=True, text=True)

    def up(self):
        self.collector.start()
        self.wait_ready()
        self.enrol(self.host, self.state)
        self.agent.start()
        return self

    def get(self, path, **parameters):
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with urllib.request.urlopen(self.url + path + query, timeout=30) as answer:
            return answer.read().decode()

    def wait_ready(self, seconds=60):
        def ready():
            assert self.collector.running, f"the collector ended; see {self.collector.log}"
            return self.get("/readyz") is not None
        wait_until("collector ready", seconds, ready)

    def query(self, expression):
        return json.loads(self.get("/prometheus/api/v1/query", query=expression))["data"]["result"]

    def agent_metrics(self):
        """The agent's own /metrics as {name{labels}: value}."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['agent']}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {l.rsplit(" ", 1)[0]: float(l.rsplit(" ", 1)[1]) for l in lines if l and l[0] != "#"}

    # The oracle's own way to the database: psql over the private cluster's socket.
    def socket_folder(self):
        if self.socket:
            return self.socket
        with open(os.path.join(self.data, "postgres", "data", "postmaster.pid")) as f:
            return f.read().splitlines()[4]

    def sql(self, statement):
        command = ["psql", "-h", self.socket_folder(), "-U", "petrel_owner", "-d", "petrel", "-AtXc", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def postgres_runs(self):
        try:
            return os.path.exists(f"/proc/{self.postgres_pid()}")
        except FileNotFoundError:
            return False

    def postgres_pid(self):
        with open(os.path.join(self.data, "postgres", "data", "postmaster.pid")) as f:
            return int(f.readline())


class Writer(threading.Thread):
    """Appends numbered lines to the fleet's log file at a rate; `sent` is what was written."""

    def __init__(self, fleet, per_second=500, padding=100):
        super().__init__(daemon=True)
        self.path, self.per_second, self.padding = fleet.lines, per_second, "x" * padding
        self.sent, self.ending = 0, threading.Event()

    def run(self):
        start = time.monotonic()
        base = self.sent
        with open(self.path, "ab", buffering=0) as f:
            while not self.ending.wait(0.02):
                due = base + int((time.monotonic() - start) * self.per_second)
                if due > self.sent:
                    f.write("".join(
                        '{"seq":%d,"level":"info","trace_id":"%032x","msg":"%s"}\n' % (n, n, self.padding)
                        for n in range(self.sent, due)).encode())
                    self.sent = due

    def finish(self):
        self.ending.set()
        self.join()
        return self.sent


class Meter(threading.Thread):
    """Memory and CPU of the fleet's programs, read from /proc: `peak` MiB of resident memory by name."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.ending = fleet, threading.Event()
        self.peak = {"agent": 0.0, "collector": 0.0}
        self.begun = self.cpu_seconds()

    @staticmethod
    def rss_mib(pid):
        with open(f"/proc/{pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) / 1024

    def cpu_seconds(self):
        """By program; PostgreSQL's are of the processes that live, and of those that the postmaster has buried."""
        def used(pid, fields):
            with open(f"/proc/{pid}/stat") as f:
                values = f.read().rsplit(")", 1)[1].split()
            return sum(int(values[n]) for n in fields) / os.sysconf("SC_CLK_TCK")
        postmaster = self.fleet.postgres_pid()
        result = {name: used(getattr(self.fleet, name).process.pid, (11, 12)) for name in self.peak}
        result["PostgreSQL"] = used(postmaster, (11, 12, 13, 14))
        with open(f"/proc/{postmaster}/task/{postmaster}/children") as f:
            for pid in f.read().split():
                try:
                    result["PostgreSQL"] += used(pid, (11, 12))
                except FileNotFoundError:
                    pass  # it has ended: the postmaster has its time
        return result

    def run(self):
        while not self.ending.wait(0.25):
            for name in self.peak:
                try:
                    self.peak[name] = max(self.peak[name], self.rss_mib(getattr(self.fleet, name).process.pid))
                except (OSError, StopIteration):
                    pass  # it was killed just now

    def finish(self):
        self.ending.set()
        self.join()

    def report(self, records):
        """What each record cost, and the peaks."""
        cpu = {name: value - self.begun[name] for name, value in self.cpu_seconds().items()}
        print("  CPU of a record: " + ", ".join(f"{name} {1e6 * s / records:.1f} us" for name, s in cpu.items())
              + "; peak RSS: " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in self.peak.items()), flush=True)


def account(fleet, sent, seconds=120):
    """Waits until everything arrived, then counts: sent, stored, gap, in spool, lost, duplicated."""
    def arrived():
        return int(fleet.sql("SELECT count(*) FROM petrel.log WHERE line LIKE '{\"seq\":%'")) >= sent
    try:
        wait_until("all lines stored", seconds, arrived, 0.5)
    except AssertionError:
        pass
    row = fleet.sql(
        "SELECT count(*), count(DISTINCT (line::json->>'seq')::bigint), coalesce(max((line::json->>'seq')::bigint), -1)"
        " FROM petrel.log WHERE line LIKE '{\"seq\":%'").split("|")
    stored, distinct = int(row[0]), int(row[1])
    gap = int(fleet.sql("SELECT coalesce(sum(record_count), 0) FROM petrel.gap WHERE kind = 2"))
    metrics = fleet.agent_metrics()
    spool = int(metrics.get('petrel_agent_spool_records{stream="logs"}', 0))
    disorder = int(fleet.sql(
        "SELECT count(*) FROM (SELECT (line::json->>'seq')::bigint AS n, lag((line::json->>'seq')::bigint)"
        " OVER (ORDER BY at_ns, id, ordinal) AS before FROM petrel.log WHERE line LIKE '{\"seq\":%') x"
        " WHERE n <> before + 1"))
    result = {"sent": sent, "stored": stored, "gap": gap, "in_spool": spool, "lost": sent - distinct - gap,
              "duplicated": stored - distinct, "out_of_order": disorder}
    print("  " + "  ".join(f"{k} {v}" for k, v in result.items()), flush=True)
    return result


def expect_exact(result):
    assert result["lost"] == 0 and result["duplicated"] == 0 and result["gap"] == 0, result
    assert result["out_of_order"] == 0, result


class Receiver:
    """A webhook endpoint on loopback that answers by a script, then 200; keeps every request."""

    def __init__(self, script=()):
        self.script, self.requests, self.lock = list(script), [], threading.Lock()
        self.before_success = None  # called once, when a request is about to be answered 200 for the first time
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with receiver.lock:
                    status, headers = receiver.script.pop(0) if receiver.script else (200, {})
                    receiver.requests.append(
                        {"at": time.time(), "status": status, "id": self.headers.get("Idempotency-Key"),
                         "path": self.path, "body": json.loads(body)})
                    hook = receiver.before_success if status == 200 else None
                    if hook:
                        receiver.before_success = None
                if hook:
                    hook()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                except OSError:
                    pass  # the collector was killed while it waited

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def delivered(self):
        with self.lock:
            return [r for r in self.requests if r["status"] == 200]

    def close(self):
        self.server.shutdown()


class MetricsServer:
    """Answers every GET with what `text()` gives, as an exporter does; `address` is its host and port."""

    def __init__(self, text, content_type):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = text().encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", content_type)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # who asked has gone

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def shutdown(self):
        self.server.shutdown()


def pause(low, high):
    time.sleep(random.uniform(low, high))
