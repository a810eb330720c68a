"""Numbered lines through the agent and through pushes, while collector and PostgreSQL are killed: each is there once.

Pushes that had no answer are sent again with the same bytes, as shippers do: what was committed before is not stored again.
"""
import os
import random
import signal
import threading
import time

import log_request
from harness import Fleet, Meter, pause, wait_until

FIRST = 100_000_000  # every number has as many digits, so that SQL finds it at a fixed place
LINE = '{"seq":%d,"via":"%s","level":"%s","trace_id":"%032x","msg":"the order was taken and moved on to the warehouse"}'
PUSH_LINES = 500
PUSHERS = 2
PER_SECOND_MAX = 6000  # of each way: so that there is time for kills
RECOVER_SECONDS = 90
SETTLE_SECONDS_MIN = 180
LEVELS = ("debug", "info", "warn", "error")


def text(n, via):
    return LINE % (FIRST + n, via, LEVELS[n % 4], n // 6)


class FileLines(threading.Thread):
    """Appends `count` lines to the file that the agent follows."""

    def __init__(self, path, count, per_second):
        super().__init__(daemon=True)
        self.path, self.count, self.per_second, self.sent = path, count, per_second, 0

    def run(self):
        start = time.monotonic()
        with open(self.path, "ab", buffering=0) as file:
            while self.sent < self.count:
                time.sleep(0.02)
                due = min(self.count, int((time.monotonic() - start) * self.per_second))
                if due > self.sent:
                    file.write("".join(text(n, "agent") + "\n" for n in range(self.sent, due)).encode())
                    self.sent = due


class PushedLines(threading.Thread):
    """Pushes every n-th block of lines, each until it is taken."""

    def __init__(self, url, count, per_second, place):
        super().__init__(daemon=True)
        self.push, self.count, self.place = log_request.Push(url), count, place
        self.pause = PUSH_LINES * PUSHERS / per_second
        self.failure = None

    def run(self):
        labels = {"service_name": "numbers", "host": "pushed", "sender": str(self.place)}
        try:
            next_at = time.monotonic()
            for first in range(self.place * PUSH_LINES, self.count, PUSH_LINES * PUSHERS):
                base = time.time_ns()
                self.push.insist([(labels, [(base + n, text(n, "push").encode())
                                            for n in range(first, min(self.count, first + PUSH_LINES))])])
                next_at = max(next_at + self.pause, time.monotonic() - 1)
                time.sleep(max(0, next_at - time.monotonic()))
        except Exception as error:  # shown by whoever waits for the thread
            self.failure = error


def kill_collector(fleet):
    fleet.collector.kill(signal.SIGKILL)
    pause(0.0, 0.5)
    fleet.collector.start()


def kill_postmaster(fleet):
    os.kill(fleet.postgres_pid(), signal.SIGKILL)


def kill_backend(fleet):
    """One process of a connection: PostgreSQL ends all others and recovers."""
    postmaster = fleet.postgres_pid()
    with open(f"/proc/{postmaster}/task/{postmaster}/children") as f:
        children = [int(pid) for pid in f.read().split()]
    mine = []
    for pid in children:
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                if " petrel " in f.read():
                    mine.append(pid)
        except OSError:
            continue
    assert mine, "no connection of the collector's to kill"
    os.kill(random.choice(mine), signal.SIGKILL)


def recover(fleet):
    wait_until("PostgreSQL back", RECOVER_SECONDS, lambda: fleet.sql("SELECT 1") == "1")
    wait_until("collector ready", RECOVER_SECONDS, lambda: fleet.get("/readyz") is not None)


def stored(fleet, via):
    selector = '{service_name="app"}' if via == "agent" else '{service_name="numbers"}'
    return log_request.number(fleet, f"sum(count_over_time({selector}[6h]))")


def judge(fleet, counts):
    """Every number of each way once, in the order of its time."""
    number = f"substr(line, 8, 9)::int - {FIRST}"
    bad = []
    for via, sent in counts.items():
        # In the order of time of a stream, then as they were stored.
        row = fleet.sql(
            "SELECT count(*), count(DISTINCT n), coalesce(min(n), -1), coalesce(max(n), -1), count(*) FILTER (WHERE n <= before)"
            f" FROM (SELECT n, lag(n) OVER (PARTITION BY stream_id ORDER BY at_ns, id, ordinal) AS before FROM ("
            f"SELECT {number} AS n, at_ns, stream_id, id, ordinal FROM petrel.log WHERE line LIKE '{{\"seq\":%,\"via\":\"{via}\"%') x) y")
        count, distinct, low, high, disorder = map(int, row.split("|"))
        told = int(stored(fleet, via))
        print(f"  {via}: sent {sent}  stored {count}  lost {sent - distinct}  duplicated {count - distinct}"
              f"  out_of_order {disorder}  by LogQL {told}", flush=True)
        if (count, distinct, low, high, told) != (sent, sent, 0, sent - 1, sent) or disorder:
            bad.append(via)
    gap = int(fleet.sql("SELECT coalesce(sum(record_count), 0) FROM petrel.gap WHERE kind = 2"))
    assert not bad and gap == 0, f"wrong: {bad}, gap {gap}"


def run(options, count):
    half = count // 2
    rate = min(PER_SECOND_MAX, max(500, half // 10))
    kills = {kill_collector: 0, kill_postmaster: 0, kill_backend: 0}
    with Fleet(options.programs).up() as fleet:
        agent = FileLines(fleet.lines, half, rate)
        pushers = [PushedLines(fleet.url, half, rate, place) for place in range(PUSHERS)]
        for thread in (agent, *pushers):
            thread.start()
        wait_until("first lines stored", 60, lambda: stored(fleet, "agent") and stored(fleet, "push"))
        started = time.monotonic()
        while any(thread.is_alive() for thread in (agent, *pushers)) or not all(kills.values()):
            pause(0.3, 2.5)
            kill = min(kills, key=kills.get)  # each in turn
            kill(fleet)
            kills[kill] += 1
            recover(fleet)
        failed = [thread.failure for thread in pushers if thread.failure]
        if failed:
            raise failed[0]
        print(f"  {time.monotonic() - started:.0f} s, killed: "
              + ", ".join(f"{kill.__name__[5:]} {n}" for kill, n in kills.items())
              + f"; pushes sent again {sum(p.push.retries for p in pushers)}", flush=True)
        assert any(p.push.retries for p in pushers), "no push was sent again: nothing was tested"
        seconds = SETTLE_SECONDS_MIN + count / 5000
        for via in ("agent", "push"):
            try:
                wait_until(f"all lines of {via} stored", seconds, lambda v=via: stored(fleet, v) >= half, 1)
            except AssertionError as error:
                print(f"  {error}", flush=True)
        print(f"  resident, collector {Meter.rss_mib(fleet.collector.process.pid):.0f} MiB", flush=True)
        judge(fleet, {"agent": half, "push": half})
