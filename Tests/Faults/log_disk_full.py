"""No space left under PostgreSQL: agents back off and spool, queries go on, retention frees space, and nothing is lost.

PostgreSQL's files are on a small tmpfs, which a file beside them fills. Needs the right to mount.
"""
import base64
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time

import log_request
from harness import Fleet, Writer, account, expect_exact, wait_until

DISK_MIB = 1100
# Old days of random texts, so that the least size that retention takes has something to drop.
OLD_DAYS, OLD_LINES, OLD_LINE_BYTES = (4, 3, 2), 60, 200_000
OLD_ROUNDS = 4
KEEP_MIB = 64
PER_SECOND = 300
QUERY_SHARE_MIN = 0.9
RETENTION_SECONDS = 240
START_SECONDS, GIVEN_MIB = 45, 16
DAY = 86400 * 10**9


class Filler(threading.Thread):
    """Takes whatever space is left on a disk until `stop`; the file stays until `free`."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.path, self.ending = os.path.join(folder, "filler"), threading.Event()
        self.folder = folder

    def run(self):
        with open(self.path, "ab", buffering=0) as file:
            size = 0
            while not self.ending.is_set():
                facts = os.statvfs(self.folder)
                free = facts.f_bavail * facts.f_bsize
                try:
                    if free:
                        os.posix_fallocate(file.fileno(), size, free)
                        size += free
                except OSError:
                    pass
                time.sleep(0.05)

    def stop(self):
        self.ending.set()
        self.join()

    def give(self, count):
        """Gives back so many bytes."""
        os.truncate(self.path, max(0, os.stat(self.path).st_size - count))

    def free(self):
        os.unlink(self.path)


class Asker(threading.Thread):
    """Asks for lines twice a second: how many answers were good."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.ending = fleet, threading.Event()
        self.good = self.bad = 0
        self.last = ""

    def run(self):
        while not self.ending.wait(0.5):
            status, told = log_request.loki(self.fleet, "/query_range", query='{service_name="app"}', limit=20)
            if status == 200 and told["data"]["result"]:
                self.good += 1
            else:
                self.bad += 1
                self.last = f"{status} {str(told)[:200]}"

    def finish(self):
        self.ending.set()
        self.join()
        return self.good / max(1, self.good + self.bad)


class Pushes(threading.Thread):
    """Numbered lines by push, each body until it is taken."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.push, self.sent, self.ending, self.failure = log_request.Push(url), 0, threading.Event(), None

    def run(self):
        try:
            while not self.ending.is_set():
                now = time.time_ns()
                entries = [(now + n, b'{"pushed":%d}' % (self.sent + n)) for n in range(20)]
                self.push.insist([({"service_name": "pushed", "host": "x"}, entries)])
                self.sent += 20
                time.sleep(0.2)
        except Exception as error:  # shown by whoever waits for the thread
            self.failure = error


def old_lines(fleet):
    """Random texts of past days, which no codec makes smaller; how many."""
    push, count, rng = log_request.Push(fleet.url), 0, random.Random(1)
    for day in OLD_DAYS:
        for turn in range(OLD_ROUNDS):
            base = time.time_ns() - day * DAY
            # 48 bytes become 64 letters: codecs get a quarter of it back at most.
            entries = [(base + turn * OLD_LINES + n, base64.b64encode(rng.randbytes(OLD_LINE_BYTES * 3 // 4)))
                       for n in range(OLD_LINES)]
            for at in range(0, len(entries), 4):
                push.insist([({"service_name": "old", "host": "x", "day": str(day)}, entries[at:at + 4])])
            count += OLD_LINES
    return count


def day_tables(fleet):
    """{table of a day of logs: bytes}."""
    rows = fleet.sql("SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relnamespace = 'petrel'::regnamespace"
                     " AND relkind = 'r' AND relname ~ '^log_.*_d[0-9]+$'")
    return {name: int(size) for name, size in (row.split("|") for row in rows.splitlines())}


def answers(fleet):
    try:
        return fleet.sql("SELECT 1") == "1"
    except (OSError, subprocess.CalledProcessError):
        return False


def spooled(fleet):
    metrics = fleet.agent_metrics()
    return int(metrics.get('petrel_agent_spool_records{stream="logs"}', 0))


def full(fleet, seconds, filler, pushes):
    """The disk is full for a while; what went on meanwhile."""
    asker, before = Asker(fleet), dict(pushes.push.statuses)
    filler.start()
    wait_until("the collector feels it", 120, lambda: spooled(fleet) > 5 * PER_SECOND, 0.5)
    asker.start()
    begun = spooled(fleet)
    time.sleep(seconds)
    share, spool = asker.finish(), spooled(fleet)
    statuses = {code: n - before.get(code, 0) for code, n in pushes.push.statuses.items() if n != before.get(code, 0)}
    print(f"  full for {seconds} s: agent {'runs' if fleet.agent.running else 'ENDED'}, spooled {begun} -> {spool};"
          f" queries good {share:.0%} {asker.last}; pushes answered {statuses};"
          f" PostgreSQL {'runs' if fleet.postgres_runs() else 'ENDED'}", flush=True)
    assert fleet.agent.running and fleet.collector.running, "a program ended"
    assert spool > begun, "the agent does not spool"
    assert not any(400 <= code < 500 and code != 429 for code in statuses), statuses
    return share


def retention(fleet, filler):
    """The same disk, still full: a smaller bound for logs must free space, and lines flow again; what is wrong, as texts."""
    wrong = []
    if not answers(fleet):
        # Under load it may need a segment of its log at that very moment.
        wrong.append("PostgreSQL ended on the full disk")
        print(f"  WRONG {wrong[-1]}; {3 * GIVEN_MIB} MiB are given to it", flush=True)
        filler.give(3 * GIVEN_MIB << 20)
        wait_until("PostgreSQL answers again", START_SECONDS, lambda: answers(fleet), 0.5)
    tables = day_tables(fleet)
    with open(fleet.collector_config) as f:
        text = f.read()
    with open(fleet.collector_config, "w") as f:
        f.write(text.replace("logs_size: 4GiB", f"logs_size: {KEEP_MIB}MiB"))
    fleet.collector.stop()
    started = time.monotonic()
    if not comes_up(fleet):
        wrong.append("the collector does not start on a full disk")
        print(f"  WRONG {wrong[-1]}; {GIVEN_MIB} MiB are given to it", flush=True)
        filler.give(GIVEN_MIB << 20)
        assert comes_up(fleet), f"the collector does not start with {GIVEN_MIB} MiB either"
    wait_until("old days dropped", RETENTION_SECONDS, lambda: len(day_tables(fleet)) < len(tables), 1)
    gone = sorted(set(tables) - set(day_tables(fleet)))
    print(f"  retention dropped {', '.join(gone)} ({sum(tables[name] for name in gone) >> 20} MiB)"
          f" {time.monotonic() - started:.1f} s after the start, on the full disk", flush=True)
    # What it freed is enough to go on.
    wait_until("the spool shrinks", 120, lambda: spooled(fleet) < PER_SECOND, 1)
    print(f"  lines flow again {time.monotonic() - started:.1f} s after the start", flush=True)
    return wrong


def comes_up(fleet):
    """Starts the collector as systemd does: again, where it ends."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if not fleet.collector.running:
            fleet.collector.start()
        try:
            fleet.wait_ready(5)
            return True
        except AssertionError:
            time.sleep(1)
    return False


