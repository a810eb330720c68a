#!/usr/bin/env python3
"""Figures of the real programs beside their peers, measured in one run: bench.py --programs FOLDER [--only PART]

    scrape    an agent's /metrics beside node_exporter's
    ingest    log lines from a file to committed rows, beside PostgreSQL's COPY
    promql    queries over data that comes every second, beside a Prometheus that scrapes the same agent
    logs      reference lines pushed, sealed and asked for, beside plain tables of the same PostgreSQL; more with logs.py
    metrics   a fleet's history in each store: ingest, bytes on disk, memory, queries, hostile queries
    kernels   the codec's and the engine's inner parts; with --against beside an earlier build's

A ratio is Petrel's figure over the peer's: of times, memory and bytes less is better, of rates more. Nothing passes or
fails by time; the run fails where a part can't be measured, where answers differ from Prometheus', and where a hostile
query is neither answered nor refused. Peers that are not installed are named and left out (Debian: prometheus,
prometheus-node-exporter, victoria-metrics). Everything listens on loopback and is ended by its process id.
"""
import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "Faults"))
import agent_parts  # noqa: E402
from figures import Figures  # noqa: E402
from kernels import kernels  # noqa: E402
from processes import Run, say  # noqa: E402

PYTHON = "/usr/bin/python3"
HOURS = 24
ROUNDS = 10
MEMORY_MIB = 4096


def metrics(options, figures):
    # Only this part needs numpy.
    from metrics import metrics as part
    part(options, figures)


def logs(options, figures):
    import logs as part
    part.complete(options, options.log_lines)
    part.logs(options, figures)


PARTS = {"scrape": agent_parts.scrape, "ingest": agent_parts.ingest, "promql": agent_parts.promql, "logs": logs,
         "metrics": metrics, "kernels": kernels}


class Options(Run):
    """The arguments of this run."""

    def __init__(self, parsed, base):
        super().__init__(parsed.programs, base)
        self.peers = {"prometheus": parsed.prometheus, "prometheus-node-exporter": parsed.node_exporter,
                      "victoria-metrics": parsed.victoria_metrics}
        self.hours, self.rounds, self.memory_max = parsed.hours, parsed.rounds, parsed.memory_mib
        self.against = os.path.abspath(parsed.against) if parsed.against else None
        self.case_seconds, self.json = parsed.case_seconds, parsed.json
        self.log_lines = parsed.log_lines
        self.all_cases = parsed.only == ["kernels"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="the folder of the built programs")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part, not all; may be given again")
    parser.add_argument("--hours", type=int, default=HOURS, help=f"metrics: hours of history ({HOURS}; 168 for all figures)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"metrics: times that each query is asked ({ROUNDS})")
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB,
                        help=f"metrics: what a server may take; at most half of what is free ({MEMORY_MIB})")
    parser.add_argument("--log-lines", type=int, help="logs: so many lines (120,000)")
    parser.add_argument("--against", metavar="FOLDER", help="kernels: the programs of an earlier build")
    parser.add_argument("--case-seconds", type=float, default=0.3, help="kernels: how long each case is repeated (0.3)")
    parser.add_argument("--cpus", type=int, help="use so many CPUs, servers included (all)")
    parser.add_argument("--folder", help="where data is kept meanwhile, several GB for a week (where temporary files are)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON too; the cases of kernels to FILE.kernels")
    for peer in ("prometheus", "node-exporter", "victoria-metrics"):
        parser.add_argument(f"--{peer}", metavar="PROGRAM", help="where it is not in PATH")
    parsed = parser.parse_args()
    if parsed.cpus is not None and not 1 <= parsed.cpus <= len(os.sched_getaffinity(0)):
        parser.error(f"--cpus: 1 to {len(os.sched_getaffinity(0))}")
    if parsed.rounds < 1:
        parser.error("--rounds: at least 1")
    return parsed


def have_numpy():
    """Goes on under Debian's own Python where that has numpy and the one in PATH has not."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        has = os.path.exists(PYTHON) and not os.path.samefile(PYTHON, sys.executable) and subprocess.run(
            [PYTHON, "-c", "import numpy"], capture_output=True).returncode == 0
        if has:
            os.execv(PYTHON, [PYTHON, *sys.argv])


def main():
    parsed = arguments()
    parts = parsed.only or list(PARTS)
    if "metrics" in parts:
        have_numpy()
    if parsed.cpus:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:parsed.cpus])
    # An ended run ends what it started: see the parts' `with`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="petrel-bench-", dir=parsed.folder)
    os.chmod(base, 0o755)
    options, figures, started = Options(parsed, base), Figures(), time.monotonic()
    disk = subprocess.run(["stat", "-f", "-c", "%T", base], capture_output=True, text=True).stdout.strip()
    facts = {"cpus": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2), "disk": disk, "hours": parsed.hours}
    print(f"{facts['cpus']} CPUs, load {facts['load']} before; data in {base} ({disk})", flush=True)
    for name in parts:
        print(f"{name}:", flush=True)
        try:
            PARTS[name](options, figures)
        except Exception as error:  # one part's failure leaves the others their figures
            options.fail(f"{name}: {error!r} {getattr(error, 'stderr', '') or ''}")
    figures.print()
    seconds = round(time.monotonic() - started)
    print(f"\n{seconds} s; programs of {options.programs}; a ratio is Petrel's figure over the peer's")
    if parsed.json:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        figures.write(parsed.json, {"at": now, "seconds": seconds, **facts, "failures": options.failures})
    if options.failures:
        print("failed:\n  " + "\n  ".join(options.failures) + f"\nkept: {base}")
        sys.exit(1)
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
