#!/usr/bin/env python3
"""Clients that others wrote push logs to a collector; every line is found again with its labels and fields.

    log_clients.py --programs FOLDER [--venv FOLDER]

python-logging-loki (Loki's push API) and opentelemetry-exporter-otlp (OTLP over HTTP, protobuf, with and without gzip)
from PyPI, installed into a virtual environment, /var/tmp/petrel-log-clients where nothing else is said.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Faults"))
import harness  # noqa: E402

PACKAGES = ("python-logging-loki", "opentelemetry-exporter-otlp", "opentelemetry-sdk")
VENV = "/var/tmp/petrel-log-clients"
LINES = 300
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SETTLE_SECONDS = 60

LOKI_CLIENT = r"""
import logging, sys
import logging_loki
url, lines = sys.argv[1], int(sys.argv[2])
failed = []
logging_loki.LokiHandler.handleError = lambda self, record: failed.append(repr(sys.exc_info()[1]))
handler = logging_loki.LokiHandler(url=url + "/loki/api/v1/push", tags={"application": "shop", "env": "test"}, version="1")
logger = logging.getLogger("shop.orders")
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
for n in range(lines):
    logger.log(levels[n % 5], "loki line %d: \u00fc \"quoted\" \t\u202e end", n, extra={"tags": {"shop_part": "p%d" % (n % 3)}})
logger.error("loki several\nlines\n\n  of text")
print(len(failed), *failed[:1])
"""

OTLP_CLIENT = r"""
import logging, sys
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
url, lines, trace, span, packed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 16), int(sys.argv[4], 16), sys.argv[5]
class Answers(OTLPLogExporter):
    seen = []
    def export(self, batch):
        result = super().export(batch)
        self.seen.append(result.name)
        return result
provider = LoggerProvider(resource=Resource.create({
    "service.name": "checkout", "service.namespace": "shop", "deployment.environment": "test", "host.name": "h9",
    "telemetry.variant": packed}))
provider.add_log_record_processor(BatchLogRecordProcessor(Answers(
    endpoint=url + "/otlp/v1/logs", compression=Compression.Gzip if packed == "gzip" else Compression.NoCompression)))
logger = logging.getLogger("checkout.cart")
logger.setLevel(logging.DEBUG)
logger.addHandler(LoggingHandler(level=logging.DEBUG, logger_provider=provider))
logger.propagate = False
levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
context = SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(1))
for n in range(lines):
    with use_span(NonRecordingSpan(context)):
        logger.log(levels[n % 5], "otlp line %d \u00fc", n, extra={"cart_id": n, "http.status": 200, "ok": True, "ratio": 0.5})
provider.shutdown()
print(sum(x != "SUCCESS" for x in Answers.seen), len(Answers.seen))
"""


def venv(folder):
    """The virtual environment's Python, with the packages."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    check = subprocess.run([python, "-c", "import logging_loki, opentelemetry.exporter.otlp.proto.http"], capture_output=True)
    if check.returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    print("  " + " ".join(line for line in listed.split() if line.split("==")[0] in PACKAGES), flush=True)
    return python


