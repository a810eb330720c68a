"""What hangs for ever: a mount, a FIFO among the text files, a database, a cache, a scraped target.

Everything else must stay on its grid, the hang must show in the metrics, the agent must end in time with all of it
hanging and start into it, and must be well again once it is over.
"""
import ctypes
import os
import select
import socket
import struct
import threading
import time

from harness import Fleet, MetricsServer, wait_until

INTERVAL, DEADLINE = 3, 2.5  # seconds; a service may take two
STOP_SECONDS = 10
CLONE_NEWNS, MNT_DETACH = 0x20000, 2  # sched.h, mount.h
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 0x1000, 0x4000, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def keep_mounts_apart():
    """A mount namespace of this process' own from here on, and of all that it starts: nobody else meets what hangs.
    Throws OSError where that is not allowed."""
    must(libc.unshare(CLONE_NEWNS), "unshare")
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    # The agent looks at the mounts of process 1, which are the host's: these stand in for them.
    for name in ("mountinfo", "mounts"):
        own, first = f"/proc/{os.getpid()}/{name}".encode(), f"/proc/1/{name}".encode()
        must(libc.mount(own, first, None, MS_BIND, None), f"mount of {first.decode()}")


class HungMount(threading.Thread):
    """A FUSE file system of one empty folder, spoken at /dev/fuse itself; while `hangs` is set no question is taken."""

    INIT, STATFS, GETATTR, FORGET, INTERRUPT, BATCH_FORGET = 26, 17, 3, 2, 36, 42
    ENOSYS = 38

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.hangs, self.ending = folder, threading.Event(), threading.Event()
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        try:
            must(libc.mount(b"petrel-hang", folder.encode(), b"fuse", MS_NOSUID | MS_NODEV, options), "mount")
        except OSError:
            os.close(self.device)
            raise
        self.start()

    def run(self):
        while not self.ending.is_set():
            if self.hangs.is_set():
                time.sleep(0.02)
            elif select.select([self.device], [], [], 0.1)[0]:
                try:
                    self.answer(os.read(self.device, 1 << 17))
                except OSError:
                    pass  # whoever asked has gone

    def answer(self, question):
        _, kind, unique, node = struct.unpack_from("<IIQQ", question)
        if kind in (self.FORGET, self.INTERRUPT, self.BATCH_FORGET):
            return
        error, body = 0, b""
        if kind == self.INIT:
            body = struct.pack("<IIIIHHII", 7, 31, 0, 0, 8, 8, 1 << 16, 1) + bytes(36)
        elif kind == self.STATFS:
            body = struct.pack("<QQQQQIIII", 1000, 500, 500, 100, 50, 4096, 255, 4096, 0) + bytes(24)
        elif kind == self.GETATTR:
            body = struct.pack("<QII", 0, 0, 0) + struct.pack("<QQQQQQ", node, 0, 0, 0, 0, 0) \
                + struct.pack("<IIIIIIIIII", 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
        else:
            error = -self.ENOSYS
        os.write(self.device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

    def close(self):
        """Ends the connection, which ends every call that waits."""
        self.ending.set()
        self.join()
        os.close(self.device)
        libc.umount2(self.folder.encode(), MNT_DETACH)


class HangingProxy:
    """Passes bytes on to `target`; while it hangs it takes connections and bytes, and nothing goes on."""

    def __init__(self, target):
        self.target, self.goes = target, threading.Event()
        self.goes.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def hang(self):
        self.goes.clear()

    def release(self):
        self.goes.set()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        try:
            self.goes.wait()
            server = socket.socket(socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET)
            server.connect(self.target)
        except OSError:
            client.close()
            return
        threading.Thread(target=self.pump, args=(server, client), daemon=True).start()
        self.pump(client, server)

    def pump(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                self.goes.wait()
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.release()


class Cache(threading.Thread):
    """As much of Valkey as the agent asks for: INFO, and OK to everything else."""

    INFO = b"# Server\r\nredis_version:7.2.4\r\nuptime_in_seconds:10\r\n# Clients\r\nconnected_clients:1\r\n"

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client.makefile("rwb"),), daemon=True).start()

    def serve(self, stream):
        try:
            while head := stream.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(stream.read(int(stream.readline()[1:]) + 2)[:-2])
                replies = {b"INFO": b"$%d\r\n%s\r\n" % (len(self.INFO), self.INFO), b"SLOWLOG": b":0\r\n",
                           b"LATENCY": b"*0\r\n"}
                stream.write(replies.get(words[0].upper(), b"+OK\r\n"))
                stream.flush()
        except (OSError, ValueError):
            pass


class Hangs:
    """All that can hang, in the folder of `fleet`."""

    def __init__(self, fleet):
        self.texts = os.path.join(fleet.folder, "texts")
        self.fifo = os.path.join(self.texts, "hang.prom")
        os.mkdir(self.texts)
        with open(os.path.join(self.texts, "good.prom"), "w") as file:
            file.write("text_good 1\n")
        self.good = MetricsServer(lambda: "target_value 1\n", "text/plain; version=0.0.4")
        host, port = self.good.address.split(":")
        self.target = HangingProxy((host, int(port)))
        self.cache = HangingProxy(Cache().address)
        self.pooler = HangingProxy(("127.0.0.1", 1))
        self.pooler.hang()  # never answers at all
        self.database = None
        self.mount = None
        mounted = os.path.join(fleet.folder, "mounted")
        os.mkdir(mounted)
        try:
            keep_mounts_apart()
            self.mount = HungMount(mounted)
        except OSError as error:
            print(f"  no mount hangs: {error}", flush=True)

    def start_database(self, fleet):
        """The collector's own PostgreSQL, by a way that can hang."""
        self.database = HangingProxy(os.path.join(fleet.socket_folder(), ".s.PGSQL.5432"))

    def configuration(self):
        return f"""
metrics:
  interval: {INTERVAL}s
  reader_deadline: {int(DEADLINE * 1000)}ms
  options: {{textfile.directory: [{self.texts}]}}
logs: {{journal: {{enabled: false}}}}
services:
  postgres: [{{address: "{self.database.address}", user: petrel_owner, database: petrel}}]
  pgbouncer: [{{address: "{self.pooler.address}"}}]
  valkey: [{{address: "{self.cache.address}"}}]
scrape:
- job_name: slow
  scrape_timeout: 1s
  static_configs: [{{targets: ['{self.target.address}']}}]
- job_name: good
  scrape_timeout: 1s
  static_configs: [{{targets: ['{self.good.address}']}}]
"""

    def begin(self):
        os.mkfifo(self.fifo)
        for proxy in (self.target, self.cache, self.database):
            proxy.hang()
        if self.mount:
            self.mount.hangs.set()

    def end(self):
        os.unlink(self.fifo)
        for proxy in (self.target, self.cache, self.database):
            proxy.release()
        if self.mount:
            self.mount.hangs.clear()

    def close(self):
        if self.mount:
            self.mount.close()
        for proxy in (self.target, self.cache, self.database, self.pooler):
            if proxy:
                proxy.close()
        self.good.shutdown()

    def figures(self):
        """What tells of each hang, with its value in health and while it hangs."""
        found = {
            # A pipe that nobody writes to is left out at once.
            'node_scrape_collector_success{collector="textfile"}': (1, 1), "node_textfile_scrape_error": (0, 1),
            "pg_up": (1, 0), "redis_up": (1, 0), "pgbouncer_up": (0, 0),
            'up{job="slow"}': (1, 0), 'up{job="good"}': (1, 1), "text_good": (1, 1),
            'node_scrape_collector_success{collector="filesystem"}': (1, 1),
        }
        if self.mount:
            # Its label says why, so that it is another series then.
            of = f'mountpoint="{self.mount.folder}"'
            found[f'node_filesystem_device_error{{{of},device_error=""}}'] = (0, None)
            found[f'node_filesystem_device_error{{{of},device_error!=""}}'] = (None, 1)
            found[f"node_filesystem_size_bytes{{{of}}}"] = (4096000, None)
        return found


def values(fleet, expression, begin):
    """The samples since `begin`: {seconds: value} of the one series."""
    series = fleet.query(f"{expression}[{int(time.time() - begin) + INTERVAL}s]")
    assert len(series) <= 1, f"{expression}: {len(series)} series"
    return {float(t): float(v) for t, v in (series[0]["values"] if series else []) if float(t) >= begin}


def failing(fleet):
    return {r["metric"]["collector"] for r in fleet.query("node_scrape_collector_success == 0")}


def grid(fleet, what, begin, end):
    """Each scrape between two times is there, and was read on time."""
    times = {round(t) for t in values(fleet, "node_load1", begin)}
    wanted = set(range(int(begin) // INTERVAL * INTERVAL + INTERVAL, int(end - DEADLINE), INTERVAL))
    read = values(fleet, "node_time_seconds", begin)
    late = max(v - t for t, v in read.items())
    good = len(values(fleet, 'up{job="good"}', begin))
    print(f"  {what}: scrapes {len(wanted)}  missing {len(wanted - times)}  latest read {late:.2f} s after its time"
          f"  of a good target {good}", flush=True)
    assert wanted and wanted <= times, f"no scrape at {sorted(wanted - times)}"
    assert late <= INTERVAL, f"a scrape was read {late:.2f} s late"
    assert good >= len(wanted) - 1, f"{good} scrapes of the target that does not hang"


def wrong(fleet, hangs, is_hung):
    """The figures that are not, in the last scrapes, what they should be: {expression: (found, wanted)}."""
    result = {}
    for expression, pair in hangs.figures().items():
        rows = fleet.query(f"{expression} and timestamp({expression}) > time() - {2 * INTERVAL}")
        found = [float(row["value"][1]) for row in rows]
        wanted = [] if pair[is_hung] is None else [pair[is_hung]]
        if found != wanted:
            result[expression] = (found, wanted)
    return result


def expect(fleet, hangs, is_hung, seconds):
    """Waits until every figure says so; names those that do not."""
    end = time.monotonic() + seconds
    while faults := wrong(fleet, hangs, is_hung):
        assert time.monotonic() < end, f"hung {is_hung}: found and wanted: {faults}"
        time.sleep(0.3)


def threads(fleet):
    return len(os.listdir(f"/proc/{fleet.agent.process.pid}/task"))


def hung(fleet, hangs, well, count):
    """While all of it hangs for `count` scrapes."""
    begin = time.time()
    hangs.begin()
    expect(fleet, hangs, True, 3 * INTERVAL)
    few = threads(fleet)
    time.sleep(max(0.0, begin + (count + 1) * INTERVAL - time.time()))
    asked = time.monotonic()
    fleet.agent_metrics()
    took = time.monotonic() - asked
    assert took <= DEADLINE + 1, f"/metrics took {took:.1f} s"
    assert failing(fleet) <= well, f"failing: {failing(fleet) - well}"
    more = threads(fleet)
    print(f"  threads {few}, then {more}; /metrics in {took:.1f} s", flush=True)
    assert more <= few + 1, f"threads grow: {few}, {more}"
    grid(fleet, "hanging", begin, time.time())


def run(options, count):
    with Fleet(options.programs) as fleet:
        hangs = Hangs(fleet)
        try:
            fleet.collector.start()
            fleet.wait_ready()
            hangs.start_database(fleet)
            fleet._write("agent.yaml", hangs.configuration())
            fleet.enrol(fleet.host, fleet.state)
            fleet.agent.start()
            expect(fleet, hangs, False, 30)
            well = failing(fleet)
            hung(fleet, hangs, well, count)
            started = time.monotonic()
            fleet.agent.stop()
            took = time.monotonic() - started
            print(f"  ended {took:.1f} s after SIGTERM with all of it hanging", flush=True)
            assert took <= STOP_SECONDS and fleet.agent.process.returncode == 0, (took, fleet.agent.process.returncode)
            fleet.agent.start()
            begin = time.time() + 1
            wait_until("two scrapes", 20, lambda: len(values(fleet, "node_load1", begin)) >= 2)
            expect(fleet, hangs, True, 2 * INTERVAL)
            grid(fleet, "started into it", begin, time.time())
            hangs.end()
            over = time.time()
            expect(fleet, hangs, False, 10 * INTERVAL)
            print(f"  well {time.time() - over:.1f} s after its end", flush=True)
            fleet.agent.stop()
        finally:
            hangs.close()
