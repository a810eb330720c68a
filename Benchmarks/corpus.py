"""A fleet's history as requests of Prometheus remote write 1.0, made once and sent to every server byte for byte."""
import ctypes
import ctypes.util
import http.client
import statistics
import threading
import time
import urllib.parse

import numpy as np

from fleetdata import STEP_MS
from write_request import varint

# How many requests of one host may be under way before the slowest host's: servers take history in order.
LEAD_MAX = 3
RETRY_SECONDS = 0.1
# Slower than this, a server is given up: what follows would take hours.
RATE_MIN = 50_000
SECONDS_MIN = 120


class Snappy:
    """Snappy's block format, by the library that the collector is built with."""

    def __init__(self):
        name = ctypes.util.find_library("snappy") or "libsnappy.so.1"
        try:
            self.library = ctypes.CDLL(name)
        except OSError as error:
            raise RuntimeError(f"no Snappy library (Debian: libsnappy1v5): {error}") from error
        self.library.snappy_max_compressed_length.restype = ctypes.c_size_t
        self.library.snappy_max_compressed_length.argtypes = [ctypes.c_size_t]
        self.library.snappy_compress.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(ctypes.c_size_t)]

    def compress(self, data):
        length = ctypes.c_size_t(self.library.snappy_max_compressed_length(len(data)))
        out = ctypes.create_string_buffer(length.value)
        status = self.library.snappy_compress(data, len(data), out, ctypes.byref(length))
        assert status == 0, f"snappy_compress answers {status}"
        return out.raw[:length.value]


class Message:
    """A WriteRequest of one host's series and `count` samples of each, whose numbers are yet to be filled in.

    Everything but values and times is the same in each request, and as long: a sample is 18 bytes.
    """
    SAMPLE = b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6)

    def __init__(self, label_sets, count):
        parts, places, at = [], [], 0
        for labels in label_sets:
            content = b""
            for name, value in labels:
                pair = b"".join(
                    key + varint(len(text)) + text for key, text in ((b"\x0a", name.encode()), (b"\x12", value.encode())))
                content += b"\x0a" + varint(len(pair)) + pair
            head = b"\x0a" + varint(len(content) + len(self.SAMPLE) * count) + content
            places.append(at + len(head) + len(self.SAMPLE) * np.arange(count))
            parts += [head, self.SAMPLE * count]
            at += len(head) + len(self.SAMPLE) * count
        self.bytes = np.frombuffer(b"".join(parts), np.uint8).copy()
        starts = np.array(places)[:, :, None]
        self.value_places, self.time_places = starts + 3 + np.arange(8), starts + 12 + np.arange(6)

    def filled(self, times, values):
        """The bytes with `values` (series × times) at `times`, milliseconds of 41 or 42 bits: six bytes each."""
        assert (times >> 35).all() and not (times >> 42).any(), "times of another century"
        groups = (times[:, None] >> (7 * np.arange(6))) & 0x7F
        groups[:, :5] |= 0x80
        shape = self.value_places.shape
        self.bytes[self.value_places] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(shape)
        self.bytes[self.time_places] = groups[None, :, :].astype(np.uint8)
        return self.bytes.tobytes()


class Corpus:
    """Requests in one file: `add` makes a stretch of time of them, `send` sends a stretch."""

    def __init__(self, path, fleet):
        self.path, self.fleet, self.snappy = path, fleet, Snappy()
        self.rows = [np.flatnonzero(fleet.host == host) for host in range(len(fleet.offsets))]
        self.size = 0
        open(path, "wb").close()

    def add(self, start_ms, end_ms, samples):
        """Makes requests of `samples` samples a series from `start_ms` up to `end_ms`; both multiples of the step."""
        stretch = Stretch(self.path, len(self.rows))
        messages = {}
        with open(self.path, "ab") as out:
            for first in range(start_ms, end_ms, samples * STEP_MS):
                count = min(samples, (end_ms - first) // STEP_MS)
                values = self.fleet.next(first, count)
                for host, rows in enumerate(self.rows):
                    if (host, count) not in messages:
                        messages[host, count] = Message([self.fleet.labels[row] for row in rows], count)
                    times = first + self.fleet.offsets[host] + np.arange(count) * STEP_MS
                    raw = messages[host, count].filled(times, values[rows])
                    body = self.snappy.compress(raw)
                    out.write(body)
                    stretch.requests[host].append((self.size, len(body), count * len(rows)))
                    self.size += len(body)
        return stretch


class Stretch:
    """The requests of a stretch of time, a list a host: (place, length, samples)."""

    def __init__(self, path, hosts):
        self.path, self.requests = path, [[] for _ in range(hosts)]

    @property
    def samples(self):
        return sum(samples for host in self.requests for _, _, samples in host)

    @property
    def bytes(self):
        return sum(length for host in self.requests for _, length, _ in host)

    def send(self, url):
        """Sends all of it to `url`, each host over a connection of its own; what is refused for now is sent again."""
        return Sending(self, url).run()


class Sending:
    """One stretch on its way to one server."""

    def __init__(self, stretch, url):
        self.stretch, self.url = stretch, urllib.parse.urlsplit(url)
        self.samples, self.latencies, self.retries = stretch.samples, [], 0
        self.deadline = time.monotonic() + max(SECONDS_MIN, self.samples / RATE_MIN)
        self.lock = threading.Condition()
        self.done = [0] * len(stretch.requests)
        self.failure = None

    def run(self):
        threads = [threading.Thread(target=self._guarded, args=(host,), daemon=True) for host in range(len(self.done))]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failure:
            raise self.failure
        self.seconds = time.perf_counter() - started
        self.rate = self.samples / self.seconds
        self.latencies.sort()
        return self

    def latency_ms(self, share):
        """The latency below which `share` of the acknowledged requests stayed."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1000

    @property
    def median_ms(self):
        return statistics.median(self.latencies) * 1000

    def _guarded(self, host):
        try:
            self._host(host)
        except Exception as error:  # the other threads must not wait for this one
            with self.lock:
                self.failure = self.failure or error
                self.lock.notify_all()

    def _host(self, host):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
        try:
            with open(self.stretch.path, "rb") as bodies:
                for place, length, _ in self.stretch.requests[host]:
                    bodies.seek(place)
                    self._one(connection, bodies.read(length))
                    if not self._step(host):
                        return
        finally:
            connection.close()

    def _step(self, host):
        """Counts a request, and waits where this host leads by too much; False where another failed."""
        with self.lock:
            self.done[host] += 1
            if self.done[host] == len(self.stretch.requests[host]):
                self.done[host] = 1 << 60  # nobody waits for one that has no more
            self.lock.notify_all()
            while not self.failure and LEAD_MAX < self.done[host] - min(self.done) < 1 << 59:
                self.lock.wait(1)
            return not self.failure

    def _one(self, connection, body):
        while True:
            started = time.perf_counter()
            status, text = self._post(connection, body)
            if status // 100 == 2:
                with self.lock:
                    self.latencies.append(time.perf_counter() - started)
                return
            if status // 100 == 4 and status != 429:
                raise RuntimeError(f"{self.url.netloc} refuses samples: {status} {text[:200]!r}")
            if time.monotonic() > self.deadline:
                raise RuntimeError(f"{self.url.netloc} took {self.samples:,} samples too slowly; last answer: "
                                   f"{status} {text[:200]!r}")
            with self.lock:
                self.retries += 1
            time.sleep(RETRY_SECONDS)

    def _post(self, connection, body):
        try:
            connection.request("POST", self.url.path, body, {
                "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            return 0, str(error).encode()
