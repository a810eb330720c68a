"""100,000 numbered lines a second through one file that rotates: what falls behind is late, and nothing is lost.

Beside it a quiet file gets a line a second, which the flood must not starve, and the agent's scrapes must stay on their
grid. The agent's memory must not follow the flood. Afterwards every line is stored once.
"""
import os
import threading
import time

from harness import Fleet, Meter, wait_until

PER_SECOND = 100_000
LINE = '{"level":"info","seq":%d,"msg":"the order was taken and moved on to the warehouse, one of many","took_ms":12}\n'
FIRST = 100_000_000  # every number has as many digits, so that SQL finds it at a fixed place
AT = LINE.index("%d") + 1
# Far below what slows the agent down (MemoryHigh of petrel-agent.service).
RSS_MAX_MIB = 60
# What the agent may keep once all is stored, and how soon it gives the rest back.
SETTLED_RSS_MAX_MIB, SETTLED_SECONDS = 40, 20
SETTLED_SHARE = 0.85
# How late a line of the quiet file may be read, and be stored behind what waits in the spool.
QUIET_READ_SECONDS, QUIET_STORED_SECONDS = 5, 60
CATCH_UP_PER_SECOND = 8_000  # slower than this on an idle machine is a fault of its own


class Flood(threading.Thread):
    """Writes at a steady rate for `seconds`, a batch every ten milliseconds; renames the file each `rotate_bytes`."""

    def __init__(self, path, seconds, rotate_bytes):
        super().__init__(daemon=True)
        self.path, self.seconds, self.rotate_bytes = path, seconds, rotate_bytes
        self.sent = self.rotations = 0
        self.took = 0.0
        self.failure = None

    def run(self):
        try:
            self.write()
        except Exception as error:  # shown by whoever waits for the thread
            self.failure = error

    def write(self):
        count = self.seconds * PER_SECOND
        file, written = open(self.path, "ab", buffering=0), 0
        start = time.monotonic()
        while self.sent < count:
            time.sleep(0.01)
            due = min(count, int((time.monotonic() - start) * PER_SECOND))
            while self.sent < due:
                end = min(due, self.sent + 1000)
                lines = LINE * (end - self.sent) % tuple(range(FIRST + self.sent, FIRST + end))
                written += file.write(lines.encode())
                self.sent = end
            if written >= self.rotate_bytes:
                file.close()
                for n in range(self.rotations, 0, -1):
                    os.rename(f"{self.path}.{n}", f"{self.path}.{n + 1}")
                os.rename(self.path, f"{self.path}.1")
                self.rotations += 1
                file, written = open(self.path, "ab", buffering=0), 0
        file.close()
        self.took = time.monotonic() - start


class Quiet(threading.Thread):
    """A line a second with its number and the time it was written."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.sent, self.ending = path, 0, threading.Event()

    def run(self):
        with open(self.path, "ab", buffering=0) as file:
            while not self.ending.wait(1):
                file.write(b'{"quiet":%d,"ns":%d}\n' % (self.sent, time.time_ns()))
                self.sent += 1

    def finish(self):
        self.ending.set()
        self.join()


def grid(fleet, interval, begin, end):
    """Checks that each scrape from `begin` to `end` (seconds) is there; prints how late the latest was read."""
    window = f"[{int(time.time() - begin) + 5}s]"
    times = {round(t) for t, _ in fleet.query(f"node_load1{window}")[0]["values"]}
    wanted = set(range(int(begin) // interval * interval + interval, int(end), interval))
    late = max(float(v) - t for t, v in fleet.query(f"node_time_seconds{window}")[0]["values"] if begin <= t <= end)
    missing = sorted(wanted - times)
    print(f"  scrapes {len(wanted)}  missing {len(missing)}  latest read {late:.2f} s after its time", flush=True)
    assert not missing, f"no scrape at {missing[:10]}"
    assert late <= interval, f"a scrape was read {late:.2f} s late"


def stored_lines(fleet):
    return int(fleet.sql("SELECT coalesce(sum(stored_records), 0) FROM petrel.agent_cursor WHERE kind = 2"))


def quiet_lines(fleet, quiet):
    """How long after they were written the lines of the quiet file were read, and stored."""
    rows = fleet.sql(
        # So few lines wait to be sealed, and tell when they came.
        "SELECT (said->>'quiet')::int, ts - (said->>'ns')::bigint, received_ns - (said->>'ns')::bigint FROM"
        " (SELECT l.line::json AS said, l.at_ns AS ts, b.received_ns FROM petrel.log_batch b CROSS JOIN LATERAL"
        " petrel.log_lines(b.ts, b.levels, b.level_names, b.lines, b.meta) l"
        " WHERE b.stream_id IN (SELECT id FROM petrel.log_stream WHERE labels->>'service_name' = 'quiet')) x ORDER BY 1").splitlines()
    numbers, read, stored = zip(*(map(int, row.split("|")) for row in rows))
    print(f"  quiet lines {len(numbers)}  read at most {max(read) / 1e9:.2f} s late, stored {max(stored) / 1e9:.1f} s",
          flush=True)
    assert numbers == tuple(range(quiet.sent)), "quiet lines are missing or came twice"
    assert max(read) / 1e9 <= QUIET_READ_SECONDS, "the quiet file was not read"
    assert max(stored) / 1e9 <= QUIET_STORED_SECONDS, "the quiet file's lines waited behind the flood"


def run(options, seconds):
    interval = 2 if seconds < 20 else 5  # between scrapes
    with Fleet(options.programs) as fleet:
        flood_path, quiet_path = (os.path.join(fleet.folder, f"{name}.log") for name in ("flood", "quiet"))
        fleet._write("agent.yaml", f"""
