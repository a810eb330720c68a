"""A day of samples out of SQL and out of the engine; dumps restored into fresh clusters, and the fleet goes on there."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import write_request
from harness import Writer, account, expect_exact, wait_until

STEP_MS = 15_000
SERIES = 48
STALE = 0x7FF0000000000002
QUIET_STALE = 0x7FF8000000000002


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


ODD = [double(b) for b in (STALE, 0x7FF8000000000001, 0x8000000000000000, bits(float("inf")), bits(float("-inf")), 1,
                           0x7FEFFFFFFFFFFFFF, 0x7FF800000000BEEF, bits(0.1 + 0.2))]


class History:
    """A day of samples: decimals, counters, odd bits, holes, and a quarter that is sent twice with other values."""

    def __init__(self, end_ms):
        self.samples = {}
        self.end_ms = end_ms
        times = range(end_ms - 86_400_000, end_ms, STEP_MS)
        for n in range(SERIES):
            column = self.samples[n] = {}
            for i, t in enumerate(times):
                if n % 5 == 4 and i % 50 < n:
                    continue
                value = float(i * n) if n % 3 == 0 else random.randrange(10_000) / 100 if n % 3 == 1 else random.random()
                column[t] = ODD[(i + n) % len(ODD)] if n % 7 == 6 and i % 3 == 0 else value

    def send(self, base):
        """In parts of two hours, not in their order; what is sent first of a quarter of them is replaced."""
        starts = list(range(self.end_ms - 86_400_000, self.end_ms, 7_200_000))
        random.shuffle(starts)
        for at, start in enumerate(starts):
            part = {n: [(t, v) for t, v in c.items() if start <= t < start + 7_200_000] for n, c in self.samples.items()}
            if at % 4 == 0:
                self.push(base, {n: [(t, 12345.678) for t, _ in c] for n, c in part.items()})
            self.push(base, part)

    @staticmethod
    def push(base, part):
        write_request.send(base, [
            ({"__name__": "backup", "n": str(n), "sender": "backup"}, samples) for n, samples in part.items() if samples])


SAMPLES = "petrel.samples('backup', '-infinity', 'infinity')"
# The view shows what is sent twice twice, until it is in chunks.
VIEW = "petrel.sample WHERE metric = 'backup'"


def compare(fleet, history, source=SAMPLES):
    """The oracle beside SQL, bit for bit, and beside the engine, in which staleness markers don't show."""
    rows = fleet.sql("SELECT labels->>'n', (extract(epoch FROM at) * 1000)::int8, encode(float8send(value), 'hex')"
                     f" FROM {source}").splitlines()
    found = {n: {} for n in history.samples}
    for row in rows:
        n, t, value = row.split("|")
        assert int(t) not in found[int(n)], f"SQL has {n} at {t} twice"
        found[int(n)][int(t)] = int(value, 16)
    # SQL makes only quiet NaNs; the staleness marker has two spellings there.
    told = {n: {t: QUIET_STALE if bits(v) == STALE else bits(v) for t, v in c.items()} for n, c in history.samples.items()}
    found = {n: {t: QUIET_STALE if v == STALE else v for t, v in c.items()} for n, c in found.items()}
    assert found == told, "SQL differs from what was sent"
    answered = {n: {} for n in history.samples}
    for end in range(history.end_ms - 86_400_000 + 7_200_000, history.end_ms + 1, 7_200_000):
        query = urllib.parse.urlencode({"query": "backup[2h]", "time": f"{(end - 1) / 1000:.3f}"}).encode()
        with urllib.request.urlopen(fleet.url + "/prometheus/api/v1/query", query, timeout=120) as answer:
            for series in json.load(answer)["data"]["result"]:
                answered[int(series["metric"]["n"])].update((round(t * 1000), v) for t, v in series["values"])
    for n, column in history.samples.items():
        shown = {t: v for t, v in column.items() if bits(v) != STALE}
        assert answered[n].keys() == shown.keys(), f"the engine has other times of {n}"
        for t, v in shown.items():
            ours = float(answered[n][t].replace("Inf", "inf"))
            assert bits(ours) == bits(v) or (v != v and ours != ours), f"{n} at {t}: sent {v}, answered {answered[n][t]}"
    return sum(len(c) for c in told.values())


