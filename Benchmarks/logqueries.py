"""Questions about logs as people and dashboards ask them: how long each takes, and how much of the store it opens."""
import json
import re
import statistics
import time

from loglines import ABSENT, EVERYWHERE, RARE, REGEX, SECOND
from queries import Asker

HOUR = 3600
ALL = '{host=~".+"}'
LIMIT = 1000
# A query that takes longer is not repeated as often as it was asked for.
QUERY_SECONDS_MAX = 20


class LogQuery:
    """One question over the last `hours`: of lines, or with `step` of numbers over time."""

    def __init__(self, name, text, hours, step=None, limit=100, expect=None, path="/query_range"):
        """`expect`: how many lines, or which sum of all numbers, the answer must have."""
        self.name, self.text, self.hours, self.step, self.limit = name, text, hours, step, limit
        self.expect, self.path = expect, path

    def request(self, end_ns):
        if self.path == "/query":
            return {"query": self.text, "time": end_ns}
        asked = {"query": self.text, "start": end_ns - int(self.hours * HOUR * SECOND), "end": end_ns}
        if self.step:
            return {**asked, "step": f"{self.step}s"}
        return {**asked, "limit": self.limit}


def queries(reference):
    """The questions of the targets, over as much time as there is."""
    span = (reference.end_ns - reference.start_ns) / SECOND / HOUR + 0.02
    day, week = min(24, span), min(168, span)
    of_day, of_week = f"{day:.3g} h", f"{week:.3g} h" if week < 168 else "7 d"
    hour = min(1, span)
    whole_week = week >= span
    # A window of whole minutes that holds all of it.
    window = int(span * 60) + 2
    return [
        LogQuery(f"rare substring, {of_week}", f'{ALL} |= "{RARE}"', week, limit=LIMIT,
                 expect=reference.rare_count if whole_week else None),
        LogQuery(f"substring that is nowhere, {of_week}", f'{ALL} |= "{ABSENT}"', week, expect=0),
        LogQuery(f"sum by (host) (rate), {of_day} @60 s", f"sum by (host) (rate({ALL}[5m]))", day, 60),
        LogQuery(f"sum by (detected_level) (count_over_time), {of_day} @60 s",
                 f"sum by (detected_level) (count_over_time({ALL}[1m]))", day, 60),
        LogQuery(f"Explore's histogram, {of_day} @60 s",
                 f"sum by (level, detected_level) (count_over_time({ALL} | drop __error__ [1m]))", day, 60),
        LogQuery("last 100 lines of a stream", '{host="app", service_name="api"}', day),
        LogQuery(f"last 100 lines of all, {of_day}", ALL, day),
        LogQuery(f"needle that is everywhere, 100 lines, {of_day}", f'{ALL} |= "{EVERYWHERE}"', day),
        LogQuery(f"needle that is everywhere, counted, {hour:.3g} h",
                 f'sum(count_over_time({ALL} |= "{EVERYWHERE}" [{int(hour * 60)}m]))', hour, path="/query"),
        LogQuery(f"regular expression with a literal, {of_day}", f'{ALL} |~ "{REGEX}"', day, limit=LIMIT),
        LogQuery(f"json, then a filter, {hour:.3g} h", '{service_name="caddy"} | json | status >= 500', hour),
        LogQuery(f"errors by path, {hour:.3g} h @60 s",
                 'topk(5, sum by (request_uri) (count_over_time({service_name="caddy"} |= "\\"status\\":50" | json [5m])))',
                 hour, 60),
        LogQuery("all lines counted by the rates", f"sum(count_over_time({ALL}[{window}m]))", span,
                 expect=reference.count + sum(map(len, reference.planted.values())), path="/query"),
    ]


class Outcome:
    """Milliseconds of each time a question was asked, and what its answer told."""

    def __init__(self):
        # `opened`: blocks opened, and ruled out, as the collector's counters say; `stats`: what the answer says of blocks.
        self.times, self.opened, self.stats, self.lines, self.count, self.error = [], None, {}, None, None, None

    @property
    def median(self):
        return statistics.median(self.times) if self.times else None

    def share(self, share):
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def counted(data):
    """Lines of an answer, or the sum of its numbers at the last time."""
    if data["resultType"] == "streams":
        return sum(len(stream["values"]) for stream in data["result"])
    if data["resultType"] == "matrix":
        return round(sum(float(value) for series in data["result"] for _, value in series["values"]), 3)
    return round(sum(float(series["value"][1]) for series in data["result"]), 3)


