"""What stands in collector.yaml, by check-config and by a collector that runs with it."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import write_request
from harness import Fleet

FEATURES = ("promql-experimental-functions", "promql-extended-range-selectors",
            "promql-binop-fill-modifiers", "use-start-timestamps")
ORIGIN = "https://grafana.example"
SERIES_MAX = 1000
RULES = """groups:
  - name: few
    rules:
      - {record: "up:few", expr: "limitk(1, up)"}
"""
YAML = f"""query: {{features: [promql-experimental-functions]}}
limits: {{query_series: {SERIES_MAX}}}
http: {{allowed_origins: ["HTTPS://Grafana.Example:443"]}}
"""
# One key a line, so that the line of an error says which it is of.
WRONG = [
    ("query:\n  features: [promql-experimental-functions, promql-everything]\n", 2,
     (*FEATURES, "`promql-everything`")),
    ("query:\n  features: promql-experimental-functions\n", 2, ("`features`: expected a list",)),
    ("limits:\n  query_series: 999\n", 2, ("`query_series`",)),
    ("limits:\n  query_series: 10000001\n", 2, ("`query_series`",)),
    ("http:\n  allowed_origins: [https://a.example, '*']\n", 2, ("`allowed_origins`", "`*`", "https://HOST")),
    ("http:\n  allowed_origins: ['https://a.example/']\n", 2, ("`allowed_origins`", "no path")),
]


def check(fleet, text):
    """check-config of `text` and the fleet's rules and routes: exit status, what it says, the file."""
    path = os.path.join(fleet.folder, "checked.yaml")
    with open(path, "w") as f:
        f.write(text + f"rules: {{files: [{fleet.folder}/rules.yaml]}}\n"
                       f"alerting: {{file: {fleet.folder}/alerting.yaml}}\n")
    answer = subprocess.run([fleet.program("petrel-collector"), "check-config", "--config", path],
                            capture_output=True, text=True, timeout=60)
    return answer.returncode, answer.stdout + answer.stderr, path


def refusal(fleet, expression):
    try:
        fleet.query(expression)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    raise AssertionError(f"{expression} was answered")


def files(fleet):
    for text, line, parts in WRONG:
        status, said, path = check(fleet, text)
        assert status != 0, f"taken:\n{text}"
        for part in (f"{path}:{line}:", *parts):
            assert part in said, f"no {part} in: {said}"
    status, said, _ = check(fleet, "")
    assert status != 0 and f"{fleet.folder}/rules.yaml:4:" in said, said
    assert "limitk() is experimental" in said and "among query.features" in said, said
    status, said, _ = check(fleet, YAML)
    assert status == 0 and said.startswith("ok: "), said
    print(f"  check-config: {len(WRONG) + 1} wrong files named with their lines, the right one taken")


def running(fleet):
    fleet.collector.start()
    fleet.wait_ready()
    flags = json.loads(fleet.get("/prometheus/api/v1/status/flags"))["data"]
    assert flags["enable-feature"] == "promql-experimental-functions", flags
    now = int(time.time() * 1000)
    series = [({"__name__": "many", "n": str(n)}, [(now, float(n))]) for n in range(SERIES_MAX + 1)]
    write_request.send(f"{fleet.url}/prometheus", series)
    assert len(fleet.query("limitk(3, many{n=~'1..'})")) == 3
    code, answer = refusal(fleet, "m smoothed")
    assert code == 400 and "promql-extended-range-selectors" in answer["error"], answer
    code, answer = refusal(fleet, "count(many)")
    assert code == 422 and answer["errorType"] == "execution", answer
    assert f"limits.query_series is {SERIES_MAX}" in answer["error"], answer
    assert fleet.query(f"count(many{{n!='{SERIES_MAX}'}})")[0]["value"][1] == str(SERIES_MAX)
    for page, allowed in ((ORIGIN, ORIGIN), ("https://other.example", None)):
        request = urllib.request.Request(f"{fleet.url}/prometheus/api/v1/labels", headers={"Origin": page})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == allowed, dict(answer.headers)
    print("  the collector runs with what it says: features, series of a query, origins")


def run(options):
    with Fleet(options.programs, collector_yaml=YAML, rules_yaml=RULES) as fleet:
        files(fleet)
        running(fleet)
