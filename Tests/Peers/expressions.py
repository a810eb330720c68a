#!/usr/bin/env python3
"""Runs every PromQL expression of Grafana dashboards and rule files: expressions.py --url URL PATH…

PATH is a dashboard (JSON), a rule file (YAML) or a folder of them. Variables of a dashboard are filled in as Grafana does:
from its `label_values(…)`, its options, or `.+`. Each expression is asked for as an instant and as a range query; what is
refused, or fails, is printed. With --peer, a Prometheus that holds the same data, answers are compared too.
With --load, samples are made for whatever the expressions select, and sent to both by remote write first.
Ends with `N passed, M failed`, where N and M count expressions. Rule files need PyYAML.
"""
import argparse
import json
import math
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import made_series  # noqa: E402

# Grafana's own variables, for a panel of an hour in steps of a minute.
BUILT_IN = {"__interval": "1m", "__interval_ms": "60000", "__rate_interval": "5m", "__range": "1h", "__range_s": "3600",
            "__range_ms": "3600000", "__from": "0", "__to": "0", "__dashboard": "d"}
TOLERANCE = 1e-6


class Server:
    def __init__(self, url):
        self.base = url.rstrip("/") + "/api/v1"

    def get(self, path, **parameters):
        """(data, error): one of them is None."""
        body = urllib.parse.urlencode(parameters, doseq=True).encode()
        posts = path in ("/query", "/query_range")
        request = urllib.request.Request(
            self.base + path + ("" if posts else "?" + body.decode()), body if posts else None)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["data"], None
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError):
                pass
            return None, f"{error.code}: {text}"


class Variables:
    """The variables of one dashboard, each with a value."""

    def __init__(self, dashboard, server, span):
        """Without a server, what a query would find is `x`: there is nothing yet."""
        self.values, self.server, self.span = dict(BUILT_IN), server, span
        for variable in dashboard.get("templating", {}).get("list", []):
            self.values[variable["name"]] = self.value(variable)

    def value(self, variable):
        kind = variable.get("type")
        if self.server is None and kind == "query":
            return "x"
        query = variable.get("query")
        if isinstance(query, dict):
            query = query.get("query", "")
        if kind == "query" and variable.get("includeAll") and variable.get("allValue"):
            return variable["allValue"]
        if kind == "query":
            found = re.fullmatch(r"\s*label_values\(\s*(?:(.+?)\s*,\s*)?([\w.]+)\s*\)\s*", query or "", re.S)
            if found:
                parameters = {"start": self.span[0], "end": self.span[1]}
                if found[1]:
                    parameters["match[]"] = self.fill(found[1])
                data, _ = self.server.get(f"/label/{found[2]}/values", **parameters)
                if data:
                    return data[0]
            return ".+"
        if kind == "interval":
            return next((x for x in (query or "").split(",") if re.fullmatch(r"\d+[smhd]", x)), "5m")
        current = variable.get("current", {}).get("value")
        if isinstance(current, list):
            current = "|".join(current)
        if current and "$__" not in current:
            return current
        return (query or ".+").split(",")[0] if kind in ("custom", "constant", "textbox") else ".+"

    def fill(self, text):
        def one(found):
            name = next(x for x in found.groups() if x)
            return self.values.get(name, found[0])
        before = None
        while before != text:  # a value may hold another variable
            before, text = text, re.sub(r"\$\{(\w+)(?::\w+)?\}|\[\[(\w+)(?::\w+)?\]\]|\$(\w+)", one, text)
        return text


def expressions_of_dashboard(path, server, span):
    with open(path) as f:
        dashboard = json.load(f)
    dashboard = dashboard.get("dashboard", dashboard)
    variables = Variables(dashboard, server, span)

    def panels(items):
        for panel in items:
            yield panel
            yield from panels(panel.get("panels", []))
    for row in dashboard.get("rows", []):
        dashboard.setdefault("panels", []).extend(row.get("panels", []))
    for panel in panels(dashboard.get("panels", [])):
        for target in panel.get("targets", []):
            if target.get("expr"):
                yield f"panel {panel.get('title', '?')!r}", variables.fill(target["expr"])
    for variable in dashboard.get("templating", {}).get("list", []):
        query = variable.get("query")
        query = query.get("query", "") if isinstance(query, dict) else query or ""
        found = re.fullmatch(r"\s*query_result\((.+)\)\s*", query, re.S)
        if found:
            yield f"variable {variable['name']}", variables.fill(found[1])
    for note in dashboard.get("annotations", {}).get("list", []):
        if note.get("expr"):
            yield f"annotation {note.get('name', '?')!r}", variables.fill(note["expr"])


