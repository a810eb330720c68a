"""Samples for whatever PromQL expressions select, sent by Prometheus remote write (version 1.0)."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Faults"))
from write_request import send  # noqa: E402,F401

STEP_MS = 15_000
HOURS = 4
PLACES = 3
BOUNDS = ("0.005", "0.1", "0.5", "1", "5", "+Inf")


def selectors(node):
    """Every vector selector below a node of /api/v1/parse_query, and the labels that are grouped or joined by."""
    found, labels = [], set()

    def walk(item):
        if isinstance(item, list):
            for one in item:
                walk(one)
        elif isinstance(item, dict):
            if item.get("type") in ("vectorSelector", "matrixSelector") and item.get("matchers") is not None:
                found.append(item["matchers"])
            labels.update(item.get("grouping") or [])
            matching = item.get("matching") or {}
            labels.update((matching.get("labels") or []) + (matching.get("include") or []))
            for value in item.values():
                walk(value)
    walk(node)
    return found, labels


def example(pattern):
    """A text that a simple regular expression matches; its first alternative."""
    text = pattern.strip("^$")
    while re.search(r"\(([^()]*)\)\??", text):
        text = re.sub(r"\((?:\?:)?([^()]*)\)\??", lambda m: m[1].split("|")[0], text, count=1)
    text = text.split("|")[0]
    text = re.sub(r"\[\^?([^\]])[^\]]*\][+*?]?", r"\1", text)
    text = re.sub(r"\.[*+]\??", "x", text)
    return text.replace("\\", "") or "x"


def metric(matchers):
    """The metric name that the matchers ask for; None where they take any."""
    found = [m for m in matchers if m["name"] == "__name__" and m["type"] in ("=", "=~")]
    return (found[0]["value"] if found[0]["type"] == "=" else example(found[0]["value"])) if found else None


def sets_for(matchers, names):
    """Label sets that the matchers take, one a place: all labels that they leave open differ between places."""
    for place in range(PLACES):
        labels = {name: f"{name}{place}" for name in names}
        for one in matchers:
            name, kind, value = one["name"], one["type"], one["value"]
            if kind in ("=", "=~"):
                labels[name] = value if kind == "=" else example(value)
        labels = {k: v for k, v in labels.items() if v}
        is_bucket = labels["__name__"].endswith("_bucket") and not any(m["name"] == "le" for m in matchers)
        for bound in BOUNDS if is_bucket else (None,):
            yield dict(labels, le=bound) if bound else labels


def made(asked, end_ms):
    """The series for [(matchers, labels in use)]: some places each, counters that count, and buckets."""
    names = {}
    for matchers, common in asked:
        used = names.setdefault(metric(matchers), {"instance", "job"})
        used.update(n for n in common | {m["name"] for m in matchers} if not n.startswith("__") and n != "le")
    sets = {}
    for matchers, _ in asked:
        if metric(matchers):
            for labels in sets_for(matchers, names[metric(matchers)]):
                sets[tuple(sorted(labels.items()))] = labels
    # Off the grid of seconds, so that no window of a query begins or ends on a sample.
    start = (end_ms - HOURS * 3_600_000) // STEP_MS * STEP_MS + 7_311
    return [(labels, samples(labels, number, range(start, end_ms, STEP_MS)))
            for number, labels in enumerate(sets.values())]


def samples(labels, number, times):
    counts = labels["__name__"].endswith(("_total", "_count", "_sum", "_bucket"))
    rank = BOUNDS.index(labels["le"]) + 1 if labels.get("le") in BOUNDS else 1
    result, value, state = [], 0.0, number * 2_654_435_761 & 0x7FFFFFFF | 1
    for t in times:
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        if counts:
            value = 0.0 if state % 401 == 0 and rank == 1 else value + rank * (state // 7 % 50)
        else:
            value = (state // 7 % 1_000) / 8 if number % 3 else float(state // 7 % 2)
        result.append((t, value))
    return result
