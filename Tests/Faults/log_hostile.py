"""Hostile lines through the agent's file and through pushes: kept byte for byte, or cut with a marker; found; shown escaped.

Then pushes that are none: each is refused with a clear answer, and the collector is the same process afterwards.
"""
import gzip
import json
import os
import re
import socket
import subprocess
import time
import urllib.parse

import log_request
from harness import Fleet, Meter, wait_until
from write_request import field, snappy

LINE_MAX = 256 << 10
MIB = 1 << 20
HUGE_BYTES = 100 * MIB
AGENT_RSS_MAX_MIB = 60
COLLECTOR_GROWTH_MAX_MIB = 256
VIEW_LINES = 100

# Each begins with a name of its own; none holds a line feed.
LINES = {
    "nul": b"h-nul \x00 middle \x00\x00 end\x00",
    "invalid": b"h-invalid \xff\xfe \xc3( overlong \xc0\xaf surrogate \xed\xa0\x80 cut \xf0\x9f\x92 end",
    "ansi": b"h-ansi \x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[1;1H end",
    "bidi": "h-bidi user\u202e\u2066 nimda \u2069\u2067\u200f\u200e\ufeff\u2028\u2029 end".encode(),
    "controls": b"h-controls " + bytes(n for n in range(1, 32) if n not in (10, 13)) + b"\x7f\xc2\x80\xc2\x9b31m end",
    "high": b"h-high " + bytes(range(128, 256)) + b" end",
    "carriage": b"h-carriage real\rfake: all is well \x0b\x0c end",
    "separators": b"h-separators \x1e record \x1f unit \x1c file \x1d group \\x1e \\036 end",
    "quotes": b'h-quotes "\\" \\u0000 {"a": "\\ud800", "b": [[[[ end',
    "json": b'{"id":"h-json","level":"err\\u0000or","trace_id":"\\u202e' + b"a" * 300 + b'","n":1e999999}',
    "deep": b'h-deep ' + b'{"a":' * 20_000 + b"end",
    "sql": b"h-sql '; DROP TABLE petrel.log_block; -- \\. $$ end",
    "copy": b"h-copy \\N \\. \t tab \\t end",
    "spaces": b"h-spaces   end \t  ",
    "limit": b"h-limit " + b"L" * (LINE_MAX - 12) + b" end",
}
LONG = b"h-long " + b"x" * MIB + b" end"
INTENDED = {"long": len(LONG), "huge": len(b"h-huge ") + HUGE_BYTES}


def escaped(line):
    """A text of LogQL that stands for exactly these bytes."""
    return '"' + "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in line) + '"'