class LiveSender(threading.Thread):
    """Pushes a numbered sample ten times a second; one that isn't answered is sent again, as senders do."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.base, self.acked, self.ending = fleet.url + "/prometheus", [], threading.Event()

    def run(self):
        number = 0
        while not self.ending.wait(0.1):
            sample = (int(time.time() * 1000), float(number))
            while not self.ending.is_set():
                try:
                    write_request.send(self.base, [({"__name__": "live", "sender": "backup"}, [sample])])
                    self.acked.append(sample)
                    break
                except (OSError, urllib.error.URLError, AssertionError):
                    time.sleep(0.1)
            number += 1

    def missing(self, fleet):
        """Acknowledged samples that SQL lacks."""
        acked = list(self.acked)
        rows = fleet.sql("SELECT at_ms, value FROM petrel.sample WHERE metric = 'live'").splitlines()
        found = {int(r.split("|")[0]): float(r.split("|")[1]) for r in rows}
        return [s for s in acked if found.get(s[0]) != s[1]]


class Cluster:
    """A fresh PostgreSQL cluster, restored from a dump of text."""

    def __init__(self, folder, name):
        binaries = sorted(os.listdir("/usr/lib/postgresql"), key=int)[-1]
        self.binaries = f"/usr/lib/postgresql/{binaries}/bin"
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder, 0o755)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.data = os.path.join(self.folder, "data")
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres")
        self.run("pg_ctl", "-D", self.data, "-w", "-l", f"{self.folder}/log", "-o",
                 f"-c listen_addresses='' -c unix_socket_directories={self.folder}", "start")
        self.url = f"host={self.folder} user=petrel_owner dbname=petrel"

    def run(self, program, *arguments):
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run([*user, os.path.join(self.binaries, program), *arguments], check=True, cwd="/",
                       stdout=subprocess.DEVNULL)

    def restore(self, dump):
        """As docs/backup.md says."""
        psql = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "postgres"]
        for statement in ("CREATE ROLE petrel_owner LOGIN CREATEROLE", "CREATE ROLE petrel_ingest NOLOGIN",
                          "CREATE ROLE petrel_query NOLOGIN", "GRANT petrel_ingest, petrel_query TO petrel_owner",
                          "CREATE DATABASE petrel OWNER petrel_owner"):
            subprocess.run([*psql, "-c", statement], check=True)
        subprocess.run([*psql, "-d", "petrel", "-f", dump], check=True, stdout=subprocess.DEVNULL)
        return self

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")


def dump(fleet, path):
    with open(path, "w") as out:
        subprocess.run(["pg_dump", "-h", fleet.socket_folder(), "-U", "petrel_owner", "-d", "petrel"], check=True, stdout=out)
    return path


def move(fleet, cluster, arguments):
    """The collector starts on another database."""
    fleet.socket = cluster.folder
    fleet.collector.arguments = arguments + ["--database-url", cluster.url]
    fleet.collector.start()
    fleet.wait_ready()


def run(fleet):
    history = History(int(time.time() * 1000) // 7_200_000 * 7_200_000 - 7_200_000)
    writer, sender = Writer(fleet, per_second=200), LiveSender(fleet)
    writer.start()
    sender.start()
    arguments, clusters = list(fleet.collector.arguments), []
    try:
        history.send(fleet.url + "/prometheus")
        count = compare(fleet, history)
        print(f"  {count} samples of a day: what was sent, petrel.samples() and the engine are equal", flush=True)
        fleet.collector.stop()
        fleet.collector.start()
        fleet.wait_ready()
        wait_until("the day is in chunks", 60, lambda: int(
            fleet.sql("SELECT coalesce(sum(sample_count), 0) FROM petrel.chunk")) >= count, 1)
        compare(fleet, history)
        compare(fleet, history, VIEW)
        print("  equal again, sealed, and petrel.sample is too", flush=True)
        early = dump(fleet, os.path.join(fleet.folder, "early.sql"))
        acked_early = len(sender.acked)
        time.sleep(5)
        # The dump of a collector that ended: nothing is acknowledged after it.
        fleet.collector.kill(signal.SIGKILL)
        last = dump(fleet, os.path.join(fleet.folder, "last.sql"))
        os.kill(fleet.postgres_pid(), signal.SIGINT)
        clusters.append(Cluster(fleet.folder, "moved").restore(last))
        move(fleet, clusters[-1], arguments)
        compare(fleet, history)
        compare(fleet, history, VIEW)
        time.sleep(5)
        sent = writer.finish()
        expect_exact(account(fleet, sent))
        writer = Writer(fleet, per_second=200)
        writer.sent = sent
        writer.start()
        missing = sender.missing(fleet)
        print(f"  restored from the last dump: {len(sender.acked)} live samples acknowledged, {len(missing)} missing", flush=True)
        assert not missing, missing[:5]
        acked_moved = len(sender.acked)
        fleet.collector.stop()
        clusters.append(Cluster(fleet.folder, "rewound").restore(early))
        move(fleet, clusters[-1], arguments)
        compare(fleet, history)
        result = account(fleet, writer.finish(), seconds=60)
        missing = sender.missing(fleet)
        lost = [s for s in missing if s not in sender.acked[acked_early - 20:acked_moved + 20]]
        print(f"  restored from the early dump: of {acked_moved - acked_early} live samples acknowledged since then"
              f" {len(missing)} are missing; the agent's are there or gaps", flush=True)
        assert not lost, lost[:5]
        assert result["lost"] == 0 and result["duplicated"] == 0, result
    finally:
        sender.ending.set()
        writer.ending.set()
        fleet.agent.stop()
        fleet.collector.stop()
        for cluster in clusters:
            cluster.stop()
