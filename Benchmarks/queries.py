"""The queries of a fleet's dashboards: timed on every server in turn, and their answers compared."""
import http.client
import json
import math
import statistics
import time
import urllib.parse

HOUR = 3600
TOLERANCE = 1e-6
# A query that takes longer is not repeated as often as it was asked for.
QUERY_SECONDS_MAX = 20

CPU = "sum by (instance) (rate(node_cpu_seconds_total[5m]))"
CONTAINERS = "topk(5, sum by (instance, name) (rate(container_cpu_usage_seconds_total[5m])))"
QUANTILE = "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"
RATIO = "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"


class Query:
    def __init__(self, name, expression, hours=0, step=0, path=None):
        """An instant query, or with `hours` a range query of a `step` in seconds; or a request of another `path`."""
        self.name, self.expression, self.hours, self.step = name, expression, hours, step
        self.path = path or ("/query_range" if hours else "/query")

    def request(self, at, more):
        start = at - self.hours * HOUR
        if self.path == "/series":
            return {"match[]": self.expression, "start": at - HOUR, "end": at, **more}
        if self.hours:
            return {"query": self.expression, "start": start, "end": at, "step": self.step, **more}
        return {"query": self.expression, "time": at, **more}

    @property
    def can_be_known(self):
        """Whether a cache of answers to range queries can have it."""
        return bool(self.hours)


def queries(hours):
    """What can be asked of data of so many hours."""
    week = hours >= 168
    long, long_step = (168, 600) if week else (24, 300)
    label = "7 d @600 s" if week else "24 h @300 s"
    return [
        Query("up", "up"),
        Query("topk(5) of containers' CPU", CONTAINERS),
        Query("count by (__name__) of a host", 'count by (__name__) ({instance="h1"})'),
        Query("rate of CPU, 1 h @300 s", CPU, 1, 300),
        Query("rate of CPU, 24 h @60 s", CPU, 24, 60),
        *([Query("rate of CPU, 7 d @600 s", CPU, 168, 600)] if week else []),
        Query("topk(5) of containers, 24 h @60 s", CONTAINERS, 24, 60),
        Query("histogram_quantile, 24 h @60 s", QUANTILE, 24, 60),
        Query("one gauge, 24 h @60 s", 'node_load1{instance="h1"}', 24, 60),
        Query(f"ratio of gauges, {label}", RATIO, long, long_step),
        Query("regular expression on names, 1 h @15 s", 'sum by (job) ({__name__=~"pg_stat_.*"})', 1, 15),
        Query("max_over_time, 24 h @300 s", "max by (instance) (max_over_time(container_memory_rss[10m]))", 24, 300),
        Query("series of a host", '{instance="h1"}', path="/series"),
    ]


class Asker:
    """One server over a connection that stays open."""

    def __init__(self, api, seconds=120):
        url = urllib.parse.urlsplit(api)
        self.root = url.path
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=seconds)

    def ask(self, path, parameters):
        """(seconds until the answer was read, status, body)."""
        text = self.root + path + "?" + urllib.parse.urlencode(parameters)
        started = time.perf_counter()
        self.connection.request("GET", text)
        answer = self.connection.getresponse()
        body = answer.read()
        return time.perf_counter() - started, answer.status, body

    def close(self):
        self.connection.close()


class Contestant:
    """A server, asked in one way, and what came of it by query: milliseconds (the first one apart) and the answer."""

    def __init__(self, label, server, more):
        self.label, self.more, self.asker = label, more, Asker(server.api)
        self.first, self.times, self.answers = {}, {}, {}

    def ask(self, query, at):
        seconds, status, body = self.asker.ask(query.path, query.request(at, self.more))
        if status != 200:
            raise RuntimeError(f"{self.label} answers {query.name}: {status} {body[:200]!r}")
        return seconds, body

    def median(self, query):
        return statistics.median(self.times[query.name]) if self.times.get(query.name) else None


def run(contestants, asked, at, rounds):
    """Asks each query once of each, for the answer, then `rounds` times of all in turn."""
    for query in asked:
        for one in contestants:
            seconds, body = one.ask(query, at)
            one.first[query.name], one.answers[query.name] = seconds * 1000, points(body)
            one.times[query.name] = []
        started = time.monotonic()
        for _ in range(rounds):
            for one in contestants:
                one.times[query.name].append(one.ask(query, at)[0] * 1000)
            if time.monotonic() - started > QUERY_SECONDS_MAX:
                break


def points(body):
    """{labels: {time: value}} of an answer."""
    data = json.loads(body)["data"]
    if isinstance(data, list):
        return {json.dumps(labels, sort_keys=True): {0.0: 1.0} for labels in data}
    found = {}
    for series in data["result"]:
        labels = json.dumps(series["metric"], sort_keys=True)
        assert labels not in found, f"the series {labels} twice"
        found[labels] = {float(t): float(v) for t, v in series.get("values") or [series["value"]]}
    return found


def difference(ours, theirs):
    """(points of ours, points that differ or that one lacks, the largest relative error of those both have)."""
    count, different, worst = 0, 0, 0.0
    for labels in ours.keys() | theirs.keys():
        a, b = ours.get(labels, {}), theirs.get(labels, {})
        count += len(a)
        different += len(a.keys() ^ b.keys())
        for time_ in a.keys() & b.keys():
            error = relative(a[time_], b[time_])
            worst = max(worst, error)
            different += error > TOLERANCE
    return count, different, worst


def relative(a, b):
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))
