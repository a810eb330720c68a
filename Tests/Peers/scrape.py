#!/usr/bin/env python3
"""Petrel's agent and a Prometheus scrape the same targets; what both stored is compared.

    scrape.py --programs FOLDER [--prometheus prometheus] [--target HOST:PORT …] [--seconds 90] [--interval 5s]

FOLDER holds petrel-agent and petrel-collector. Targets of its own are good and bad: a steady one whose series come and
go, one of many series past its sample limit, one of garbage, one that never ends, one that does not listen, one whose
series have a host of their own, one that has nothing to say, three behind one address. More are named by --target.
Both scrape all of them in one run; then `up`, the scrape_* counts and, for every series, labels and the times it began
and ended by staleness are held against each other, and of the steady target every value.
"""
import argparse
import collections
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Faults"))
import harness  # noqa: E402

MANY = 3000


class Targets(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hold = 10.0

    def log_message(self, *_):
        pass

    def steady(self):
        """The same answer within a hold of 10 s, so that both scrapers see it; a third of the series at a time is away."""
        step = int(time.time() / self.hold)
        lines = ["# HELP steady A counter.", "# TYPE steady counter"]
        lines += [f'steady{{n="{n}",job="own"}} {step * n}' for n in range(100) if n < 50 or (n + step) % 3]
        lines += ["# TYPE h histogram", f'h_bucket{{le="1"}} {step}', f'h_bucket{{le="+Inf"}} {step}',
                  f"h_sum {step / 3}", f"h_count {step}", "go_gone 1", 'odd{a="x\\"y\\\\z",b="ü"} NaN', "inf -Inf"]
        return "\n".join(lines) + "\n"

    def open(self):
        """OpenMetrics: a new exemplar in each hold, with a time and without, start timestamps, units."""
        step = int(time.time() / self.hold)
        at = step * self.hold
        lines = ["# TYPE open_seconds counter", "# UNIT open_seconds seconds", "# HELP open_seconds Open."]
        for n in range(5):
            lines.append(f'open_seconds_total{{n="{n}"}} {step * n} # {{trace_id="{step}-{n}"}} {n} {at + n / 10}')
            lines.append(f'open_seconds_created{{n="{n}"}} 1700000000.5')
        lines += ["# TYPE open_size histogram", f'open_size_bucket{{le="1.0"}} {step} # {{trace_id="{step}-low"}} 0.5',
                  f'open_size_bucket{{le="+Inf"}} {2 * step} # {{trace_id="{step}-high",span_id="s"}} 2 {at}',
                  f"open_size_count {2 * step}", f"open_size_sum {3 * step}", "open_size_created 1700000001",
                  f'# TYPE open_info info', 'open_info{version="1"} 1', "# EOF"]
        return "\n".join(lines) + "\n"

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        kind = "text/plain; version=0.0.4"
        if path == "/steady":
            body = self.steady().encode()
        elif path == "/open":
            body = self.open().encode()
            kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        elif path in ("/moved", "/circle"):
            self.send_response(302 if path == "/moved" else 307)
            self.send_header("Location", "./steady" if path == "/moved" else "/circle?again")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        elif path == "/many":
            body = "".join(f'many{{n="{n}"}} 1\n' for n in range(MANY)).encode()
        elif path == "/hosts":
            body = b'hosts{host="a",role="x"} 1\nhosts{host="b"} 2\nhosts 3\n'
        elif path == "/nothing":
            body = b""
        elif path == "/probe":
            body = f"probe {urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)['target'][0]}\n".encode()
        elif path == "/garbage":
            body = b'good 1\nbad{l="\xff\xfe"} 1\n'
        elif path == "/endless":
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            try:
                for _ in range(60):
                    self.wfile.write(b"slow 1\n")
                    self.wfile.flush()
                    time.sleep(0.5)
            except OSError:
                pass
            self.close_connection = True
            return
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind if body else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def jobs(port, extra, interval):
    own = f'["127.0.0.1:{port}"]'
    closed = harness.free_port()
    every = f"scrape_interval: {interval}, scrape_timeout: 2s"
    lines = [
        f"- {{job_name: steady, metrics_path: /steady, {every}, static_configs: [{{targets: {own}, labels: {{team: a}}}}],"
        " metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: 'go_.*'},"
        " {action: labelmap, regex: 'n', replacement: number}]}",
        f"- {{job_name: honest, metrics_path: /steady, honor_labels: true, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: many, metrics_path: /many, sample_limit: 1000, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: hosts, metrics_path: /hosts, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: hosts-honest, metrics_path: /hosts, honor_labels: true, {every},"
        f" static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: nothing, metrics_path: /nothing, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: named, metrics_path: /hosts, {every}, static_configs: [{{targets: ['localhost:{port}']}}]}}",
        f"- {{job_name: probe, {every}, static_configs: [{{targets: ['1', '2', '3']}}], relabel_configs: ["
        "{source_labels: [__address__], target_label: __param_target},"
        " {source_labels: [__address__], target_label: instance}, {target_label: __metrics_path__, replacement: probe},"
        f" {{target_label: __address__, replacement: '127.0.0.1:{port}'}}]}}",
        f"- {{job_name: garbage, metrics_path: /garbage, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: endless, metrics_path: /endless, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: missing, metrics_path: /none, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: open, metrics_path: /open, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: moved, metrics_path: /moved, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: circle, metrics_path: /circle, {every}, static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: unmoved, metrics_path: /moved, follow_redirects: false, {every},"
        f" static_configs: [{{targets: {own}}}]}}",
        f"- {{job_name: closed, {every}, static_configs: [{{targets: ['127.0.0.1:{closed}']}}]}}",
    ]
    if extra:
        lines.append(f"- {{job_name: extra, {every}, static_configs: [{{targets: {json.dumps(extra)}}}]}}")
    return lines


def ask(url, path, **parameters):
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
        return json.loads(answer.read())["data"]


def key(metric, is_ours):
    """Labels as both should have them: without the collector's own, those in their place under their names, bounds as
    Prometheus 3 spells them (2.42 does not)."""
    def spelled(name, value):
        if name in ("le", "quantile") and value.lstrip("-").isdigit():
            return value + ".0"
        return value
    if is_ours:
        metric = {n: v for n, v in metric.items() if n not in ("host", "role")}
        metric = {n[9:] if n in ("exported_host", "exported_role") else n: v for n, v in metric.items()}
    return tuple(sorted((n, spelled(n, v)) for n, v in metric.items()))


def is_ours(url):
    return url.endswith("/prometheus")


def series(url, selector, start, end):
    """Raw samples by labels, without the labels that the collector sets."""
    data = ask(url, "/api/v1/query", query=f"{selector}[{int(end - start)}s]", time=f"{end:.3f}")
    return {key(r["metric"], is_ours(url)): [(t, v) for t, v in r["values"]] for r in data["result"]}


class Check:
    def __init__(self):
        self.problems, self.counts = [], collections.Counter()

    def equal(self, what, ours, theirs):
        self.counts["compared"] += 1
        if ours != theirs:
            self.problems.append(f"{what}: ours {ours!r}, Prometheus' {theirs!r}")


def compare(ours, theirs, start, end, check):
    scraped = ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"]
    for name in scraped:
        a, b = (series(u, f'{name}{{job!="node"}}', start, end) for u in (ours, theirs))
        check.equal(f"targets with {name}", sorted(a), sorted(b))
        for labels in sorted(set(a) & set(b)):
            job = dict(labels).get("job")
            if (name != "up" and job == "garbage") or job == "extra" and name != "up":
                continue  # ours counts nothing of a text that can't be read; an exporter's own series come and go
            if job in ("steady", "honest", "moved") and name != "up":
                continue  # moves; compared sample by sample
            check.equal(f"{name} {labels}", {v for _, v in a[labels]}, {v for _, v in b[labels]})
    for job in ("steady", "honest", "own", "hosts", "hosts-honest", "nothing", "named", "probe", "open", "moved", "unmoved",
                "circle", "extra", "many", "garbage", "endless", "missing"):
        a, b = (series(u, f'{{job="{job}",__name__!~"up|scrape_.*"}}', start, end) for u in (ours, theirs))
        for labels in sorted(set(a) ^ set(b)):
            check.problems.append(f"series of one side: {labels} {'ours' if labels in a else 'theirs'}")
        check.counts[f"series of {job}"] = len(set(a) & set(b))
        if job == "extra":
            continue
        for labels in sorted(set(a) & set(b)):
            at = {int(t / Targets.hold): v for t, v in b[labels]}
            for t, value in a[labels]:
                # A scrape near the edge of a hold may see the neighbour's value.
                if not 1 < t % Targets.hold < Targets.hold - 1:
                    continue
                if int(t / Targets.hold) in at:
                    inside = [v for u, v in b[labels]
                              if int(u / Targets.hold) == int(t / Targets.hold) and 1 < u % Targets.hold < Targets.hold - 1]
                    if inside:
                        check.counts["values"] += 1
                        check.equal(f"value {labels} at {t}", value, inside[0])
    return check


def exemplars(ours, theirs, start, end, check):
    """Both sides' exemplars of the open target, in times that both have scraped whole."""
    found = []
    for url in (ours, theirs):
        data = ask(url, "/api/v1/query_exemplars", query='{job="open"}', start=f"{start:.3f}", end=f"{end:.3f}")
        found.append({(key(s["seriesLabels"], is_ours(url)), tuple(sorted(e["labels"].items())), float(e["value"]))
                      for s in data for e in s["exemplars"]
                      if start < int(e["labels"]["trace_id"].split("-")[0]) * Targets.hold < end - Targets.hold})
    check.counts["exemplars"] = len(found[0] & found[1])
    check.equal("exemplars", sorted(found[0] - found[1])[:3], [])
    check.equal("exemplars", sorted(found[1] - found[0])[:3], [])


def stale(ours, theirs, times, check):
    """Which series an instant query finds, in the middle of holds: staleness markers decide."""
    for t in times:
        found = []
        for url in (ours, theirs):
            data = ask(url, "/api/v1/query", query='{__name__=~"steady|good|many|slow"}', time=f"{t:.3f}")
            found.append({key(r["metric"], is_ours(url)) for r in data["result"]})
        check.counts["instants"] += 1
        check.equal(f"series at {t}", sorted(found[0] - found[1])[:3], [])
        check.equal(f"series at {t}", sorted(found[1] - found[0])[:3], [])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--programs", required=True)
    p.add_argument("--prometheus", default="prometheus")
    p.add_argument("--target", action="append", default=[])
    p.add_argument("--seconds", type=int, default=90)
    p.add_argument("--interval", default="2s")
    a = p.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Targets)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lines = jobs(server.server_address[1], a.target, a.interval)
    folder = tempfile.mkdtemp(prefix="petrel-scrape-")
    port = harness.free_port()
    with open(f"{folder}/prometheus.yml", "w") as f:
        f.write("scrape_configs:\n" + "\n".join(lines) + "\n")
    agent = "metrics: {interval: 5s}\nlogs: {journal: {enabled: false}}\nscrape:\n" + "\n".join(lines) + "\n"
    theirs = subprocess.Popen(
        [a.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", "--enable-feature=exemplar-storage"],
        start_new_session=True)
    try:
        with harness.Fleet(a.programs, agent_yaml=agent) as fleet:
            fleet.up()
            start = time.time() + 15
            time.sleep(15 + a.seconds)
            end = time.time() - 3
            check = Check()
            ours = fleet.url + "/prometheus"
            compare(ours, f"http://127.0.0.1:{port}", start, end, check)
            exemplars(ours, f"http://127.0.0.1:{port}", start, end, check)
            hold = Targets.hold
            first = (int(start / hold) + 2) * hold + 0.8 * hold
            stale(ours, f"http://127.0.0.1:{port}", [t for t in
                  (first + n * hold for n in range(100)) if t < end - hold], check)
            own = fleet.agent_metrics()
            for name in sorted(own):
                if name.startswith("petrel_agent_scrape"):
                    print(f"  {name} {own[name]:g}")
            with open(f"/proc/{fleet.agent.process.pid}/status") as f:
                print("  agent " + " ".join(next(l for l in f if l.startswith("VmRSS")).split()))
            for line in open(fleet.agent.log):
                if "target" in line:
                    print("  " + line.strip())
            gaps = fleet.sql("SELECT coalesce(string_agg(DISTINCT reason || ': ' || detail, ', '), '') FROM petrel.gap")
            check.equal("gap records", gaps, "")
            for what, count in check.counts.items():
                print(f"  {what}: {count}")
            for problem in check.problems[:20]:
                print(f"  DIFFERENT {problem}")
            print(f"{check.counts['compared'] - len(check.problems)} equal, {len(check.problems)} different")
            if not all(check.counts[what] for what in ("values", "series of own", "series of open", "exemplars")):
                sys.exit("nothing was compared")
            if check.problems:
                sys.exit(1)
    finally:
        theirs.terminate()
        theirs.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
