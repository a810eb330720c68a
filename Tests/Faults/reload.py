"""SIGHUP under load: each line once, a sample on each grid point, counters that go on; and what `status` says of it all."""
import json
import os
import signal
import subprocess
import time

from harness import Fleet, Writer, pause, wait_until

INTERVAL = 2


def configuration(folder, turn, files):
    """The agent's file at a reload: `change` is read in another way each time, readers come and go, rules are added."""
    entries = [f"{{path: {folder}/stay.log, service: stay}}", f"{{path: {folder}/change.log, service: change{turn}}}"]
    entries += [f"{{path: '{folder}/{name}', service: more}}" for name in files]
    rules = ["{name: stay_lines_total, match: {service: stay}}"]
    rules += ["{name: change_lines_total, regex: change}"] if turn % 2 else []
    return f"""
metrics:
  interval: {INTERVAL}s
  disable: [{"netstat, cpufreq" if turn % 2 else "vmstat"}]
  options: {{diskstats.device-exclude: "^ram{turn}$"}}
services: {{disable: [{"chrony" if turn % 2 else ""}]}}
logs:
  journal: {{enabled: false}}
  docker: false
  files: [{", ".join(entries)}]
  redact: {{rules: [{{name: turn{turn}, regex: "mark-{turn}-[a-z]+"}}]}}
  metrics: {{rules: [{", ".join(rules)}]}}
"""


class Reloads:
    def __init__(self, fleet):
        self.fleet, self.folder, self.turn, self.files = fleet, fleet.folder, 0, []

    def figure(self, name):
        return self.fleet.agent_metrics()[f"petrel_agent_config_last_reload_{name}"]

    def hang_up(self, text):
        self.fleet._write("agent.yaml", text)
        before = self.figure("success_timestamp_seconds")
        os.kill(self.fleet.agent.process.pid, signal.SIGHUP)
        return before

    def next(self, extra=""):
        """A reload that is taken."""
        self.turn += 1
        before = self.hang_up(configuration(self.folder, self.turn, self.files) + extra)
        wait_until(f"reload {self.turn}", 30, lambda: self.figure("success_timestamp_seconds") > before, 0.02)

    def wrong(self):
        self.hang_up(configuration(self.folder, 1000, []) + "no_such_key: 1\n")
        wait_until("a wrong file refused", 30, lambda: self.figure("successful") == 0, 0.02)

    def status(self):
        command = [self.fleet.program("petrel-agent"), "status", "--state-dir", self.fleet.state,
                   "--config", os.path.join(self.folder, "good.yaml")]
        with open(command[-1], "w") as f:
            f.write(configuration(self.folder, 0, []))
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return answer.returncode, answer.stdout + answer.stderr


def writer(fleet, name):
    made = Writer(fleet, per_second=400)
    made.path, made.padding = os.path.join(fleet.folder, f"{name}.log"), name
    open(made.path, "ab").close()
    return made


def expect_status(reloads):
    status, text = reloads.status()
    for part in ("running since ", "h1, certificate until ", "connected since ", f"file:{reloads.folder}/stay.log",
                 f"file:{reloads.folder}/*.new", "loadavg", "a newer one is not taken", "no_such_key"):
        assert part in text, f"no {part} in:\n{text}"
    assert status == 0, (status, text)
    reloads.next("spool: {size_max: 64MiB}\n")
    status, text = reloads.status()
    assert "changed and taken at a start alone: spool.size_max" in text and "not taken" not in text, text
    assert status == 0, text
    print("  " + text.replace("\n", "\n  "), flush=True)


def grid(fleet, seconds):
    """Times of node_load1 within the last `seconds`."""
    series = json.loads(fleet.get("/prometheus/api/v1/query", query=f"node_load1[{seconds}s]"))["data"]["result"]
    assert len(series) == 1, series
    return [float(t) for t, _ in series[0]["values"]]


def stored(fleet):
    rows = fleet.sql("SELECT line::json->>'msg', count(*), count(DISTINCT line::json->>'seq') FROM petrel.log"
                     " WHERE line LIKE '{\"seq\":%' GROUP BY 1").splitlines()
    return {name: (int(count), int(distinct)) for name, count, distinct in (row.split("|") for row in rows)}


def run(options, rounds):
    with Fleet(options.programs, agent_yaml="metrics: {interval: 2s}\n") as fleet:
        fleet._write("agent.yaml", configuration(fleet.folder, 0, []))
        writers = {name: writer(fleet, name) for name in ("stay", "change", "come")}
        fleet.up()
        for each in writers.values():
            each.start()
        wait_until("first lines stored", 60, lambda: "stay" in stored(fleet))
        wait_until("first samples stored", 60, lambda: fleet.query("node_load1"))
        began = time.time()
        reloads = Reloads(fleet)
        for n in range(rounds):
            pause(0.05, 1.5)
            if n == rounds // 2:
                # Both names of one file that is followed from now on: first by its own, then by a pattern.
                reloads.files = ["come.log"]
            reloads.next()
        reloads.files = ["c[ao]me.log", "*.new"]
        reloads.next()
        reloads.wrong()
        expect_status(reloads)
        with open(os.path.join(fleet.folder, "one.new"), "w") as f:
            f.write(f"mark-{reloads.turn}-abc\n")
        pause(2 * INTERVAL, 3 * INTERVAL)
        sent = {name: each.finish() for name, each in writers.items()}
        wait_until("lines stored", 60, lambda: all(stored(fleet).get(n, (0, 0))[1] >= sent[n] for n in sent))
        found = stored(fleet)
        print(f"  {reloads.turn} reloads, lines " + ", ".join(
            f"{name} {sent[name]} stored {found[name][0]}" for name in sent), flush=True)
        assert found == {name: (count, count) for name, count in sent.items()}, (sent, found)
        redacted = f"[redacted:turn{reloads.turn}]"
        wait_until("a line redacted", 30, lambda: fleet.sql(f"SELECT 1 FROM petrel.log WHERE line = '{redacted}'"))
        counted = fleet.agent_metrics()["stay_lines_total"]
        assert counted == sent["stay"], f"stay_lines_total {counted} of {sent['stay']}"
        times = grid(fleet, int(time.time() - began))
        steps = {round(b - a, 3) for a, b in zip(times, times[1:])}
        print(f"  {len(times)} samples of node_load1, steps of {sorted(steps)} s", flush=True)
        assert steps == {float(INTERVAL)} and len(times) > rounds // INTERVAL, times
        fleet.agent.stop()
        status, text = reloads.status()
        assert status == 1 and "does not run" in text and "systemctl start petrel-agent" in text, (status, text)
        fleet.collector.stop()