def client(python, program, *arguments):
    done = subprocess.run([python, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=180)
    print(f"  client: {done.stdout.strip()} {done.stderr.strip()[-400:]}", flush=True)
    assert done.returncode == 0 and done.stdout.split()[0] == "0", "the client met errors"


def entries(fleet, query):
    """[(labels, line, metadata)] oldest first."""
    parameters = urllib.parse.urlencode({"query": query, "limit": 5000, "direction": "forward", "since": "1h"})
    request = urllib.request.Request(f"{fleet.url}/loki/api/v1/query_range?{parameters}",
                                     headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        result = json.load(answer)["data"]["result"]
    found = [(int(value[0]), stream["stream"], value[1], (value[2] if len(value) > 2 else {}).get("structuredMetadata", {}))
             for stream in result for value in stream["values"]]
    return [entry[1:] for entry in sorted(found, key=lambda entry: entry[0])]


def expect(what, got, wanted):
    assert got == wanted, f"{what}: {str(got)[:300]}, and not {str(wanted)[:300]}"


def loki(fleet, python):
    client(python, LOKI_CLIENT, fleet.url, LINES)
    query = '{application="shop"}'
    harness.wait_until("lines of python-logging-loki", SETTLE_SECONDS, lambda: len(entries(fleet, query)) >= LINES + 1)
    found = entries(fleet, query)
    expect("count", len(found), LINES + 1)
    expect("lines", sorted(line for _, line, _ in found if line.startswith("loki line")),
           sorted(f'loki line {n}: \u00fc "quoted" \t\u202e end' for n in range(LINES)))
    expect("several lines in one", [line for _, line, _ in found if "several" in line], ["loki several\nlines\n\n  of text"])
    levels = ("debug", "info", "warning", "error", "critical")
    for labels, line, metadata in found:
        expect("env", labels["env"], "test")
        expect("logger", labels["logger"], "shop.orders")
        expect("service_name", labels["service_name"], "shop")
        if line.startswith("loki line"):
            n = int(line.split(":")[0].split()[-1])
            expect("severity", labels["severity"], levels[n % 5])
            expect("part", labels["shop_part"], f"p{n % 3}")
            expect("detected_level", metadata.get("detected_level"), "warn" if n % 5 == 2 else levels[n % 5])
    print(f"  python-logging-loki: {len(found)} lines, labels and levels are right", flush=True)


def otlp(fleet, python, packed):
    client(python, OTLP_CLIENT, fleet.url, LINES, TRACE, SPAN, packed)
    query = f'{{service_name="checkout"}} | telemetry_variant="{packed}"'
    harness.wait_until(f"lines of OTLP, {packed}", SETTLE_SECONDS, lambda: len(entries(fleet, query)) >= LINES)
    found = entries(fleet, query)
    expect("lines", [line for _, line, _ in found], [f"otlp line {n} \u00fc" for n in range(LINES)])
    levels = ("debug", "info", "warn", "error", "fatal")
    for n, (labels, _, metadata) in enumerate(found):
        for name, value in (("service_name", "checkout"), ("service_namespace", "shop"), ("deployment_environment", "test")):
            expect(name, labels.get(name), value)
        for name, value in (("trace_id", TRACE), ("span_id", SPAN), ("cart_id", str(n)), ("http_status", "200"), ("ok", "true"),
                            ("ratio", "0.5"), ("host_name", "h9"), ("scope_name", "checkout.cart")):
            expect(f"{name} of line {n}", metadata.get(name), value)
        # Python's CRITICAL is FATAL in OpenTelemetry.
        assert metadata.get("detected_level") in (levels[n % 5], "critical" if n % 5 == 4 else None), (n, metadata)
        assert metadata.get("severity_text"), metadata
    print(f"  OTLP, {packed}: {len(found)} lines in order; labels, fields, trace and levels are right", flush=True)


def trace(fleet):
    """The trace view finds what OTLP sent."""
    told = json.loads(fleet.get(f"/api/v1/traces/{TRACE}"))
    count = len(told.get("data", told)["lines"])
    expect("lines of the trace", count, 2 * LINES)
    print(f"  /api/v1/traces: {count} lines", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--venv", default=VENV)
    options = parser.parse_args()
    python, failed = venv(options.venv), []
    with harness.Fleet(options.programs) as fleet:
        fleet.collector.start()
        fleet.wait_ready()
        for name, part in (("loki", lambda: loki(fleet, python)), ("otlp", lambda: otlp(fleet, python, "plain")),
                           ("otlp gzip", lambda: otlp(fleet, python, "gzip")), ("trace", lambda: trace(fleet))):
            started = time.monotonic()
            try:
                part()
            except Exception as error:  # the others are told as well
                failed.append(name)
                print(f"  FAILED {name}: {error}", flush=True)
            print(f"  {name} {time.monotonic() - started:.1f} s", flush=True)
    print(f"Log clients: {4 - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
