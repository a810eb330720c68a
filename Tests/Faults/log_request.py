"""Pushes to Loki's endpoint without a library; numbers of what is stored, by the API."""
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

from write_request import field, snappy, varint

PATH = "/loki/api/v1/push"
RETRY_SECONDS = 0.2
SECOND = 1_000_000_000


def message(streams):
    """A PushRequest of [(labels, [(nanoseconds, line, metadata or None)])]: labels and metadata as dictionaries.

    Source: Loki's push.proto.
    """
    body = b""
    for labels, entries in streams:
        text = "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
        content = [field(1, text.encode())]
        for at, line, *more in entries:
            stamp = b"\x08" + varint(at // SECOND) + b"\x10" + varint(at % SECOND)
            entry = field(1, stamp) + field(2, line)
            for name, value in (more[0] if more and more[0] else {}).items():
                entry += field(3, field(1, name.encode()) + field(2, value.encode()))
            content.append(field(2, entry))
        body += field(1, b"".join(content))
    return body


class Push:
    """A connection that pushes; `retries` counts bodies that were sent again, byte for byte the same."""

    def __init__(self, url, seconds=30):
        self.place, self.seconds = urllib.parse.urlsplit(url), seconds
        self.connection, self.retries, self.statuses = None, 0, {}

    def post(self, body, kind="application/x-protobuf", encoding=None):
        """(status, text); status 0 where no answer came."""
        headers = {"Content-Type": kind}
        if encoding:
            headers["Content-Encoding"] = encoding
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=self.seconds)
            self.connection.request("POST", PATH, body, headers)
            answer = self.connection.getresponse()
            status, text = answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            status, text = 0, str(error)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status, text

    def send(self, streams):
        return self.post(snappy(message(streams)))

    def insist(self, streams):
        """Sends the same bytes until they are taken."""
        body = snappy(message(streams))
        while True:
            status, text = self.post(body)
            if status // 100 == 2:
                return
            assert status == 0 or status == 429 or status >= 500, f"the push is refused: {status} {text[:300]}"
            self.retries += 1
            time.sleep(RETRY_SECONDS)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def loki(fleet, path, **parameters):
    """(status, JSON or text) of Loki's API."""
    url = f"{fleet.url}/loki/api/v1{path}?" + urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, str(error)


def number(fleet, expression):
    """The one number of an instant query, 0 where it has none."""
    status, told = loki(fleet, "/query", query=expression)
    if status != 200:
        raise OSError(f"{expression}: {status} {str(told)[:200]}")
    result = told["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def lines(fleet, expression, **parameters):
    """[(nanoseconds, line, stream's labels)] of a log query, oldest first."""
    status, told = loki(fleet, "/query_range", **{"query": expression, "direction": "forward", "limit": 5000, **parameters})
    if status != 200:
        raise OSError(f"{expression}: {status} {str(told)[:200]}")
    found = [(int(value[0]), value[1], stream["stream"]) for stream in told["data"]["result"] for value in stream["values"]]
    return sorted(found, key=lambda entry: entry[0])