def expressions_of_rules(path):
    import yaml
    with open(path) as f:
        for group in (yaml.safe_load(f) or {}).get("groups", []):
            for rule in group.get("rules", []):
                yield f"rule {rule.get('alert') or rule.get('record')}", rule["expr"]


def series(data):
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return {(): [tuple(result)]}
    return {tuple(sorted(one["metric"].items())): [tuple(x) for x in one.get("values", [one.get("value")])]
            for one in result}


def difference(ours, theirs):
    """What differs, or None. Prometheus 2 keeps samples at the left edge of a window: ask between scrapes."""
    a, b = series(ours), series(theirs)
    if a.keys() != b.keys():
        return f"{len(a.keys() - b.keys())} label sets only here, {len(b.keys() - a.keys())} only there"
    for key, values in a.items():
        if [t for t, _ in values] != [t for t, _ in b[key]]:
            return f"other times for {dict(key)}"
        for (t, x), (_, y) in zip(values, b[key]):
            x, y = float(x), float(y)
            if x != y and not (math.isnan(x) and math.isnan(y)) and not abs(x - y) <= TOLERANCE * max(abs(x), abs(y)):
                return f"{x} here, {y} there at {t} for {dict(key)}"
    return None


def told_by_version(expression, version):
    """Prometheus 2 has both edges in a window: a subquery whose steps meet its edge has a point more there."""
    return version.startswith("2.") and re.search(r"\[[^]]+:[^]]*\]", expression)


def files(paths):
    for path in paths:
        names = [os.path.join(path, n) for n in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        yield from (n for n in names if n.endswith((".json", ".yml", ".yaml")))


def load(options, server, span):
    """Makes series for all that is asked for."""
    asked = []
    for path in files(options.paths):
        found = (expressions_of_dashboard(path, None, span)
                 if path.endswith(".json") else expressions_of_rules(path))
        for _, expression in found:
            data, error = server.get("/parse_query", query=expression)
            assert data, f"{expression}: {error}"
            selected, labels = made_series.selectors(data)
            asked += [(matchers, labels) for matchers in selected]
    series = made_series.made(asked, int(options.at * 1000) + 60_000)
    for base in filter(None, (options.url, options.peer)):
        made_series.send(base, series)
    print(f"{len(series)} series, {sum(len(s) for _, s in series)} samples sent", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the API's base, as http://127.0.0.1:9600/prometheus")
    parser.add_argument("--peer", help="the base of a Prometheus that holds the same samples")
    parser.add_argument("--at", type=float, default=time.time(), help="unix seconds of the queries")
    parser.add_argument("--load", action="store_true", help="make samples first, and send them")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    options = parser.parse_args()
    server, peer = Server(options.url), Server(options.peer) if options.peer else None
    start = options.at - 3600
    if options.load:
        load(options, server, (start, options.at))
    version = peer.get("/status/buildinfo")[0]["version"] if peer else ""
    passed = failed = empty = 0
    for path in files(options.paths):
        found = (expressions_of_dashboard(path, None if options.load else server, (start, options.at))
                 if path.endswith(".json") else expressions_of_rules(path))
        count = good = filled = 0
        for place, expression in found:
            problems, answered = [], False
            for endpoint, parameters in (("/query", {"time": options.at}),
                                         ("/query_range", {"start": start, "end": options.at, "step": 60})):
                data, error = server.get(endpoint, query=expression, **parameters)
                if error:
                    problems.append(f"{endpoint}: {error}")
                    continue
                answered = answered or bool(data["result"])
                if peer:
                    theirs, error = peer.get(endpoint, query=expression, **parameters)
                    told = f"the peer refuses: {error}" if error else difference(data, theirs)
                    if told and not error and told_by_version(expression, version):
                        print(f"known: Prometheus {version} has another edge: {' '.join(expression.split())}")
                    elif told:
                        problems.append(f"{endpoint}: {told}")
            count += 1
            good += not problems
            filled += answered
            for problem in problems:
                print(f"FAIL {os.path.basename(path)}, {place}: {problem}\n     {' '.join(expression.split())}")
        print(f"{os.path.basename(path)}: {good} of {count}, {filled} of them with an answer", flush=True)
        passed, failed, empty = passed + good, failed + count - good, empty + count - filled
    print(f"{empty} answers were empty\n{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
