"""A live tail over WebSocket while lines come steadily: every line once, in its order, none dropped.

Beside it tails that never read what they are sent: the collector must bound what it keeps for them, and cut them.
"""
import base64
import json
import os
import socket
import struct
import time
import urllib.parse

from harness import Fleet, Meter, Writer, wait_until

PER_SECOND = 500
STUCK = 3
LATENCY_P99_SECONDS_MAX = 5
# How much the collector may take more than before: for the tails that do not read.
GROWTH_MAX_MIB = 128
HISTORY = 100
# Gap-free lines beyond the last one that was written: what is still on its way at the end.
DRAIN_SECONDS = 20
STOP_SECONDS_MAX = 10
STUCK_SECONDS_MIN = 180  # buffers fill first, then a minute of standing still is allowed


class WebSocket:
    """The client's half of RFC 6455, as far as a tail needs it."""

    def __init__(self, url, path, seconds=30):
        place = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=seconds)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((
            f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            part = self.socket.recv(4096)
            if not part:
                break
            self.buffer += part
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])
        self.head, self.pings = head.decode(errors="replace"), 0
        self.close_code, self.text = None, b""

    def _frame(self):
        """(is the last, code, content) of the next frame; None where it is not whole yet."""
        if len(self.buffer) < 2:
            return None
        first, second = self.buffer[:2]
        assert not second & 0x80, "a server's frame is masked"
        size, at = second & 0x7F, 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(self.buffer) < at:
                return None
            size = int.from_bytes(self.buffer[2:at], "big")
        if len(self.buffer) < at + size:
            return None
        content, self.buffer = self.buffer[at:at + size], self.buffer[at + size:]
        return first & 0x80 != 0, first & 0x0F, content

    def _send(self, code, content=b""):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))
        self.socket.sendall(bytes((0x80 | code, 0x80 | len(content))) + mask + masked)

    def message(self):
        """The next text, pings answered; None where the other side closed. Times out as the socket does, and goes on then."""
        while True:
            frame = self._frame()
            if frame is None:
                part = self.socket.recv(1 << 16)
                if not part:
                    raise ConnectionError("the tail ended")
                self.buffer += part
                continue
            is_last, code, content = frame
            if code == 9:
                self.pings += 1
                self._send(10, content)
            elif code == 8:
                self.close_code = int.from_bytes(content[:2], "big") if len(content) >= 2 else 1005
                self._send(8, content[:2])
                return None
            elif code in (0, 1, 2):
                self.text += content
                if is_last:
                    text, self.text = self.text, b""
                    return text

    def is_cut(self, seconds=10):
        """Reads what is left: whether the other side has ended the connection."""
        end = time.monotonic() + seconds
        self.socket.settimeout(1)
        while time.monotonic() < end:
            try:
                if not self.socket.recv(1 << 20):
                    return True
            except TimeoutError:
                continue
            except ConnectionError:
                return True
        return False

    def close(self):
        """Says so, and waits for the answer."""
        try:
            self._send(8, struct.pack(">H", 1000))
            while self.message() is not None:
                pass
        except (OSError, ConnectionError):
            pass
        finally:
            self.socket.close()


def path(query, **parameters):
    return "/loki/api/v1/tail?" + urllib.parse.urlencode({"query": query, **parameters})


class Tail:
    """Reads a tail and keeps which numbers came, and how late."""

    def __init__(self, socket_):
        self.socket, self.last, self.first, self.count = socket_, None, None, 0
        self.wrong, self.dropped, self.late, self.frames = [], 0, [], 0

    def take(self):
        """One frame; False where there is none for now."""
        try:
            text = self.socket.message()
        except TimeoutError:
            return False
        assert text is not None, f"the tail was closed: {self.socket.close_code}"
        told, now = json.loads(text), time.time()
        self.frames += 1
        self.dropped += len(told.get("dropped_entries") or ())
        entries = sorted((int(value[0]), json.loads(value[1])["seq"]) for stream in told.get("streams") or ()
                         for value in stream["values"])
        for at, seq in entries:
            if self.last is None:
                self.first = seq
            elif seq != self.last + 1 and len(self.wrong) < 10:
                self.wrong.append((self.last, seq))
            self.last = seq
            self.count += 1
            if self.count > HISTORY:
                self.late.append(now - at / 1e9)
        return True


def refused(fleet):
    """What is no tail is refused as HTTP, before it is one."""
    for query in ("{", 'count_over_time({service_name="app"}[1m])', ""):
        client = WebSocket(fleet.url, path(query))
        assert client.status == 400, f"{query!r}: {client.head.splitlines()[0]}"
        client.socket.close()


def run(options, seconds):
    with Fleet(options.programs).up() as fleet:
        writer = Writer(fleet, per_second=PER_SECOND)
        writer.start()
        wait_until("first lines stored", 60, lambda: int(fleet.sql("SELECT count(*) FROM petrel.log")) > HISTORY)
        refused(fleet)
        before = Meter.rss_mib(fleet.collector.process.pid)
        stuck = [WebSocket(fleet.url, path('{service_name="app"}')) for _ in range(STUCK)]
        client = WebSocket(fleet.url, path('{service_name="app"}', limit=HISTORY))
        assert client.status == 101, client.head
        client.socket.settimeout(1)
        tail, end = Tail(client), time.monotonic() + seconds
        meter = Meter(fleet)
        meter.start()
        while time.monotonic() < end:
            tail.take()
        sent = writer.finish()
        end = time.monotonic() + DRAIN_SECONDS
        while (tail.last is None or tail.last < sent - 1) and time.monotonic() < end:
            tail.take()
        meter.finish()
        late = sorted(tail.late) or [float("inf")]
        p99 = late[int(len(late) * .99)]
        print(f"  {seconds} s: lines {tail.count} of {sent} (from {tail.first}), frames {tail.frames}, pings {client.pings};"
              f" wrong {len(tail.wrong)}, dropped {tail.dropped}; late p50 {late[len(late) // 2]:.2f} s, p99 {p99:.2f} s,"
              f" most {late[-1]:.2f} s; collector {before:.0f} MiB, most {meter.peak['collector']:.0f}", flush=True)
        client.close()
        cut = [one.is_cut() for one in stuck] if seconds >= STUCK_SECONDS_MIN else []
        for one in stuck:
            one.socket.close()
        assert all(cut), f"tails that do not read were not cut: {cut}"
        assert not tail.wrong and not tail.dropped, tail.wrong
        assert tail.last == sent - 1, f"the tail ends at {tail.last} of {sent}"
        assert p99 <= LATENCY_P99_SECONDS_MAX, "the tail is late"
        assert meter.peak["collector"] - before <= GROWTH_MAX_MIB, "the tails that do not read cost too much"
        # A stop does not wait for tails.
        held = WebSocket(fleet.url, path('{service_name="app"}'))
        assert held.status == 101, held.head
        fleet.agent.stop()
        started = time.monotonic()
        fleet.collector.stop()
        took = time.monotonic() - started
        print(f"  stopped in {took:.1f} s with a tail open; tails cut {sum(cut)} of {len(cut)}", flush=True)
        held.socket.close()
        assert took <= STOP_SECONDS_MAX, "the stop waited for a tail"
