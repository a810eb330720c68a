"""What a hostile or broken peer may send, on raw sockets: TLS, HTTP/2 and gRPC by hand, so that no library tidies it.

An honest agent streams all the while. After every attack the collector is the same process, answers a query, has not
grown, and has counted what it refused; at the end nothing of the honest agent is missing.
"""
import gzip
import os
import random
import socket
import ssl
import struct
import time
import urllib.error
import urllib.parse
import urllib.request

from harness import wait_until

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
GROWTH_KIB_MAX = 24 << 10


def header(name, value):
    """An HPACK literal without indexing and without Huffman coding; texts stay below 127 bytes. Source: RFC 7541, 6.2.2."""
    name, value = name.encode(), value.encode()
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def message(payload, compressed=False, length=None):
    """A gRPC length-prefixed message; `length` may lie."""
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def hello(protocol=1):
    """AgentMessage.hello of a metrics stream whose spool is empty."""
    body = b"\x08" + varint(protocol) + b"\x10\x01" + b"\x18" + varint(random.randrange(1, 1 << 60))
    return message(field(1, body))


class Peer:
    """One TLS connection that speaks HTTP/2 frames; the certificate is a host's own where `state` is given."""

    def __init__(self, port, state=None, preface=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if state:
            folder = os.path.join(state, "identity")
            context.load_cert_chain(os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem"))
        self.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))
        self.socket.settimeout(15)
        self.buffer, self.stream = b"", -1
        if preface:
            self.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            self.frame(SETTINGS, 0, 0, b"")

    def raw(self, data):
        self.socket.sendall(data)

    def frame(self, kind, flags, stream, payload):
        self.raw(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def open(self, extra=()):
        """Starts a `Stream` call."""
        self.stream += 2
        block = b"".join(header(n, v) for n, v in [
            (":method", "POST"), (":scheme", "https"), (":path", "/petrel.fleet.v1.Fleet/Stream"),
            (":authority", "collector"), ("content-type", "application/grpc"), ("te", "trailers"), *extra])
        self.frame(HEADERS, END_HEADERS, self.stream, block)
        return self.stream

    def send(self, payload):
        for start in range(0, len(payload), 16384):
            self.frame(DATA, 0, self.stream, payload[start:start + 16384])

    def read(self):
        """The next frame as (kind, flags, stream, payload); None at the end of the connection."""
        def take(count):
            while len(self.buffer) < count:
                got = self.socket.recv(65536)
                if not got:
                    return None
                self.buffer += got
            out, self.buffer = self.buffer[:count], self.buffer[count:]
            return out
        try:
            head = take(9)
            if head is None:
                return None
            size = int.from_bytes(head[:3], "big")
            body = take(size) if size else b""
        except (ConnectionError, ssl.SSLError):
            return None
        return None if body is None else (head[3], head[4], int.from_bytes(head[5:9], "big"), body)

    def outcome(self):
        """What becomes of the current call: `answered` (it was welcomed), `ended`, `reset`, `goaway` or `closed`."""
        while True:
            got = self.read()
            if got is None:
                return "closed"
            kind, flags, stream, body = got
            if kind == SETTINGS and not flags & ACK:
                self.frame(SETTINGS, ACK, 0, b"")
            elif kind == GOAWAY:
                return "goaway"
            elif stream == self.stream and kind == DATA and body[5:6] == b"\x0a":
                return "answered"  # a welcome; acks and refusals are no end
            elif stream == self.stream and kind == RESET:
                return "reset"
            elif stream == self.stream and kind == HEADERS and flags & END_STREAM:
                return "ended"

    def close(self):
        self.socket.close()


def sent_until_refused(peer, once, times):
    """Repeats `once`; true where the peer cut the connection, which it may at any time."""
    try:
        for number in range(times):
            once(number)
    except (ConnectionError, ssl.SSLError, socket.timeout, TimeoutError):
        return True
    return False


class Siege:
    def __init__(self, fleet, state):
        self.fleet, self.state = fleet, state
        self.pid, self.port = fleet.collector.process.pid, fleet.ports["fleet"]
        self.base = self.resident()
        self.stalled = []  # connections that outlive the attacks

    def resident(self):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def counted(self, *names):
        """Sum of the collector's counters whose name and labels contain one of `names`."""
        lines = self.fleet.get("/metrics").splitlines()
        return sum(float(l.rsplit(" ", 1)[1]) for l in lines if l[:1] != "#" and any(n in l for n in names))

    def attack(self, name, run, counters=()):
        before = self.counted(*counters) if counters else 0
        started = time.monotonic()
        said = run()
        assert self.fleet.collector.running, f"{name}: the collector ended"
        assert self.fleet.query("vector(1)"), f"{name}: no answer to a query"
        grown = self.resident() - self.base
        assert grown < GROWTH_KIB_MAX, f"{name}: grew by {grown} KiB"
        if counters:
            wait_until(f"{name}: counted as {counters}", 15, lambda: self.counted(*counters) > before)
        print(f"  {name}: {said or 'refused'}, {time.monotonic() - started:.1f} s, grown {grown >> 10} MiB", flush=True)

    # Messages within a good connection: the call ends, the connection serves on.
    def call(self, payload, extra=(), first=b""):
        def run():
            peer = Peer(self.port, self.state)
            peer.open(extra)
            if first:
                peer.send(first)
                assert peer.outcome() == "answered", "a good hello was not answered"
            cut = sent_until_refused(peer, lambda _: peer.send(payload), 1)
            said = "closed" if cut else peer.outcome()
            assert said != "answered", "it was taken for a good message"
            if said in ("ended", "reset"):
                peer.open()
                peer.send(hello())
                assert peer.outcome() == "answered", "the connection does not serve on"
                said += ", connection kept"
            peer.close()
            return said
        return run

    def flood(self, once, times, state=True):
        def run():
            try:
                peer = Peer(self.port, self.state if state else None)
            except (ConnectionError, ssl.SSLError):
                assert not state, "a good certificate was refused"
                return "refused"
            cut = sent_until_refused(peer, lambda n: once(peer, n), times)
            peer.close()
            return "cut" if cut else "borne"
        return run

    def silent(self):
        """Connections that say nothing, or stop in the middle, are closed by the handshake's deadline."""
        sockets = [socket.create_connection(("127.0.0.1", self.port), 10) for _ in range(60)]
        for one in sockets[::2]:
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        for one in sockets:
            one.settimeout(30)
            try:
                while one.recv(65536):  # an alert, then the end; a connection that stays open is a TimeoutError
                    pass
            except ConnectionError:
                pass
            one.close()
        return "closed"

    def noise(self):
        for data in (os.urandom(4096), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + os.urandom(70000)):
            for port in (self.port, self.fleet.ports["enroll"]):
                with socket.create_connection(("127.0.0.1", port), 10) as one:
                    one.settimeout(30)
                    try:
                        one.sendall(data)
                        while one.recv(65536):
                            pass
                    except ConnectionError:
                        pass

    def http(self, request, statuses):
        """One raw HTTP/1.1 request to the API; the answer's status, or `closed`."""
        def run():
            with socket.create_connection(("127.0.0.1", self.fleet.ports["http"]), 10) as one:
                answer = b""
                one.settimeout(3)
                try:
                    one.sendall(request)
                except (ConnectionError, TimeoutError):
                    pass  # refused in the middle, or not read on
                one.settimeout(30)
                try:
                    answer = one.recv(65536)
                except ConnectionError:
                    pass
            status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else "closed"
            assert status in statuses, f"answered {status}, expected one of {statuses}"
            return str(status)
        return run

    def stall(self, request):
        """A request that never ends; its connection stays open until the collector stops, which it must not hold up."""
        def run():
            one = socket.create_connection(("127.0.0.1", self.fleet.ports["http"]), 10)
            one.sendall(request)
            self.stalled.append(one)
            return "held open"
        return run

    def query(self, path, name, text, statuses=(400, 422)):
        def run():
            body = urllib.parse.urlencode({name: text}).encode()
            try:
                with urllib.request.urlopen(self.fleet.url + path, body, timeout=60) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
                assert error.read(), "an error without a word"
            assert status in statuses, f"answered {status}"
            return str(status)
        return run


def attacks(siege):
    malformed = ("petrel_receive_malformed_total",)
    bomb = gzip.compress(b"\0" * (64 << 20))
    nested = b"\x7b" * 10_000  # 10,000 groups opened
    siege.attack("garbage for a message", siege.call(message(os.urandom(300))), malformed)
    siege.attack("garbage after a hello", siege.call(message(os.urandom(300)), first=hello()), malformed)
    siege.attack("10,000 nested groups", siege.call(message(nested)), malformed)
    siege.attack("a negative length", siege.call(message(b"\x0a" + b"\xff" * 9 + b"\x01")), malformed)
    siege.attack("a batch before the hello", siege.call(message(field(3, b"\x08\x01"))))
    siege.attack("a message of 6 MiB", siege.call(message(b"\0" * (6 << 20)), first=hello()), malformed)
    siege.attack("a message said to be 4 GiB", siege.call(
        message(b"x" * 100, length=0xffffffff), first=hello()), malformed)
    siege.attack("a compressed bomb", siege.call(message(bomb, True), [("grpc-encoding", "gzip")]))
    siege.attack("compressed without an encoding", siege.call(message(bomb[:1000], True), first=hello()), malformed)
    siege.attack("50,000 pings", siege.flood(lambda p, n: p.frame(PING, 0, 0, struct.pack(">Q", n)), 50_000))
    siege.attack("50,000 settings", siege.flood(lambda p, n: p.frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"), 50_000))

    def reset(peer, _):
        peer.frame(RESET, 0, peer.open(), struct.pack(">I", 8))
    siege.attack("20,000 calls reset at once", siege.flood(reset, 20_000))

    def endless(peer, n):
        if n == 0:
            peer.frame(HEADERS, 0, 1, header("a", "b"))
        peer.frame(CONTINUATION, 0, 1, header(f"x{n}", "y" * 100) * 100)
    siege.attack("headers without an end", siege.flood(endless, 2_000))

    def empty(peer, n):
        if n == 0:
            peer.open()
        peer.frame(DATA, 0, peer.stream, b"")
    siege.attack("50,000 empty frames", siege.flood(empty, 50_000))
    siege.attack("noise on both fleet ports", siege.noise)
    siege.attack("60 silent connections", siege.silent, ('reason="timeout"',))
    siege.attack("no certificate", siege.flood(lambda p, n: (p.frame(PING, 0, 0, b"12345678"), p.read()), 3, False),
                 ('petrel_receive_handshakes_refused_total{',))
    deep = "(" * 100_000 + "1" + ")" * 100_000
    siege.attack("PromQL nested 100,000 deep", siege.query("/prometheus/api/v1/query", "query", deep))
    siege.attack("PromQL of unary minus", siege.query("/prometheus/api/v1/query", "query", "-" * 100_000 + "1"))
    siege.attack("LogQL nested", siege.query("/loki/api/v1/query_range", "query", "sum(" * 50_000))
    siege.attack("a regular expression of 100 KB", siege.query(
        "/prometheus/api/v1/query", "query", 'up{a=~"' + "|".join(f"x{n}" for n in range(18_000)) + '"}', (200, 400, 422)))
    siege.attack("a regular expression that explodes", siege.query(
        "/prometheus/api/v1/query", "query", 'up{a=~"((a{1,50}){1,50}){1,50}"}', (400, 422)))
    line = b"POST /prometheus/api/v1/query HTTP/1.1\r\nHost: x\r\n"
    siege.attack("a body of 1 GiB announced", siege.http(
        line + b"Content-Length: 1073741824\r\n\r\n" + b"x" * (8 << 20), (400, 413, "closed")))
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    siege.attack("a body of chunks without an end", siege.http(
        line + form + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n", (413,)))
    siege.attack("a body that stops in the middle", siege.stall(line + b"Content-Length: 1000\r\n\r\nquery="))
    siege.attack("a header of 1 MiB", siege.http(line + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", (400, 413, 431, "closed")))
    siege.attack("two lengths", siege.http(line + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", (400, "closed")))


def run(fleet, state):
    """Returns connections to keep open over the collector's end."""
    siege = Siege(fleet, state)
    attacks(siege)
    peer = Peer(siege.port, state)
    peer.open()
    peer.send(hello())
    assert peer.outcome() == "answered"
    return [*siege.stalled, peer]