def of_blocks(stats):
    """What the statistics say of blocks: {name: number}, of whatever form they are; zeros are left out."""
    found = {}

    def walk(value, path):
        for name, inner in value.items():
            if isinstance(inner, dict):
                walk(inner, [*path, name])
            elif isinstance(inner, (int, float)) and inner and re.search("block|chunk", name, re.I):
                found[".".join([*path, name])] = inner
    walk(stats, [])
    ours = {name.split(".")[-1]: value for name, value in found.items() if "petrel" in name}
    return ours or found


def grown(opened, before):
    return tuple(now - then for now, then in zip(opened(), before))


def ask(asker, query, end_ns, rounds, opened):
    """Asks once, for the answer, then `rounds - 1` times again; what is refused is told, not raised."""
    outcome, before = Outcome(), opened()
    started = time.monotonic()
    for turn in range(rounds):
        seconds, status, body = asker.ask(query.path, query.request(end_ns))
        if status != 200:
            outcome.error = f"{status} {body[:160].decode(errors='replace')}"
            return outcome
        outcome.times.append(seconds * 1000)
        if turn == 0:
            outcome.opened = grown(opened, before)
            data = json.loads(body)["data"]
            outcome.count = counted(data)
            stats = data.get("stats") or {}
            outcome.stats = of_blocks(stats)
            outcome.lines = (stats.get("summary") or {}).get("totalLinesProcessed")
        if time.monotonic() - started > QUERY_SECONDS_MAX:
            break
    return outcome


def run(api, asked, end_ns, rounds, opened):
    """{name: Outcome} of each question in turn. `opened()` tells what the collector's counters of blocks say."""
    asker = Asker(api, 600)
    try:
        return {query.name: ask(asker, query, end_ns, rounds, opened) for query in asked}
    finally:
        asker.close()


# One id, over the whole time: what the field asks for most.

TRACE_WAYS = {
    "trace view": None,
    "|= id": (ALL + ' |= "%s"'),
    "| trace_id": (ALL + ' | trace_id="%s"'),
}


class TraceAnswer:
    """The lines of one trace as [(nanoseconds, host)] in the order of the answer."""

    def __init__(self, lines):
        self.lines = lines

    @property
    def is_ordered(self):
        return all(a[0] <= b[0] for a, b in zip(self.lines, self.lines[1:]))


def trace_lines(way, body):
    if TRACE_WAYS[way] is None:
        told = json.loads(body)
        told = told.get("data", told)
        return TraceAnswer([(_nanoseconds(line), line.get("host") or line.get("labels", {}).get("host"))
                            for line in told["lines"]])
    streams = json.loads(body)["data"]["result"]
    lines = [(int(value[0]), stream["stream"].get("host")) for stream in streams for value in stream["values"]]
    return TraceAnswer(sorted(lines, key=lambda pair: pair[0]))


def _nanoseconds(line):
    at = line.get("ts", line.get("timestamp"))
    return int(at) if str(at).isdigit() else at


def ask_trace(root, asker, way, trace, start_ns, end_ns):
    """(milliseconds, TraceAnswer or None, an error's text)."""
    if TRACE_WAYS[way] is None:
        seconds, status, body = root.ask(f"/api/v1/traces/{trace}", {"start": start_ns, "end": end_ns})
    else:
        seconds, status, body = asker.ask("/query_range", {
            "query": TRACE_WAYS[way] % trace, "start": start_ns, "end": end_ns, "limit": LIMIT, "direction": "forward"})
    if status != 200:
        return seconds * 1000, None, f"{status} {body[:160].decode(errors='replace')}"
    return seconds * 1000, trace_lines(way, body), None


def traces(url, ids, start_ns, end_ns, opened, ways=tuple(TRACE_WAYS)):
    """{way: (Outcome, {id: TraceAnswer})}; a way that the collector does not have is told by its error."""
    root, asker, found = Asker(url, 600), Asker(url + "/loki/api/v1", 600), {}
    for way in ways:
        outcome, answers, before = Outcome(), {}, opened()
        for trace in ids:
            took, answer, error = ask_trace(root, asker, way, trace, start_ns, end_ns)
            if error:
                outcome.error = error
                break
            outcome.times.append(took)
            answers[trace] = answer
        outcome.opened = grown(opened, before)
        found[way] = (outcome, answers)
    root.close()
    asker.close()
    return found
