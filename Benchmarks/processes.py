"""What the kernel says of a process, and the bounds of those that are started."""
import os
import shutil
import threading
import time


def say(text):
    print(f"  {text}", flush=True)


class Run:
    """What a run has: the programs, a folder that is kept where a part failed, and what failed."""

    def __init__(self, programs, base):
        self.programs, self.base, self.failures = os.path.abspath(programs), base, []

    def folder(self, name):
        path = os.path.join(self.base, name)
        os.mkdir(path, 0o755)
        return path

    def fail(self, text):
        """Notes what makes the run one that failed."""
        say(text)
        self.failures.append(text)


def installed(program, given=None):
    """Where `program` is; None, and said, where it isn't."""
    found = given or shutil.which(program)
    if not found:
        say(f"{program} is not installed: its column is left out")
    return found


def bounded(arguments, memory_max):
    """The command, so that no process of it takes more than `memory_max` bytes of private memory for data.

    Not address space: Go and the collector reserve much that they never touch. PostgreSQL's shared memory is not in it.
    """
    return ["prlimit", f"--data={memory_max}", "--"] + [str(a) for a in arguments]


def memory_bound(mib):
    """What a server may take, bytes: `mib`, but at most half of what is free."""
    with open("/proc/meminfo") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:")) * 1024
    return min(mib << 20, free // 2)


# CPU

def cpu_seconds(pid):
    """CPU time of all threads, in nanoseconds' resolution; threads that ended are not in it."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def tick_seconds(pid, with_children=False):
    """CPU time by the clock's ticks (10 ms), ended threads included; with the children it waited for."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in fields[11:15 if with_children else 13]) / os.sysconf("SC_CLK_TCK")


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            found += [int(x) for x in f.read().split()]
    return found


def family(pid, of_each):
    """`of_each` summed over the process and those of its children that live."""
    total = of_each(pid)
    for child in children(pid):
        try:
            total += of_each(child)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def postgres_seconds(postmaster):
    """CPU time of a PostgreSQL: the postmaster, what it waited for, and the processes that live."""
    total = tick_seconds(postmaster, with_children=True)
    for pid in children(postmaster):
        try:
            total += tick_seconds(pid)
        except FileNotFoundError:
            continue
    return total


# Memory

def _status(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":")) / 1024


def resident_mib(pid):
    return _status(pid, "VmRSS")


def peak_mib(pid):
    """The most that was resident since the start, or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid):
    """Has the kernel count the peak from now on."""
    with open(f"/proc/{pid}/clear_refs", "w") as f:
        f.write("5")


def proportional_mib(pid):
    """Resident memory, of what is shared a fair part."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


# Disk

def written_bytes(pid):
    """Bytes given to write calls, with those of the children it waited for. What is sent to sockets counts in part only.

    Not `write_bytes`, which counts pages that get dirty: on file systems with large folios, many for one small write.
    """
    with open(f"/proc/{pid}/io") as f:
        return int(dict(line.split(": ") for line in f.read().splitlines())["wchar"])


def disk_bytes(folder):
    """What the files below `folder` take on disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # gone while we looked
    return total


def steady(measure, seconds, quiet=10, interval=1.0):
    """The value of `measure` once it did not change for `quiet` seconds, or after `seconds`."""
    end, value, since = time.monotonic() + seconds, measure(), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < quiet:
        time.sleep(interval)
        now = measure()
        if now != value:
            value, since = now, time.monotonic()
    return value


class PeakWatch(threading.Thread):
    """The most memory that a process had resident while this ran, MiB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ending = pid, 0.0, threading.Event()

    def __enter__(self):
        self._look()
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()
        self._look()

    def run(self):
        while not self.ending.wait(0.02) and self._look():
            pass

    def _look(self):
        """False where the process ended: whoever watches sees that too."""
        try:
            self.peak = max(self.peak, resident_mib(self.pid))
            return True
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            return False