def mounted(folder):
    """A small disk below `folder` for PostgreSQL; None, and said, where it may not be mounted."""
    place = os.path.join(folder, "collector", "postgres")
    os.makedirs(place)
    os.chmod(os.path.join(folder, "collector"), 0o711)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=755", "tmpfs", place],
                          capture_output=True, text=True)
    if done.returncode:
        print(f"  SKIPPED: no right to mount ({done.stderr.strip()})", flush=True)
        return None
    return place


def run(options, seconds):
    folder = tempfile.mkdtemp(prefix="petrel-full-")
    place = mounted(folder)
    if not place:
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        scenario(options, seconds, folder, place)
    finally:
        subprocess.run(["umount", "-l", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)  # after a failure it stays, as Fleet says


def scenario(options, seconds, folder, place):
    yaml = "retention: {age: 30d, logs_size: 4GiB}\n"
    with Fleet(options.programs, folder=folder, collector_yaml=yaml) as fleet:
        filler = Filler(place)
        try:
            fleet.up()
            print(f"  {old_lines(fleet)} old lines", flush=True)
            writer, pushes = Writer(fleet, per_second=PER_SECOND), Pushes(fleet.url)
            writer.start()
            pushes.start()
            wait_until("lines stored", 60, lambda: log_request.number(
                fleet, 'sum(count_over_time({service_name="app"}[1h]))') > PER_SECOND)
            wait_until("days of old lines", 120, lambda: sum(day_tables(fleet).values()) > 2 * KEEP_MIB << 20, 1)
            share = full(fleet, seconds, filler, pushes)
            filler.stop()
            wrong = retention(fleet, filler)
            filler.free()
            sent = writer.finish()
            pushes.ending.set()
            pushes.join(120)
            assert not pushes.is_alive(), f"the last push is not taken: answers {pushes.push.statuses}"
            if pushes.failure:
                raise pushes.failure
            result = account(fleet, sent, seconds=180)
            found = int(fleet.sql("SELECT count(*) FROM petrel.log WHERE line LIKE '{\"pushed\":%'"))
            distinct = int(fleet.sql("SELECT count(DISTINCT line) FROM petrel.log WHERE line LIKE '{\"pushed\":%'"))
            print(f"  pushed: sent {pushes.sent}  stored {found}  lost {pushes.sent - distinct}"
                  f"  sent again {pushes.push.retries}", flush=True)
            expect_exact(result)
            assert (found, distinct) == (pushes.sent, pushes.sent), "pushed lines are missing or came twice"
            assert share >= QUERY_SHARE_MIN, f"of the queries on a full disk {share:.0%} were answered"
            assert not wrong, wrong
        finally:
            filler.ending.set()
