"""Prometheus remote write 1.0, without a library."""
import struct
import urllib.request


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def snappy(data):
    """A block of literals only: valid, not smaller."""
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += b"\xf4" + (len(part) - 1).to_bytes(2, "little") + part
    return bytes(out)


def send(base, series):
    """series: [(labels, [(ms, value)])]; in requests of a bounded size, oldest part first."""
    for at in range(0, len(series), 500):
        body = b""
        for labels, samples in series[at:at + 500]:
            content = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
            content += b"".join(field(2, b"\x09" + struct.pack("<d", v) + b"\x10" + varint(t)) for t, v in samples)
            body += field(1, content)
        request = urllib.request.Request(base.rstrip("/") + "/api/v1/write", snappy(body), {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status in (200, 204), answer.status
