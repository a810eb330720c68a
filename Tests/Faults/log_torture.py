"""Numbered lines through log files that rotate while the agent is killed: each line once, or told as lost.

Three writers and three rotations, as logrotate does them: by rename, after which the writer goes on with the old
file for a moment; by rename and compression, after which the plain file is gone at once; by copy and truncation, whose window
(what is written between the end of the copy and the truncation) is measured, as nobody can read what was written in it.
"""
import gzip
import os
import random
import shutil
import threading
import time

KINDS = ("rename", "gzip", "copytruncate")
ROTATED_MAX = 200  # more than any run makes: nothing is removed before it was read


class NumberedLog(threading.Thread):
    """Writes `count` numbered lines at a rate to `path`, and opens it anew when it is told to."""

    def __init__(self, path, kind, count, per_second):
        super().__init__(daemon=True)
        self.path, self.kind, self.count, self.per_second = path, kind, count, per_second
        self.sent = 0      # lines that are in a file for sure
        self.claimed = 0   # lines that may be in one
        self.reopen_at = None
        self.failure = None

    def open(self):
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def lines(self, first, end):
        return "".join(
            '{"seq":%d,"log":"%s","level":"info","trace_id":"%032x","msg":"%s"}\n'
            % (n, self.kind, n, "x" * (n % 97)) for n in range(first, end)).encode()

    def prime(self):
        """The first line alone: a file that rotates before it is known to the agent is not what is tested."""
        with open(self.path, "wb") as file:
            file.write(self.lines(0, 1))
        self.sent = self.claimed = 1

    def run(self):
        try:
            self.write()
        except Exception as error:  # shown by whoever waits for the thread
            self.failure = error

    def write(self):
        file = self.open()
        start = time.monotonic()
        while self.sent < self.count:
            time.sleep(0.005)
            if self.reopen_at is not None and time.monotonic() >= self.reopen_at:
                old, file = file, self.open()
                os.close(old)
                self.reopen_at = None
            due = min(self.count, int((time.monotonic() - start) * self.per_second))
            if due <= self.sent:
                continue
            lines = self.lines(self.sent, due)
            self.claimed = due
            # In two pieces now and then, so that a reader sees lines that are not whole.
            cut = random.randrange(len(lines)) if random.random() < 0.3 else 0
            for piece in (lines[:cut], lines[cut:]):
                while piece:
                    piece = piece[os.write(file, piece):]
            self.sent = due
        os.close(file)