def write_file(path):
    with open(path, "ab") as file:
        for line in LINES.values():
            file.write(line + b"\n")
        file.write(LONG + b"\n")
        file.write(b"h-huge ")
        for _ in range(HUGE_BYTES // MIB):
            file.write(b"y" * MIB)
            file.flush()
        file.write(b"\nh-after the huge one\n")


def check(fleet, service, names):
    """What is wrong with the lines of a service, as texts."""
    wrong, selector = [], f'{{service_name="{service}"}}'
    for name in names:
        line = LINES[name]
        # A text of a query is bounded; the end of a long line tells enough beside its length.
        needles = [line] if len(line) < 1000 else [line[:500], line[-300:]]
        filters = " ".join(f"|= {escaped(needle)}" for needle in needles)
        try:
            count = log_request.number(fleet, f"sum(count_over_time({selector} {filters} [1h]))")
            size = log_request.number(fleet, f"sum(bytes_over_time({selector} {filters} [1h]))")
            shown = log_request.lines(fleet, f"{selector} {filters}")
        except OSError as error:
            wrong.append(f"{name}: {error}")
            continue
        if (count, size) != (1, len(line)):
            wrong.append(f"{name}: {count:.0f} lines of {size:.0f} bytes, and not 1 of {len(line)}")
        # What is no UTF-8 is shown as U+FFFD, one or more.
        bare = [re.sub("\ufffd+", "\ufffd", text) for _, text, _ in shown]
        if bare != [re.sub("\ufffd+", "\ufffd", line.decode(errors="replace"))]:
            wrong.append(f"{name}: shown as {str(bare)[:200]}")
    return wrong


def check_sql(fleet, service, names):
    """The bytes themselves."""
    stored = set(fleet.sql(f"SELECT encode(line_bytes, 'hex') FROM petrel.log WHERE labels->>'service_name' = '{service}'"
                           " AND octet_length(line_bytes) < 300000").splitlines())
    return [f"{name}: not in petrel.log as it was" for name in names if LINES[name].hex() not in stored]


def check_cut(fleet, service, names):
    wrong = []
    for name in names:
        selector = f'{{service_name="{service}"}} |= "h-{name} " | petrel_cut="{INTENDED[name]}"'
        try:
            count = log_request.number(fleet, f"sum(count_over_time({selector} [1h]))")
            size = log_request.number(fleet, f"sum(bytes_over_time({selector} [1h]))")
        except OSError as error:
            wrong.append(f"{name}: {error}")
            continue
        if count != 1 or not LINE_MAX // 2 <= size <= LINE_MAX:
            wrong.append(f"{name}: {count:.0f} lines of {size:.0f} bytes with petrel_cut={INTENDED[name]}")
    return wrong


def check_shown(fleet, service):
    """`petrel logs` must not let a line steer a terminal."""
    done = subprocess.run(
        [fleet.program("petrel"), "logs", f'{{service_name="{service}"}}', "--url", fleet.url, "--limit", str(VIEW_LINES)],
        capture_output=True, timeout=120)
    text = done.stdout.decode()
    bad = sorted({char for char in text if char != "\n" and (
        ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u200e\u200f\u2066"
        "\u2067\u2068\u2069\ufeff")})
    missing = [name for name in LINES if f"h-{name}" not in text]
    print(f"  petrel logs: exit {done.returncode}, {len(text):,} characters, {text.count(chr(10))} lines", flush=True)
    assert done.returncode == 0, done.stderr.decode()[:500]
    assert not bad, f"petrel logs prints {bad}"
    return [f"petrel logs does not show {name}" for name in missing if name != "json"]


def push_lines(fleet):
    """All lines by protobuf, those that JSON can say by JSON too."""
    push, now = log_request.Push(fleet.url), time.time_ns()
    entries = [(now + n, line, {"note": "\x00\x1b[31m\u202e", "n": str(n)}) for n, line in enumerate(LINES.values())]
    status, text = push.send([({"service_name": "pushed", "host": "x"}, entries)])
    assert status == 204, f"protobuf: {status} {text[:300]}"
    texts = [(name, line.decode()) for name, line in LINES.items() if is_text(line)]
    body = json.dumps({"streams": [{"stream": {"service_name": "json"}, "values": [
        [str(now + n), text, {"note": "\x00\u202e"}] for n, (_, text) in enumerate(texts)]}]})
    status, text = push.post(gzip.compress(body.encode()), "application/json", "gzip")
    assert status == 204, f"JSON: {status} {text[:300]}"
    # More than a line may have: refused as Loki does, or cut with a marker.
    status, text = push.send([({"service_name": "pushed", "host": "x"}, [(now + 100, LONG)])])
    print(f"  a pushed line of 1 MiB: {status} {text.strip()[:120]}", flush=True)
    if status // 100 == 2:
        return [name for name, _ in texts], ["long"]
    assert status == 400 and "max entry size" in text, f"1 MiB: {status} {text[:300]}"
    return [name for name, _ in texts], []


def is_text(line):
    try:
        line.decode()
        return True
    except UnicodeDecodeError:
        return False


def bad_pushes(now):
    """(name, body, type, encoding) that must be refused with 400 or its like."""
    ok = [({"a": "b"}, [(now, b"line")])]
    message = log_request.message(ok)
    stamp = str(now)

    def labels(text):
        return field(1, field(1, text.encode()) + field(2, field(1, b"\x08\x01") + field(2, b"x")))
    as_json = "application/json"
    return [
        ("no snappy", message, "application/x-protobuf", None),
        ("a snappy length that lies", b"\xff\xff\xff\xff\x0f" + snappy(message)[1:], "application/x-protobuf", None),
        ("cut protobuf", snappy(message[:-3]), "application/x-protobuf", None),
        ("a bomb", snappy(b"") + b"\xfe\x01\x00" * 1000, "application/x-protobuf", None),
        ("labels without end", snappy(labels('{a="b')), "application/x-protobuf", None),
        ("a label twice", snappy(labels('{a="1", a="2"}')), "application/x-protobuf", None),
        ("a label with a bad name", snappy(labels('{a-b="1"}')), "application/x-protobuf", None),
        ("a selector for labels", snappy(labels('{a=~"b"}')), "application/x-protobuf", None),
        ("a long label", snappy(labels('{a="' + "v" * 5000 + '"}')), "application/x-protobuf", None),
        ("many labels", snappy(labels("{" + ",".join(f'l{n}="v"' for n in range(40)) + "}")), "application/x-protobuf", None),
        ("the future", snappy(log_request.message([({"a": "b"}, [(now + 3 * 3600 * 10**9, b"x")])])), "application/x-protobuf",
         None),
        ("a number for a time", b'{"streams":[{"stream":{"a":"b"},"values":[[%d,"x"]]}]}' % now, as_json, None),
        ("half of JSON", b'{"streams":[{"stream":{"a":"b"},"values":[["' + stamp.encode(), as_json, None),
        ("JSON without end", b"[" * 200_000, as_json, None),
        ("no object", b"17", as_json, None),
        ("an object for a line", ('{"streams":[{"stream":{"a":"b"},"values":[["%s",{}]]}]}' % stamp).encode(), as_json, None),
        ("no gzip", b"not gzip", as_json, "gzip"),
        ("a gzip bomb", gzip.compress(b'{"streams":[{"stream":{"a":"' + b"x" * (200 * MIB), 9), as_json, "gzip"),
        ("another encoding", message, "application/x-protobuf", "br"),
        ("no type that is known", message, "text/csv", None),
    ]


def refuse(fleet):
    """Every bad push is refused; a body of 100 MiB is not taken in."""
    wrong = []
    for name, body, kind, encoding in bad_pushes(time.time_ns()):
        push = log_request.Push(fleet.url)
        status, text = push.post(body, kind, encoding)
        push.close()
        told = text.strip()[:100].replace("\n", " ")
        print(f"  {name}: {status} {told}", flush=True)
        if status not in (400, 413, 415, 422) or not text.strip():
            wrong.append(f"{name}: {status}")
    status = big_body(fleet)
    print(f"  100 MiB: {status}", flush=True)
    if not any(code in status for code in ("400", "413", "cut")):
        wrong.append(f"100 MiB: {status}")
    return wrong


def big_body(fleet):
    """Sends 100 MiB on a raw socket; the answer's first line, or that the connection was cut."""
    place = urllib.parse.urlsplit(fleet.url)
    with socket.create_connection((place.hostname, place.port), 60) as raw:
        raw.sendall(f"POST {log_request.PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {HUGE_BYTES}\r\n\r\n".encode())
        try:
            for _ in range(HUGE_BYTES // MIB):
                raw.sendall(b" " * MIB)
        except TimeoutError:
            return "nothing taken within 60 s"
        except OSError:
            pass  # it has seen enough
        try:
            return raw.recv(200).split(b"\r\n")[0].decode() or "cut"
        except TimeoutError:
            return "nothing said within 60 s"
        except OSError:
            return "cut"


def told(where, wrong):
    for text in wrong:
        print(f"  WRONG {where}, {text}", flush=True)
    return wrong


def run(options, _):
    with Fleet(options.programs) as fleet:
        path = os.path.join(fleet.folder, "hostile.log")
        open(path, "ab").close()
        fleet._write("agent.yaml", f"""
metrics: {{interval: 1s}}
logs:
  journal: {{enabled: false}}
  files: [{{path: {path}, service: hostile}}]
""")
        fleet.up()
        meter = Meter(fleet)
        pid, before = fleet.collector.process.pid, Meter.rss_mib(fleet.collector.process.pid)
        meter.start()
        write_file(path)
        wait_until("the line behind the huge one", 180, lambda: log_request.number(
            fleet, 'sum(count_over_time({service_name="hostile"} |= "h-after" [1h]))') == 1, 0.5)
        wrong = told("agent", check(fleet, "hostile", LINES) + check_sql(fleet, "hostile", LINES)
                     + check_cut(fleet, "hostile", ["long", "huge"]) + check_shown(fleet, "hostile"))
        texts, cut = push_lines(fleet)
        wrong += told("push", check(fleet, "pushed", LINES) + check_sql(fleet, "pushed", LINES)
                      + check_cut(fleet, "pushed", cut) + check_shown(fleet, "pushed"))
        wrong += told("JSON push", check(fleet, "json", texts))
        wrong += told("refusals", refuse(fleet))
        meter.finish()
        print(f"  peak RSS: agent {meter.peak['agent']:.0f} MiB, collector {before:.0f} MiB before,"
              f" {meter.peak['collector']:.0f} at most", flush=True)
        assert fleet.collector.process.pid == pid and fleet.collector.running, "the collector ended"
        assert not wrong, f"{len(wrong)} wrong"
        assert meter.peak["agent"] <= AGENT_RSS_MAX_MIB, f"the agent took {meter.peak['agent']:.0f} MiB"
        assert meter.peak["collector"] - before <= COLLECTOR_GROWTH_MAX_MIB, "the collector took too much"
