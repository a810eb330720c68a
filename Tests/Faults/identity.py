"""A copied disk, a revoked host, a host replaced under its name, on the real programs.

Every agent follows a file of its own, so that the lines in the database tell whose stream they came over.
"""
import os
import shutil
import subprocess
import time
import urllib.request

from harness import Program, Writer, account, expect_exact, free_port, wait_until


class Agent:
    """Another agent of the fleet, with its state, its file and its port."""

    def __init__(self, fleet, name, state, journal=False):
        self.fleet, self.name, self.state = fleet, name, state
        self.port = free_port()
        self.lines = os.path.join(fleet.folder, f"{name}.log")
        self.sent = 0
        open(self.lines, "ab").close()
        config = fleet._write(f"{name}.yaml", f"""
metrics: {{interval: 1s}}
logs:
  journal: {{enabled: {str(journal).lower()}}}
  files: [{{path: {self.lines}, service: app}}]
""")
        self.program = Program(
            [fleet.program("petrel-agent"), "run", "--config", config, "--state-dir", state,
             "--listen", f"127.0.0.1:{self.port}"], os.path.join(fleet.folder, f"{name}-agent.log"))

    def write(self, count):
        with open(self.lines, "ab", buffering=0) as f:
            for _ in range(count):
                f.write(b'{"%s":%d}\n' % (self.name.encode(), self.sent))
                self.sent += 1

    def stored(self, host):
        return int(self.fleet.sql(
            f"""SELECT count(*) FROM petrel.log WHERE labels->>'host' = '{host}' AND line LIKE '{{"{self.name}":%'"""))

    def is_connected(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return 'petrel_agent_stream_connected{stream="logs"} 1' in answer.read().decode()

    def said_bytes(self):
        return os.path.getsize(self.program.log)

    def says(self, text, since=0):
        """Whether its log holds `text` past the first `since` bytes."""
        with open(self.program.log, "rb") as f:
            f.seek(since)
            return text.encode() in f.read()


def refused(fleet, reason):
    for line in fleet.get("/metrics").splitlines():
        if line.startswith(f'petrel_receive_refused_total{{reason="{reason}"}}'):
            return float(line.rsplit(" ", 1)[1])
    return None


def token(fleet, host):
    return subprocess.run(
        [fleet.program("petrel-collector"), "enroll", "create", "--host", host, "--config", fleet.collector_config,
         "--data-dir", fleet.data] + fleet.listeners[2:6],
        check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]


def join(fleet, state, text, *flags):
    return subprocess.run(
        [fleet.program("petrel-agent"), "join", "--token", text, "--collector", "127.0.0.1", "--state-dir", state,
         *flags], capture_output=True, text=True)


def within(what, seconds, condition):
    start = time.monotonic()
    wait_until(what, seconds, condition, 0.02)
    print(f"  {what}: {time.monotonic() - start:.2f} s", flush=True)


def copied_disk(fleet, copy):
    """The copy is refused while the original streams, and streams by itself once it has a name of its own."""
    state = copy.state
    shutil.copytree(fleet.state, state, ignore=shutil.ignore_patterns("*.sock"))
    writer = Writer(fleet)
    writer.start()
    wait_until("first lines stored", 60, lambda: int(fleet.sql("SELECT count(*) FROM petrel.log")) > 0)
    assert refused(fleet, "clone") == 0, "the series must be there before it is needed"
    copy.write(100)
    copy.program.start()
    within("copy refused", 15, lambda: refused(fleet, "clone") >= 1)
    within("copy's agent says what to do", 5, lambda: copy.says("enroll create --host NAME"))
    time.sleep(5)
    assert not copy.is_connected() and copy.stored("h1") == 0, "mixed streams"
    assert fleet.agent_metrics()['petrel_agent_stream_connected{stream="logs"}'] == 1, "the original lost its stream"
    assert fleet.agent_metrics()['petrel_agent_stream_connections_total{stream="logs"}'] == 1, "they took turns"
    within("audit entry", 5, lambda: fleet.sql("SELECT count(*) FROM petrel.audit WHERE action = 'stream.clone'") == "1")
    text = token(fleet, "h2")
    before = open(os.path.join(state, "identity", "certificate.pem")).read()
    outcome = join(fleet, state, text)
    assert outcome.returncode == 1 and "--force" in outcome.stderr, outcome
    assert open(os.path.join(state, "identity", "certificate.pem")).read() == before
    outcome = join(fleet, state, text, "--force")
    assert outcome.returncode == 0 and "connects by itself" in outcome.stdout, outcome
    within("copy streams under its own name", 20, lambda: copy.stored("h2") == 100)
    assert copy.stored("h1") == 0
    expect_exact(account(fleet, writer.finish()))


def revoked(fleet, agent):
    command = [fleet.program("petrel-collector"), "enroll", "revoke", "--host", "h2", "--config",
               fleet.collector_config, "--data-dir", fleet.data]
    subprocess.run(command, check=True, capture_output=True)
    within("revoked host's stream closed", 1, lambda: not agent.is_connected())
    agent.write(100)
    within("revoked host's agent says what to do", 30, lambda: agent.says("petrel-agent join --token TOKEN"))
    assert agent.stored("h2") == 100
    # Refused at the handshake too, where TLS alone says why.
    agent.program.stop()
    before = agent.said_bytes()
    agent.program.start()
    within("restarted, it says so again", 15,
           lambda: agent.says("it was revoked, or replaced by a later join", since=before))
    outcome = join(fleet, agent.state, token(fleet, "h2"))
    assert outcome.returncode == 0, outcome
    within("it streams again, nothing lost", 20, lambda: agent.stored("h2") == 200)


def replaced(fleet, other):
    """Another machine takes the name h1 while the first one streams."""
    clones = refused(fleet, "clone")
    outcome = join(fleet, other.state, token(fleet, "h1"))
    assert outcome.returncode == 0, outcome
    within("replaced host's stream closed", 1, lambda: fleet.agent_metrics()[
        'petrel_agent_stream_connected{stream="logs"}'] == 0)
    other.write(100)
    other.program.start()
    within("its successor streams under the name", 15, lambda: other.stored("h1") == 100)
    old = int(fleet.sql("SELECT count(*) FROM petrel.log WHERE labels->>'host' = 'h1' AND line LIKE '{\"seq\":%'"))
    assert old > 0, "what the first one sent is gone"
    with open(fleet.agent.log) as f:
        assert "petrel-agent join --token TOKEN" in f.read()
    assert refused(fleet, "clone") == clones, "a replacement is no copy"


def run(fleet):
    copy, other = [Agent(fleet, name, os.path.join(fleet.folder, name)) for name in ("copy", "other")]
    try:
        copied_disk(fleet, copy)
        revoked(fleet, copy)
        replaced(fleet, other)
        for agent in (copy, other):
            agent.program.stop()
    finally:
        for agent in (copy, other):
            agent.program.kill()
