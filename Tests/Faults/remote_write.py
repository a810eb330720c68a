"""Prometheus as a remote-write sender while the collector is killed; its own database is the oracle.

Every sample that Prometheus scraped must be in the collector once, with its bits, staleness markers included, whatever
was killed meanwhile. Prometheus' query API is compared with the collector's, and `promtool tsdb dump` with SQL.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

from harness import Fleet, MetricsServer, Program, free_port, pause, wait_until

WINDOW_SECONDS = 240
SETTLE_SECONDS_MAX = 300


class Exporter:
    """Series of every kind that a scraper meets: counters, gauges of odd values, and some that come and go."""

    FAMILIES = 40

    def __init__(self):
        self.scrapes = 0
        self.server = MetricsServer(self.text, "text/plain; version=0.0.4")
        self.target = self.server.address

    def text(self):
        self.scrapes += 1
        n, lines = self.scrapes, []
        for i in range(self.FAMILIES):
            for place in ("a", "b", "c"):
                lines.append(f'fault_counter_{i}_total{{place="{place}"}} {n * (i + 1)}')
                lines.append(f'fault_gauge_{i}{{place="{place}"}} {(n * 7919 + i) % 997 / 3:.17g}')
        # No -0: Prometheus' own encoder leaves out values that equal 0, and 0 arrives.
        odd = ("NaN", "+Inf", "-Inf", "0", "5e-324", "1.7976931348623157e+308", "0.1")
        lines += [f'fault_odd{{n="{i}"}} {odd[(n + i) % len(odd)]}' for i in range(len(odd))]
        # Half of these are there, others at each third scrape: each that goes leaves a staleness marker.
        lines += [f'fault_flapping{{n="{i}"}} {n}' for i in range(20) if (n // 3 + i) % 2]
        # A new series at every fifth scrape.
        lines += [f'fault_born{{at="{i}"}} {n}' for i in range(max(0, n // 5 - 10), n // 5)]
        return "\n".join(lines) + "\n"

    def close(self):
        self.server.shutdown()


class Sender(Program):
    """Debian's prometheus, scraping `targets` and sending all of it to `url`."""

    def __init__(self, program, folder, targets, interval, url):
        self.port, self.data = free_port(), os.path.join(folder, "prometheus")
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w") as f:
            f.write(f"""
global: {{scrape_interval: {interval}, external_labels: {{sender: "faults"}}}}
scrape_configs:
  - job_name: fleet
    honor_labels: true
    static_configs: [{{targets: {json.dumps(targets)}}}]
remote_write:
  - url: {url}/prometheus/api/v1/write
    queue_config: {{min_backoff: 30ms, max_backoff: 1s}}
""")
        super().__init__(
            [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}",
             f"--storage.tsdb.path={self.data}"], os.path.join(folder, "prometheus.log"))
        self.url = f"http://127.0.0.1:{self.port}"

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        result = {}
        for line in lines:
            if line.startswith("prometheus_remote_storage_"):
                name, value = line.rsplit(" ", 1)
                name = name.split("{")[0]
                result[name] = result.get(name, 0) + float(value)
        return result

    def sent_through(self, seconds):
        return self.metrics().get("prometheus_remote_storage_queue_highest_sent_timestamp_seconds", 0) > seconds


def samples(url, selector, end, seconds):
    """Every sample with end - seconds < time <= end, by series, as the query API of `url` says."""
    query = urllib.parse.urlencode({"query": f"{selector}[{seconds * 1000:.0f}ms]", "time": f"{end:.3f}"}).encode()
    with urllib.request.urlopen(url + "/api/v1/query", query, timeout=120) as answer:
        data = json.load(answer)["data"]["result"]
    result = {}
    for series in data:
        labels = dict(series["metric"])
        labels.pop("sender", None)
        key = tuple(sorted(labels.items()))
        assert key not in result, f"{url} answers the series {key} twice"
        # Prometheus 2 includes the left edge, 3 does not.
        kept = [(t, v) for t, v in series["values"] if t > end - seconds]
        if kept:
            result[key] = kept
    return result


