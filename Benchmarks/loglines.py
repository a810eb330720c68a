"""Reference log lines: half Caddy access JSON, half JSON of an application, 651 bytes in the mean, the same for a seed.

They come in chunks, each the lines of one host in one slice of time, whatever process makes it: a chunk depends on the
seed and its number alone. Every Caddy line has a random trace id of its own; of the application's lines about six
of one service share one. What queries look for is planted where it can be counted beforehand.
"""
import random
import struct
import time

HOSTS = ("edge", "app", "db", "cache", "idp")
CHUNK_LINES = 1400
# Half of a chunk is Caddy's; the application's services share the rest.
SERVICES = (("api", 0.5), ("worker", 0.3), ("mailer", 0.2))
LINES_A_TRACE = 6
# A line with this word is in one of so many chunks, one with the other in all of them, seldom.
RARE, RARE_CHUNKS = "zugzwang", 97
ABSENT = "kwyjibo"
REGEX = "gave up after [0-9]+ attempts to reach (redis|valkey)"
EVERYWHERE = "level"
SECOND = 1_000_000_000
DAY = 86400 * SECOND

_TWO_GROUPS = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14)]


def varint(number):
    """As protocol buffers have it; the length of a line or the nanoseconds of a time."""
    if number >> 28:
        high = number >> 28
        return (_TWO_GROUPS[number & 16383] + _TWO_GROUPS[number >> 14 & 16383]
                + (bytes((high,)) if high < 128 else varint(high)))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTHS = [varint(n) for n in range(4096)]


def length(number):
    return _LENGTHS[number] if number < 4096 else varint(number)


