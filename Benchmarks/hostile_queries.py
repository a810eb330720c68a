"""Queries that should be refused or bounded, and a harmless one beside them."""
import http.client
import multiprocessing
import time
import urllib.parse

from processes import PeakWatch
from queries import CPU, Asker

HOUR = 3600
# Longer than a person waits: the client goes away.
CLIENT_SECONDS = 30
QUIET_QUESTIONS = 200
PAUSE_SECONDS = 0.02


def cases(at, hours):
    """(name, path, body of the POST request) of each."""
    def instant(query):
        return "/query", urllib.parse.urlencode({"query": query, "time": at})

    def ranged(query, back, step):
        return "/query_range", urllib.parse.urlencode({"query": query, "start": at - back, "end": at, "step": step})

    everything = '{__name__=~".+"}'
    copies = '"$1$1$1$1$1$1$1$1"'
    return [
        ("everything, 24 h @15 s", *ranged(everything, 24 * HOUR, 15)),
        ("every sample counted", *instant(f"count_over_time({everything}[{hours}h])")),
        ("604,801 steps", *ranged("up", 168 * HOUR, 1)),
        ("a subquery of 604,800 steps", *instant("max_over_time(rate(node_cpu_seconds_total[5m])[7d:1s])")),
        ("subqueries in subqueries", *instant(
            "max_over_time(max_over_time(max_over_time(node_load1[1h:1s])[1d:10s])[7d:1m])")),
        ("a regular expression that backtracks", *instant('count({__name__=~"(.*)*(.*)*(.*)*x(.*)*y"})')),
        ("a regular expression of 1,000 repeats", *instant('count({__name__=~"(((.{1,50}){1,20}){1,1})z"})')),
        ("a regular expression of 100 kB", *instant(
            'count({__name__=~"' + "|".join(f"m{n}x" for n in range(15_000)) + '"})')),
        ("10,000 parentheses", *instant("(" * 10_000 + "1" + ")" * 10_000)),
        ("100,000 signs", *instant("-" * 100_000 + "1")),
        ("3,000 calls in each other", *instant("abs(" * 3_000 + "up" + ")" * 3_000)),
        ("2,000 operators", *instant("+".join(["up"] * 2_000))),
        ("a join of everything", *instant('{instance="h1"} * on () group_left () {instance="h2"}')),
        ("labels that grow", *instant(
            f'label_replace(label_replace({everything}, "x", {copies}, "__name__", "(.*)"), "y", {copies}, "x", "(.*)")')),
        ("bytes that are no UTF-8", "/query", "query=%ff%fe%00up"),
        ("NUL in a label", *instant('up{instance="a\x00b"}')),
        ("1 MB of text", *instant('up{instance="' + "x" * 10**6 + '"}')),
    ]


class Outcome:
    """What became of one query: `status` is HTTP's, or says why there is none."""

    def __init__(self, name, status, seconds, peak, is_alive):
        self.name, self.status, self.seconds, self.peak, self.is_alive = name, status, seconds, peak, is_alive

    @property
    def is_good(self):
        """Answered, or refused, before the client went away."""
        return self.is_alive and self.status.isdigit()

    def __str__(self):
        return f"{self.status} in {self.seconds:.2f} s, {self.peak:,.0f} MiB" + ("" if self.is_alive else ", DEAD")


def post(api, path, body):
    """The status of the request, or the kind of failure; the answer is read and thrown away."""
    url = urllib.parse.urlsplit(api)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=CLIENT_SECONDS)
    end = time.monotonic() + CLIENT_SECONDS
    try:
        connection.request("POST", url.path + path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        while answer.read(1 << 20):
            if time.monotonic() > end:
                return "too slow"
        return str(answer.status)
    except TimeoutError:
        return "too slow"
    except (OSError, http.client.HTTPException):
        return "cut off"
    finally:
        connection.close()


def run(server, at, hours):
    """The outcomes on one server, and the latencies in ms of the harmless query before and meanwhile."""
    quiet = harmless(server.api, at, QUIET_QUESTIONS)
    outcomes = []
    with Beside(server.api, at) as beside:
        for name, path, body in cases(at, hours):
            with PeakWatch(server.pid) as memory:
                started = time.perf_counter()
                status = post(server.api, path, body)
                seconds = time.perf_counter() - started
            outcomes.append(Outcome(name, status, seconds, memory.peak, server.running))
            if not server.running:
                server.start()
    return outcomes, quiet, beside.latencies


def harmless(api, at, count):
    """Milliseconds of `count` harmless queries; infinite where one was not answered."""
    asker, latencies = Asker(api, seconds=CLIENT_SECONDS), []
    for _ in range(count):
        latencies.append(_ask(asker, at))
        time.sleep(PAUSE_SECONDS)
    asker.close()
    return latencies


def _ask(asker, at):
    try:
        seconds, status, _ = asker.ask("/query", {"query": CPU, "time": at})
    except (OSError, http.client.HTTPException):
        asker.close()
        return float("inf")
    return seconds * 1000 if status == 200 else float("inf")


def _ask_until_told(api, at, pipe):
    asker, latencies = Asker(api, seconds=CLIENT_SECONDS), []
    pipe.send("begun")
    while not pipe.poll(PAUSE_SECONDS):
        latencies.append(_ask(asker, at))
    pipe.send(latencies)


class Beside:
    """The harmless query, again and again, from a process of its own: what reads a large answer must not slow it."""
    BEGIN_SECONDS_MAX = 30

    def __init__(self, api, at):
        context = multiprocessing.get_context("spawn")
        self.pipe, self.other = context.Pipe()
        self.process = context.Process(target=_ask_until_told, args=(api, at, self.other), daemon=True)
        self.latencies = []

    def __enter__(self):
        self.process.start()
        self.other.close()  # so that its end is seen here
        if not self.pipe.poll(self.BEGIN_SECONDS_MAX):
            self.process.kill()
            raise RuntimeError("the process that asks beside does not begin")
        self.pipe.recv()
        return self

    def __exit__(self, *_):
        try:
            self.pipe.send("end")
            if self.pipe.poll(2 * CLIENT_SECONDS):
                self.latencies = self.pipe.recv()
        except (EOFError, OSError):
            pass  # it ended before: there are no latencies
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()


def share(latencies, part):
    """The latency below which `part` of them stayed; None where there are none."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None