metrics: {{interval: {interval}s}}
logs:
  journal: {{enabled: false}}
  files:
    - {{path: {flood_path}, service: flood}}
    - {{path: {quiet_path}, service: quiet}}
""")
        for path in (flood_path, quiet_path):
            open(path, "ab").close()
        fleet.up()
        wait_until("first scrape stored", 60, lambda: fleet.query("node_load1"))
        total = seconds * PER_SECOND
        flood = Flood(flood_path, seconds, max(8 << 20, total * len(LINE) // 6))
        quiet, meter = Quiet(quiet_path), Meter(fleet)
        begin = time.time()
        for thread in (meter, quiet, flood):
            thread.start()
        flood.join()
        if flood.failure:
            raise flood.failure
        during = stored_lines(fleet)
        print(f"  {flood.sent} lines in {flood.took:.1f} s, {flood.rotations} rotations;"
              f" {during / flood.took:.0f} lines/s stored meanwhile", flush=True)
        wait_until("all lines stored", 30 + total / CATCH_UP_PER_SECOND, lambda: stored_lines(fleet) >= flood.sent, 0.5)
        end = time.time()
        quiet.finish()
        meter.finish()
        settle(fleet, flood, quiet)
        print(f"  all stored after {end - begin:.1f} s: {flood.sent / (end - begin):.0f} lines/s end to end",
              flush=True)
        meter.report(flood.sent)
        grid(fleet, interval, begin, end)
        assert meter.peak["agent"] <= RSS_MAX_MIB, f"the agent took {meter.peak['agent']:.0f} MiB"
        quiet_lines(fleet, quiet)
        # Of its own peak a part must go: the bound alone it may hold without giving anything back.
        settled = min(SETTLED_RSS_MAX_MIB, SETTLED_SHARE * meter.peak["agent"])
        wait_until(f"the agent at most {settled:.0f} MiB", SETTLED_SECONDS,
                   lambda: Meter.rss_mib(fleet.agent.process.pid) <= settled, 0.5)
        print(f"  agent settled at {Meter.rss_mib(fleet.agent.process.pid):.0f} MiB", flush=True)


def settle(fleet, flood, quiet):
    """Every line once, in its order; no gap."""
    # The lines alone: the view's decoding of millions of them takes minutes.
    rows = " UNION ALL ".join(
        f"SELECT id, ts, lines FROM petrel.{table} WHERE stream_id IN"
        " (SELECT id FROM petrel.log_stream WHERE labels->>'service_name' = 'flood')" for table in ("log_batch", "log_block"))
    ours = (f"SELECT substring(u.line FROM {AT} FOR 9)::int - {FIRST} AS n, u.at, b.id, u.place FROM ({rows}) b"
            " CROSS JOIN LATERAL unnest(b.ts, petrel.log_shown(b.lines)) WITH ORDINALITY AS u (at, line, place)")
    wait_until("the last lines stored", 60, lambda: stored_lines(fleet) >= flood.sent + quiet.sent, 0.5)
    row = fleet.sql(
        "SELECT count(*), count(DISTINCT n), min(n), max(n), count(*) FILTER (WHERE n <> before + 1)"
        f" FROM (SELECT n, lag(n) OVER (ORDER BY at, id, place) AS before FROM ({ours}) x) y")
    gap = int(fleet.sql("SELECT coalesce(sum(record_count), 0) FROM petrel.gap"))
    stored, distinct, low, high, disorder = map(int, row.split("|"))
    print(f"  sent {flood.sent}  stored {stored}  lost {flood.sent - distinct}  duplicated {stored - distinct}"
          f"  out_of_order {disorder}  gap {gap}", flush=True)
    assert (stored, distinct, low, high, disorder, gap) == (flood.sent, flood.sent, 0, flood.sent - 1, 0, 0)