def compare(peer, ours, start, end):
    """Both APIs over start < time <= end: series, samples, and how many of Prometheus' are missing, more, or different."""
    result = {"series": set(), "samples": 0, "missing": 0, "more": 0, "different": 0}
    examples = []
    while start < end:
        edge = min(start + WINDOW_SECONDS, end)
        theirs = samples(peer, '{__name__=~".+"}', edge, edge - start)
        own = samples(ours, '{sender="faults"}', edge, edge - start)
        for key in theirs.keys() | own.keys():
            a, b = dict(theirs.get(key, [])), dict(own.get(key, []))
            result["series"].add(key)
            result["samples"] += len(a)
            missing, more = a.keys() - b.keys(), b.keys() - a.keys()
            different = [t for t in a.keys() & b.keys() if a[t] != b[t]]
            doubled = len(own.get(key, [])) - len(b)
            result["missing"] += len(missing)
            result["more"] += len(more) + doubled
            result["different"] += len(different)
            for what, times in (("missing", missing), ("more", more), ("different", different)):
                if times and len(examples) < 5:
                    examples.append((what, key, [(t, a.get(t), b.get(t)) for t in sorted(times)[:3]]))
        start = edge
    result["series"] = len(result["series"])
    return result, examples


def dumped(promtool, data, start_ms, end_ms):
    """(series, samples, NaN) of Prometheus' database, staleness markers among the NaN."""
    command = [promtool, "tsdb", "dump", f"--min-time={start_ms}", f"--max-time={end_ms}", data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    series, count, nan = set(), 0, 0
    for line in process.stdout:
        found = re.fullmatch(r"(\{.*\}) (\S+) (\d+)\n", line)
        if found:
            series.add(found[1])
            count += 1
            nan += found[2] == "NaN"
    assert process.wait() == 0, "promtool tsdb dump failed"
    return len(series), count, nan


def stored(fleet, start_ms, end_ms):
    """The same of the collector's database, through its SQL view."""
    row = fleet.sql(
        "SELECT count(DISTINCT series_id), count(*), count(*) FILTER (WHERE value = 'NaN') FROM ("
        # What was stored, and sent again because the answer was lost, is there twice until it is in chunks.
        "SELECT DISTINCT series_id, at_ms, value FROM petrel.sample"
        f" WHERE labels->>'sender' = 'faults' AND at_ms BETWEEN {start_ms} AND {end_ms}) s")
    return tuple(int(x) for x in row.split("|"))


def run(options, kills, every):
    program, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if not program or not promtool:
        print("  SKIPPED: prometheus and promtool are not in PATH (Debian: apt-get install prometheus)", flush=True)
        return
    exporter = None if options.targets else Exporter()
    targets = options.targets.split(",") if options.targets else [exporter.target]
    with Fleet(options.programs) as fleet:
        fleet.collector.start()
        fleet.wait_ready()
        sender = Sender(program, fleet.folder, targets, options.interval, fleet.url).start()
        try:
            wait_until("first samples stored", 90, lambda: fleet.query('up{sender="faults"}'))
            start = int(time.time())
            for n in range(kills):
                pause(every * 0.8, every * 1.2)
                fleet.collector.kill(signal.SIGKILL)
                pause(0.0, min(2.0, every / 4))
                fleet.collector.start()
                fleet.wait_ready()
                if (n + 1) % 10 == 0:
                    print(f"  {n + 1} kills, {time.time() - start:.0f} s", flush=True)
            end = int(time.time())
            wait_until("all sent", SETTLE_SECONDS_MAX, lambda: sender.sent_through(end + 1), 1)
            metrics = sender.metrics()
            result, examples = compare(sender.url, fleet.url + "/prometheus", start, end)
            told = {name.rsplit("_samples_", 1)[1]: int(value) for name, value in metrics.items() if re.search(
                "_samples_(failed|dropped|retried)_total$", name)}
            print("  " + "  ".join(f"{k} {v}" for k, v in {**result, **told}.items()), flush=True)
            sender.stop()
            edges = start * 1000 + 1, end * 1000
            peer, own = dumped(promtool, sender.data, *edges), stored(fleet, *edges)
            print(f"  series, samples, NaN: prometheus {peer}, petrel.sample {own}", flush=True)
        finally:
            sender.kill()
            if exporter:
                exporter.close()
        assert result["samples"] > 0 and not examples, examples
        assert not (result["missing"] or result["more"] or result["different"]), result
        assert told["failed_total"] == 0 and told["dropped_total"] == 0, told
        assert peer == own, "the databases differ"
        if exporter:
            assert peer[2] > 0, "no staleness marker was tested"