class Rotation(threading.Thread):
    """Rotates the file of `log` each time `every` more lines are in it."""

    def __init__(self, log, every):
        super().__init__(daemon=True)
        self.log, self.every = log, every
        self.rotations, self.window = 0, 0
        self.ending = threading.Event()
        self.failure = None

    def run(self):
        try:
            done = 0
            while not self.ending.wait(0.01):
                if self.log.sent - done >= self.every and self.log.reopen_at is None:
                    done = self.log.sent
                    getattr(self, self.log.kind)()
                    self.rotations += 1
        except Exception as error:
            self.failure = error

    def shift(self):
        """.1 to .2, .1.gz to .2.gz and so on, the oldest first."""
        for n in range(ROTATED_MAX, 0, -1):
            for ending in ("", ".gz"):
                old = f"{self.log.path}.{n}{ending}"
                if os.path.exists(old):
                    assert n < ROTATED_MAX, "more rotations than are kept"
                    os.rename(old, f"{self.log.path}.{n + 1}{ending}")

    def rename(self):
        self.shift()
        os.rename(self.log.path, self.log.path + ".1")
        if random.random() < 0.5:  # logrotate's `create`, before the writer is told
            os.close(os.open(self.log.path, os.O_WRONLY | os.O_CREAT, 0o644))
        self.log.reopen_at = time.monotonic() + random.uniform(0, 0.3)

    def gzip(self):
        self.rename()
        while self.log.reopen_at is not None and self.log.is_alive():
            time.sleep(0.005)
        # As gzip does it: whole beside the file, with its times, before the file goes.
        path = self.log.path + ".1"
        facts = os.stat(path)
        with open(path, "rb") as plain, gzip.open(path + ".gz", "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed)
        os.utime(path + ".gz", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.unlink(path)

    def copytruncate(self):
        self.shift()
        with open(self.log.path, "rb") as source, open(self.log.path + ".1", "wb") as copy:
            while True:
                before = self.log.sent
                piece = source.read(1 << 16)
                if not piece:
                    break
                copy.write(piece)
        os.truncate(self.log.path, 0)
        self.window += self.log.claimed - before


class Torture:
    """The three logs in `folder`, `count` lines in all."""

    def __init__(self, folder, count, per_second):
        each = count // len(KINDS)
        self.logs = [NumberedLog(os.path.join(folder, f"{kind}.log"), kind, each, per_second / len(KINDS))
                     for kind in KINDS]
        # A rotation a second or so, but no more than are kept.
        every = max(500, each * 2 // ROTATED_MAX, int(per_second / len(KINDS)))
        self.rotations = [Rotation(log, every) for log in self.logs]

    def prime(self):
        for log in self.logs:
            log.prime()

    def start(self):
        for thread in self.logs + self.rotations:
            thread.start()

    @property
    def is_writing(self):
        return any(log.is_alive() for log in self.logs)

    def finish(self):
        for log in self.logs:
            log.join()
        for rotation in self.rotations:
            rotation.ending.set()
            rotation.join()
        for thread in self.logs + self.rotations:
            if thread.failure:
                raise thread.failure

    def judge(self, counts, disorder, gaps):
        """`counts`: {kind: (stored, distinct)}, `disorder`: {kind: lines that came before an earlier one}, `gaps`: for
        each gap record its count and its text. Prints and checks."""
        for log, rotation in zip(self.logs, self.rotations):
            stored, distinct = counts.get(log.kind, (0, 0))
            told = [(count, text) for count, text in gaps if f"/{log.kind}.log" in text]
            lost = log.sent - distinct
            print(f"  {log.kind}: rotations {rotation.rotations}  sent {log.sent}  stored {stored}  lost {lost}"
                  f"  window {rotation.window}  duplicated {stored - distinct}"
                  f"  out_of_order {disorder.get(log.kind, 0)}  gaps {len(told)}", flush=True)
        for log, rotation in zip(self.logs, self.rotations):
            stored, distinct = counts.get(log.kind, (0, 0))
            told = [(count, text) for count, text in gaps if f"/{log.kind}.log" in text]
            lost = log.sent - distinct
            assert rotation.rotations > 3, f"{log.kind}: hardly rotated: nothing was tested"
            assert stored == distinct and disorder.get(log.kind, 0) == 0, log.kind
            if log.kind == "copytruncate":
                assert 0 <= lost <= rotation.window, f"{lost} lost in a window of {rotation.window}"
            else:
                assert lost == 0 and not told, f"{log.kind}: {lost} lost, {told[:3]}"


def run(options, count):
    from harness import Fleet, pause, wait_until
    import signal
    import tempfile
    per_second = 6000 if count <= 100_000 else 20_000
    folder = tempfile.mkdtemp(prefix="petrel-torture-")
    agent = f"""
metrics: {{interval: 1s}}
logs:
  journal: {{enabled: false}}
  files: [{{path: "{folder}/*.log", service: torture}}]
"""
    # A line that a truncation cut in two is lost: its halves are none of ours.
    ours = "FROM petrel.log WHERE line LIKE '{\"seq\":%\"}'"
    torture = Torture(folder, count, per_second)
    torture.prime()
    with Fleet(options.programs, agent_yaml=agent).up() as fleet:
        wait_until("the first lines stored", 60, lambda: int(fleet.sql(f"SELECT count(*) {ours}")) == len(KINDS))
        torture.start()
        kills = 0
        while torture.is_writing:
            pause(0.3, 2.0)
            fleet.agent.kill(signal.SIGKILL)
            kills += 1
            pause(0.0, 1.0)
            fleet.agent.start()
        torture.finish()
        sent = sum(log.sent for log in torture.logs)
        window = sum(rotation.window for rotation in torture.rotations)
        progress = {"stored": -1, "since": time.monotonic()}

        def settled():
            """All is there; or what the window may have swallowed is missing and nothing has come for a while."""
            stored = int(fleet.sql(f"SELECT count(*) {ours}"))
            if stored != progress["stored"]:
                progress.update(stored=stored, since=time.monotonic())
            return stored >= sent or time.monotonic() - progress["since"] > 20
        wait_until("the lines stored", 120 + count / 2000, settled, 0.5)
        print(f"  {sent} lines, {kills} kills of the agent, windows of {window} lines", flush=True)
        counts, disorder = {}, {}
        for row in fleet.sql(
                "SELECT line::json->>'log', count(*), count(DISTINCT line::json->>'seq')"
                f" {ours} GROUP BY 1").splitlines():
            kind, stored, distinct = row.split("|")
            counts[kind] = (int(stored), int(distinct))
        for row in fleet.sql(
                "SELECT kind, count(*) FILTER (WHERE n <= before) FROM (SELECT line::json->>'log' AS kind,"
                " (line::json->>'seq')::bigint AS n, lag((line::json->>'seq')::bigint) OVER"
                f" (PARTITION BY line::json->>'log' ORDER BY at_ns, id, ordinal) AS before {ours}) x GROUP BY 1").splitlines():
            kind, number = row.split("|")
            disorder[kind] = int(number)
        gaps = [(int(row.split("|", 1)[0]), row.split("|", 1)[1]) for row in fleet.sql(
            "SELECT record_count, source || ' ' || detail FROM petrel.gap WHERE kind = 2").splitlines()]
        torture.judge(counts, disorder, gaps)
        assert not any(count for count, _ in gaps), f"records lost in the spool: {gaps[:3]}"
    shutil.rmtree(folder, ignore_errors=True)
