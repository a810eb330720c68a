"""Sends reference lines to a collector's Loki push endpoint, from several processes; what is put off is sent again as it was."""
import http.client
import multiprocessing
import time
import urllib.parse

from loglines import literals, push_request

PATH = "/loki/api/v1/push"
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
RETRY_SECONDS = 0.1
# Slower than this, a server is given up.
RATE_MIN, SECONDS_MIN = 2_000, 300
# Up to so many lines are made beforehand, so that making them takes no time from the server.
READY_LINES_MAX = 400_000


class Refused(Exception):
    """The answer says that the same body would never be taken."""


class Pusher:
    """One connection. `retries` counts the requests that were sent again."""

    def __init__(self, url, deadline, path=PATH, headers=HEADERS):
        self.url, self.deadline, self.path, self.headers = urllib.parse.urlsplit(url), deadline, path, headers
        self.connection, self.retries = None, 0

    def send(self, body):
        """Sends until it is taken; seconds of the request that was. `body` stays the same, byte for byte."""
        while True:
            started = time.perf_counter()
            status, text = self.once(body)
            if status // 100 == 2:
                return time.perf_counter() - started
            if status // 100 == 4 and status != 429:
                raise Refused(f"{self.url.netloc} refuses lines: {status} {text[:300]!r}")
            if time.monotonic() > self.deadline:
                raise TimeoutError(f"{self.url.netloc} took too long; last answer: {status} {text[:300]!r}")
            self.retries += 1
            time.sleep(RETRY_SECONDS)

    def once(self, body):
        """(status, body) of the answer; status 0 where there was none."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
            self.connection.request("POST", self.path, body, self.headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, str(error).encode()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def body(reference, chunk):
    return literals(push_request(reference.chunk(chunk)))


def _sender(reference, url, numbers, deadline, start, results):
    """A process: sends the chunks `numbers` in their order."""
    try:
        is_ready = reference.count <= READY_LINES_MAX
        ready = [body(reference, n) for n in numbers] if is_ready else None
        start.wait()
        pusher, latencies, sent = Pusher(url, deadline), [], 0
        for place, number in enumerate(numbers):
            content = ready[place] if is_ready else body(reference, number)
            latencies.append(pusher.send(content))
            sent += len(content)
        pusher.close()
        results.put((latencies, sent, pusher.retries, None))
    except Exception as error:  # told to whoever started the process
        results.put(([], 0, 0, repr(error)))


class Sent:
    """What became of a push: seconds, latencies (seconds, sorted), bytes, retries."""

    def __init__(self, lines, seconds, latencies, size, retries):
        self.lines, self.seconds, self.latencies, self.bytes, self.retries = lines, seconds, sorted(latencies), size, retries

    @property
    def rate(self):
        return self.lines / self.seconds

    def latency_ms(self, share):
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1000


def push(reference, url, senders=3):
    """Sends all chunks of `reference`, oldest first; each sender has every n-th."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(senders + 1), context.Queue()
    limit = time.monotonic() + max(SECONDS_MIN, reference.count / RATE_MIN)
    processes = [context.Process(target=_sender, daemon=True, args=(
        reference, url, range(n, reference.chunks, senders), limit, start, results)) for n in range(senders)]
    for process in processes:
        process.start()
    try:
        start.wait(120)
        started = time.perf_counter()
        told = [results.get() for _ in processes]
        seconds = time.perf_counter() - started
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.terminate()
    failed = [error for *_, error in told if error]
    if failed:
        raise RuntimeError(failed[0])
    lines = reference.count + sum(len(entries) for entries in reference.planted.values())
    return Sent(lines, seconds, [x for latencies, *_ in told for x in latencies], sum(size for _, size, *_ in told),
                sum(retries for *_, retries, _ in told))