def labels_text(labels):
    """As Loki writes a stream's labels."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def push_request(streams):
    """A PushRequest of [(labels' text, [(nanoseconds, line)])]; not compressed. Source: Loki's push.proto."""
    parts = []
    for labels, entries in streams:
        name = labels.encode()
        content = [b"\x0a" + length(len(name)) + name]
        second, head = None, b""
        for at, line in entries:
            now, rest = divmod(at, SECOND)
            if now != second:
                second, head = now, b"\x08" + varint(now) + b"\x10"
            stamp = head + varint(rest)
            text = b"\x12" + length(len(line)) + line
            content.append(b"\x12" + length(len(stamp) + len(text) + 2) + b"\x0a" + _LENGTHS[len(stamp)] + stamp + text)
        body = b"".join(content)
        parts += [b"\x0a", varint(len(body)), body]
    return b"".join(parts)


def literals(data):
    """A block of Snappy's with literals only: valid, not smaller."""
    out = [varint(len(data))]
    for at in range(0, len(data), 1 << 16):
        part = data[at:at + (1 << 16)]
        out += [b"\xf4", (len(part) - 1).to_bytes(2, "little"), part]
    return b"".join(out)


class Pool:
    """Texts of which few are common and many are rare; any 16 bits choose one."""

    def __init__(self, rng, texts, slope=1.0):
        weights = [1 / (rank + 2) ** slope for rank in range(len(texts))]
        shares = rng.choices([text.encode() for text in texts], weights, k=1 << 16)
        self.texts = shares

    def __getitem__(self, bits):
        return self.texts[bits]


def _uris(rng):
    words = ("login cart orders items search static assets css js img api v1 users profile settings help blog news product "
             "category checkout payment invoice report export media thumb avatar feed tag archive").split()
    found = ["/", "/health", "/api/v1/items", "/api/v1/cart", "/favicon.ico", "/robots.txt", "/assets/app.js"]
    for _ in range(12_000):
        path = "/" + "/".join(rng.choices(words, k=rng.randint(1, 4)))
        kind = rng.random()
        if kind < 0.35:
            path += f"/{rng.randint(1, 999_999)}"
        elif kind < 0.5:
            path += f"/{rng.getrandbits(40):010x}.{rng.choice(('js', 'css', 'png', 'webp', 'woff2'))}"
        elif kind < 0.7:
            path += f"?page={rng.randint(1, 60)}&sort={rng.choice(('new', 'price', 'name'))}"
        elif kind < 0.8:
            path += f"?q={rng.choice(words)}+{rng.choice(words)}&utm_source={rng.choice(words)}"
        found.append(path)
    return found


def _agents(rng):
    found = []
    for _ in range(350):
        major, build = rng.randint(96, 142), rng.randint(0, 6500)
        found.append(rng.choice((
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.0"
            " Safari/537.36",
            f"Mozilla/5.0 (iPhone; CPU iPhone OS {rng.randint(14, 18)}_{rng.randint(0, 6)} like Mac OS X) AppleWebKit/605.1.15"
            f" (KHTML, like Gecko) Version/{rng.randint(14, 18)}.{rng.randint(0, 6)} Mobile/15E148 Safari/604.1",
            f"Mozilla/5.0 (X11; Linux x86_64; rv:{major}.0) Gecko/20100101 Firefox/{major}.0",
            f"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/{major}.0.{build}.0",
            f"kube-probe/1.{rng.randint(24, 34)}", f"curl/8.{rng.randint(0, 16)}.0")))
    return found


def _messages():
    """(logger, level, text, route) of an application, the common ones first."""
    routes = ("GET /api/v1/items", "POST /api/v1/cart", "GET /api/v1/orders/:id", "POST /api/v1/orders", "GET /health")
    told = [
        ("http", "info", "request completed"), ("orders", "info", "order was accepted and is on its way"),
        ("cache", "debug", "cache miss, asking the database"), ("db", "info", "query finished"),
        ("queue", "info", "job was taken from the queue"), ("auth", "info", "session was renewed"),
        ("mail", "info", "message handed to the relay"), ("pay", "info", "payment was authorised by the bank"),
        ("http", "warn", "slow request, more than a second"), ("db", "warn", "connection pool is nearly exhausted"),
        ("queue", "error", "job failed and will be tried again"), ("pay", "error", "payment was declined by the bank"),
    ]
    return [(logger, level, text, route) for logger, level, text in told for route in routes]


class Reference:
    """`count` lines that end at `end_ns`, `per_day` of them a day. `planted` traces of six lines come on top."""

    def __init__(self, count, end_ns, per_day=5_000_000, seed=1, planted=0):
        self.count, self.per_day, self.seed = count, per_day, seed
        per_slice = CHUNK_LINES * len(HOSTS)
        self.slices = max(1, -(-count // per_slice))
        self.slice_ns = max(1, per_slice * DAY // per_day)
        self.end_ns = end_ns
        self.start_ns = end_ns - self.slices * self.slice_ns
        self._make_pools()
        self.streams = {(host, service): labels_text(self.labels(host, service))
                        for host in HOSTS for service in ("caddy", *(name for name, _ in SERVICES))}
        self.planted = self._plant(planted)

    @staticmethod
    def labels(host, service):
        if service == "caddy":
            return {"host": host, "source": "file", "service_name": "caddy", "filename": "/var/log/caddy/access.log"}
        return {"host": host, "source": "docker", "service_name": service, "container": f"shop-{service}-1"}

    @property
    def chunks(self):
        return self.slices * len(HOSTS)

    def lines_of(self, chunk):
        """How many lines a chunk has, planted ones not counted: the last slice may have fewer."""
        if chunk // len(HOSTS) < self.slices - 1:
            return CHUNK_LINES
        left = self.count - (self.slices - 1) * CHUNK_LINES * len(HOSTS)
        return left // len(HOSTS) + (chunk % len(HOSTS) < left % len(HOSTS))

    @property
    def rare_count(self):
        return sum(1 for chunk in range(0, self.chunks, RARE_CHUNKS) if self.lines_of(chunk) > 10)

    def slice_start(self, number):
        return self.start_ns + number * self.slice_ns

    def trace_ids(self, chunk):
        """The trace ids of the application's lines in a chunk, in the order of time."""
        count = -(-(self.lines_of(chunk) - self.lines_of(chunk) // 2) // LINES_A_TRACE)
        raw = random.Random(f"{self.seed} trace {chunk}").randbytes(16 * max(1, count)).hex()
        return [raw[at:at + 32].encode() for at in range(0, len(raw), 32)]

    def some_trace_ids(self, count):
        """`count` ids from all of the time, each with the number of its lines."""
        rng, found = random.Random(f"{self.seed} some"), []
        while len(found) < count:
            chunk = rng.randrange(self.chunks)
            trace = rng.choice(self.trace_ids(chunk))
            holders = sum(trace in line for _, entries in self.chunk(chunk) for _, line in entries)
            if holders:
                found.append((trace.decode(), holders))
        return found

    def chunk(self, number):
        """[(labels' text, [(nanoseconds, line)])] of one host and slice, entries in the order of time."""
        slice_, host = divmod(number, len(HOSTS))
        count = self.lines_of(number)
        rng = random.Random(f"{self.seed} chunk {number}")
        start, step = self.slice_start(slice_), self.slice_ns / max(1, count)
        caddy = count // 2
        # Every second line is Caddy's: times are spread over both alike.
        ticks = [start + int((k + x) * step) for k, x in enumerate(self._fractions(rng, count))]
        name = HOSTS[host]
        found = [(self.streams[name, "caddy"], self._caddy(rng, ticks[1::2]))]
        found += self._app(rng, name, ticks[::2], number)
        if number % RARE_CHUNKS == 0 and count > 10:
            entries = found[1][1]
            at, line = entries[len(entries) // 2]
            entries[len(entries) // 2] = (at, line.replace(b'"msg":"', b'"msg":"' + RARE.encode() + b" in the ledger: "))
        assert len(found[0][1]) == caddy
        for service, entry in self.planted.get(number, ()):
            entries = next(e for labels, e in found if labels == self.streams[name, service])
            entries.append(entry)
            entries.sort(key=lambda pair: pair[0])
        return [(labels, entries) for labels, entries in found if entries]

    @staticmethod
    def _fractions(rng, count):
        return [x / 65536 for x, in struct.iter_unpack("<H", rng.randbytes(2 * count))]

    def _make_pools(self):
        rng = random.Random(f"{self.seed} pools")
        def address():
            return ".".join(str(rng.randint(1, 254)) for _ in range(4))
        # A client comes with one browser, by one edge; a path has its size, most of the time.
        agents, uris = _agents(rng), _uris(rng)
        edges = [f"172.{rng.randint(64, 71)}.{rng.randint(0, 254)}.{rng.randint(1, 254)}" for _ in range(60)]
        self.clients = Pool(rng, [f"{rng.choice(edges)} {address()} {rng.choice(agents)}" for _ in range(4000)], 1.2)
        self.clients.texts = [tuple(text.split(b" ", 2)) for text in self.clients.texts]
        heads = []
        for uri in uris:
            method = "POST" if uri.startswith("/api") and rng.random() < 0.3 else "GET"
            referer = rng.choice(uris[:400])
            heads.append(f'"proto":"HTTP/2.0","method":"{method}","host":"shop.example.com","uri":"{uri}"'
                         f" https://shop.example.com{referer} {rng.randint(120, 90_000)}")
        self.heads = Pool(rng, heads, 1.2)
        self.heads.texts = [tuple(text.split(b" ")) for text in self.heads.texts]
        kinds = ["text/html; charset=utf-8", "application/json", "text/css; charset=utf-8", "image/webp"]
        self.answers = Pool(rng, [
            f'"status":{status},"resp_headers":{{"Server":["Caddy"],"Content-Type":["{kind}"],'
            f'"Strict-Transport-Security":["max-age=31536000"]}}'
            for status in (200, 304, 404, 302, 499, 500, 502) for kind in kinds], 2)
        self.messages = Pool(rng, [
            f'","level":"{level}","logger":"shop.{logger}","msg":"{text}","route":"{route}","trace_id":"'
            for logger, level, text, route in _messages()], 1.2)

    def _caddy(self, rng, ticks):
        entries, raw = [], rng.randbytes(16 * len(ticks))
        ids = rng.randbytes(16 * len(ticks)).hex().encode()
        clients, heads, answers = self.clients.texts, self.heads.texts, self.answers.texts
        for n, (client, head, answer, port, more, took) in enumerate(struct.iter_unpack("<HHHHII", raw)):
            at, (edge, who, agent), (asked, referer, size), told = ticks[n], clients[client], heads[head], answers[answer]
            level = b"error" if told.startswith(b'"status":50') else b"info"
            if more % 8 == 0:
                size = b"%d" % (more % 60_000)
            entries.append((at, b'{"level":"%b","ts":%d.%07d,"logger":"http.log.access.log0","msg":"handled request",'
                            b'"request":{"remote_ip":"%b","remote_port":"%d","client_ip":"%b",%b,"headers":{"User-Agent":["%b"],'
                            b'"Accept":["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],"Accept-Encoding":'
                            b'["gzip, br"],"Accept-Language":["en-US,en;q=0.5"],"Cf-Connecting-Ip":["%b"],"Cf-Visitor":'
                            b'["{\\"scheme\\":\\"https\\"}"],"Referer":["%b"],"Cookie":["REDACTED"]},"tls":'
                            b'{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"shop.example.com"}},'
                            b'"bytes_read":0,"user_id":"","duration":0.%09d,"size":%b,%b,"traceID":"%b"}' % (
                                level, at // SECOND, at % SECOND // 100, edge, 1024 + client % 60_000 + port % 4, who, asked,
                                agent, who, referer, took % 300_000_000 + 400_000, size, told, ids[32 * n:32 * n + 32])))
        return entries

    def _app(self, rng, host, ticks, chunk):
        found = {name: [] for name, _ in SERVICES}
        traces = self.trace_ids(chunk)
        # All lines of a trace are of one service.
        kept = [found[name] for name in rng.choices([n for n, _ in SERVICES], [s for _, s in SERVICES], k=len(traces))]
        spans = rng.randbytes(8 * len(ticks)).hex().encode()
        messages, second, text = self.messages.texts, None, b""
        for n, (near, user, message, took) in enumerate(struct.iter_unpack("<HHHI", rng.randbytes(10 * len(ticks)))):
            at = ticks[n]
            now, rest = divmod(at, SECOND)
            if now != second:
                second, text = now, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(now)).encode()
            # Two requests are under way at a time, more or less.
            place = min(len(traces) - 1, max(0, n // LINES_A_TRACE + near % 3 - 1))
            told = messages[message]
            if near < 8:
                told = told.replace(b'"msg":"', b'"msg":"gave up after %d attempts to reach %b, ' % (
                    3 + user % 5, b"redis" if user % 2 else b"valkey"))
            kept[place].append((at, b'{"time":"%b%06dZ%b%b","span_id":"%b","user_id":%d,"took_ms":%d.%d,"env":"prod"}' % (
                text, rest // 1000, told, traces[place], spans[16 * n:16 * n + 16], user % 5000, took % 90, took % 10)))
        return [(self.streams[host, name], found[name]) for name, _ in SERVICES]

    def _plant(self, count):
        """{chunk: [(service, (nanoseconds, line))]} of `count` traces of six lines that visit all hosts in their order."""
        self.plants, found = {}, {}
        rng = random.Random(f"{self.seed} plant")
        for _ in range(count):
            trace = rng.randbytes(16).hex()
            slice_ = rng.randrange(self.slices)
            at = self.slice_start(slice_) + rng.randrange(self.slice_ns * 9 // 10)
            visits = []
            for n in range(LINES_A_TRACE):
                host = n % len(HOSTS)
                service = "caddy" if n == 0 else SERVICES[n % len(SERVICES)][0]
                at += rng.randrange(1, 2_000_000)
                line = (b'{"level":"info","msg":"planted step %d of a trace","%b":"%b","span_id":"%b"}' % (
                    n, b"traceID" if n == 0 else b"trace_id", trace.encode(), rng.randbytes(8).hex().encode()))
                visits.append((HOSTS[host], at, line))
                found.setdefault(slice_ * len(HOSTS) + host, []).append((service, (at, line)))
            self.plants[trace] = visits
        return found
