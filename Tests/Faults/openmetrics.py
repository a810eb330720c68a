"""An OpenMetrics target whose exemplars, start timestamps and units must arrive, while agent and collector are killed.

The target is the oracle: it remembers which exemplar it showed how often. One that was shown three times, and so twice to one
life of the agent, must be stored once.
"""
import json
import os
import signal
import threading
import time

from harness import Fleet, MetricsServer, pause, wait_until

HOLD_SECONDS = 7  # nine exemplars a series and minute; the store takes ten


class Target:
    CREATED = 1_700_000_000.123

    def __init__(self):
        self.shown, self.lock = {}, threading.Lock()
        self.server = MetricsServer(self.text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.address = self.server.address

    def exemplar(self, name, value):
        step = int(time.time() / HOLD_SECONDS)
        trace = f"{name}-{step}"
        with self.lock:
            self.shown[trace] = self.shown.get(trace, 0) + 1
        return f'# {{trace_id="{trace}",span_id="s"}} {value} {step * HOLD_SECONDS}.25'

    def text(self):
        n = int(time.time())
        lines = ["# HELP om_work_seconds Work.", "# TYPE om_work_seconds counter", "# UNIT om_work_seconds seconds"]
        for worker in ("a", "b", "c"):
            lines.append(f'om_work_seconds_total{{worker="{worker}"}} {n} ' + self.exemplar(worker, 0.5))
            lines.append(f'om_work_seconds_created{{worker="{worker}"}} {self.CREATED}')
        lines += ["# TYPE om_size_bytes histogram", "# UNIT om_size_bytes bytes",
                  'om_size_bytes_bucket{le="1.0"} 1 ' + self.exemplar("low", 0.25),
                  'om_size_bytes_bucket{le="+Inf"} 2 ' + self.exemplar("high", 7),
                  "om_size_bytes_count 2", "om_size_bytes_sum 7.25", f"om_size_bytes_created {self.CREATED + 1}",
                  "# TYPE om_plain counter", 'om_plain_total 1 # {trace_id="untimed"} 1', "# TYPE om_gauge gauge", "om_gauge 3"]
        return "\n".join(lines) + "\n# EOF\n"

    def close(self):
        self.server.shutdown()


class Bytes:
    """Reads a row's `data` as docs/formats/chunk.md says, as far as one sample a series goes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def integer(self):
        """The one number of an integer column."""
        order, step, base = self.take(1)[0], self.varint(), self.signed()
        assert order == 0, order
        width, least = self.take(1)[0], self.signed()
        return base + step * (least + int.from_bytes(self.take((width + 7) // 8), "little"))

    def value(self):
        kind = self.take(1)[0]
        if kind == 0:
            self.take(8)
        elif kind == 1:
            self.take(1)
            for _ in range(self.varint()):
                self.varint()
                self.take(8)
            self.integer()
        else:
            self.integer()
            self.take(6)


def starts(data):
    """The start timestamp of each entry of a row, 0 where it has none."""
    found, row = [], Bytes(data)
    while row.at < len(data):
        chunk = Bytes(row.take(row.varint()))
        chunk.take(5)
        slots, times = chunk.varint(), chunk.varint()
        assert times == 1, times
        chunk.integer()
        for length in [chunk.varint() for _ in range(slots)]:
            slot = Bytes(chunk.take(length))
            flags = slot.take(1)[0]
            assert flags in (0, 2), flags
            slot.value()
            found.append(slot.integer() if flags == 2 else 0)
    return found


def stored_starts(fleet):
    names = dict(line.split("|") for line in fleet.sql("SELECT id, metric FROM petrel.series").splitlines())
    found = {}
    for line in fleet.sql("SELECT array_to_string(series, ','), encode(data, 'hex') FROM petrel.ingest_batch"
                          " WHERE data IS NOT NULL AND host_id <> 0").splitlines():
        series, data = line.split("|")
        for number, start in zip(series.split(","), starts(bytes.fromhex(data))):
            found.setdefault(names[number], set()).add(start)
    return found


def run(options, kills):
    target = Target()
    agent = f"metrics: {{interval: 1s}}\nlogs: {{journal: {{enabled: false}}}}\nscrape:\n- job_name: om\n" \
            f"  static_configs: [{{targets: ['{target.address}']}}]\n"
    try:
        with Fleet(options.programs, agent_yaml=agent).up() as fleet:
            wait_until("first samples stored", 60, lambda: fleet.query("om_gauge"))
            for n in range(kills):
                pause(HOLD_SECONDS + 1.0, HOLD_SECONDS + 3.0)
                program = fleet.agent if n % 2 else fleet.collector
                program.kill(signal.SIGKILL)
                pause(0.0, 0.5)
                program.start()
                fleet.wait_ready()
            pause(HOLD_SECONDS, HOLD_SECONDS + 1.0)
            fleet.agent.stop()
            with target.lock:
                wanted = {trace for trace, count in target.shown.items() if count >= 3}
            # What is still in the spool goes with the next start.
            target.shown.clear()
            fleet.agent.start()

            def stored():
                rows = fleet.sql("SELECT trace_id, count(*) FROM petrel.exemplar GROUP BY 1").splitlines()
                return {trace: int(count) for trace, count in (row.split("|") for row in rows)}
            wait_until("all exemplars stored", 60, lambda: wanted <= stored().keys())
            counts = stored()
            more = {trace for trace, count in counts.items() if count > 1 and trace != "untimed"}
            print(f"  exemplars shown {len(wanted)}  stored {len(counts)}  more than once {len(more)}", flush=True)
            assert len(wanted) > 5 * kills and not more, more
            assert counts["untimed"] <= kills + 2, counts["untimed"]
            now = time.time()
            answer = json.loads(fleet.get(
                "/prometheus/api/v1/query_exemplars", query='om_work_seconds_total{worker="a"}', start=now - 3600, end=now))
            labels = [e["labels"]["trace_id"] for s in answer["data"] for e in s["exemplars"]]
            assert {t for t in wanted if t.startswith("a-")} <= set(labels), labels
            metadata = json.loads(fleet.get("/prometheus/api/v1/metadata"))["data"]
            assert metadata["om_work_seconds_total"][0] == {
                "type": "counter", "help": "Work.", "unit": "seconds"}, metadata["om_work_seconds_total"]
            assert metadata["om_size_bytes_sum"][0]["unit"] == "bytes", metadata["om_size_bytes_sum"]
            assert float(fleet.query('om_work_seconds_created{worker="b"}')[0]["value"][1]) == target.CREATED
            found = stored_starts(fleet)
            began = round(target.CREATED * 1000)
            expected = {"om_work_seconds_total": began, "om_size_bytes_count": began + 1000,
                        "om_size_bytes_bucket": began + 1000, "om_plain_total": 0, "om_work_seconds_created": 0}
            for name, start in expected.items():
                assert start in found[name] and found[name] <= {start, 0}, (name, found[name])
            print(f"  start timestamps of {sum(1 for s in found.values() if s != {0})} metrics", flush=True)
            reload(fleet, target)
            fleet.agent.stop()
            fleet.collector.stop()
    finally:
        target.close()


def reload(fleet, target):
    """SIGHUP: a wrong file changes nothing, a right one brings and ends targets."""
    path = f"{fleet.folder}/agent.yaml"
    with open(path) as f:
        first = f.read()

    def write(text):
        with open(path, "w") as f:
            f.write(text)
        os.kill(fleet.agent.process.pid, signal.SIGHUP)

    def successful(value):
        return fleet.agent_metrics()["petrel_agent_config_last_reload_successful"] == value
    write(first + "  unknown_key: 1\n")
    wait_until("the wrong file is told", 10, lambda: successful(0))
    assert fleet.agent.running and fleet.query("om_gauge"), "the target of before is gone"
    second = f"- job_name: second\n  static_configs: [{{targets: ['{target.address}']}}]\n"
    write(first + second)
    wait_until("the second job is scraped", 10, lambda: len(fleet.query("om_gauge")) == 2)
    assert successful(1)
    write(first.split("- job_name")[0] + second)
    wait_until("the first job has ended", 10, lambda: [r["metric"]["job"] for r in fleet.query("om_gauge")] == ["second"])
    assert {r["metric"]["job"] for r in fleet.query('{__name__=~"up|om_.*"}')} == {"second"}, "something of the first is left"
    write(first.split("scrape:")[0])
    wait_until("nothing is scraped", 10, lambda: not fleet.query('{__name__=~"up|om_.*"}'))
    print("  reloaded: a wrong file, a job more, a job less, none", flush=True)
