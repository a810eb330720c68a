#!/usr/bin/env python3
"""Fault runs on the real programs: fleet.py --programs FOLDER SCENARIO [--rounds N]

Scenarios: short (most of them, a few rounds), agent-kills, collector-kills, postgres-restarts, outage, rule, cpu, journal,
power, control-fsync, control-cursor, hostile (what a broken or hostile peer may send),
identity (copied, revoked and replaced hosts), remote-write (Prometheus sends while the collector is killed),
openmetrics (exemplars, start timestamps and units of a scraped target while agent and collector are killed),
backup (a day out of SQL and the engine; dumps restored into fresh clusters),
log-torture (`--rounds` lines through files that rotate by rename, rename and gzip, copytruncate, under agent kills),
configuration (collector.yaml by check-config and by a collector that runs with it),
flood (100,000 lines a second into one file for `--rounds` seconds),
log-kills (`--rounds` numbered lines by agent and push while collector and PostgreSQL are killed), log-hostile (lines and pushes),
log-tail (a WebSocket tail of 500 lines a second for `--rounds` seconds), log-disk-full (no space under PostgreSQL for
`--rounds` seconds; mounts a tmpfs),
hang (`--rounds` scrapes with a hung mount, FIFO, database, cache and target),
reload (`--rounds` reloads of the agent's configuration while lines are written).
Each prints sent, stored, gap, in spool, lost, duplicated; the run ends with `N passed, M failed`.
"""
import argparse
import os
import random
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import backup  # noqa: E402
import configuration  # noqa: E402
import flood  # noqa: E402
import footprint  # noqa: E402
import hang  # noqa: E402
import hostile  # noqa: E402
import identity  # noqa: E402
import log_disk_full  # noqa: E402
import log_hostile  # noqa: E402
import log_kills  # noqa: E402
import log_tail  # noqa: E402
import log_torture  # noqa: E402
import openmetrics  # noqa: E402
import reload  # noqa: E402
import remote_write  # noqa: E402
from harness import Fleet, Receiver, Writer, account, expect_exact, pause, wait_until  # noqa: E402


def flowing(fleet):
    wait_until("first lines stored", 60, lambda: int(fleet.sql("SELECT count(*) FROM petrel.log")) > 0)


def agent_kills(options, rounds):
    with Fleet(options.programs).up() as fleet:
        writer = Writer(fleet)
        writer.start()
        flowing(fleet)
        for _ in range(rounds):
            pause(0.05, 1.0)
            fleet.agent.kill(signal.SIGKILL)
            fleet.agent.start()
        expect_exact(account(fleet, writer.finish()))


def collector_kills(options, rounds):
    with Fleet(options.programs).up() as fleet:
        writer = Writer(fleet)
        writer.start()
        flowing(fleet)
        for _ in range(rounds):
            pause(0.2, 2.5)
            fleet.collector.kill(signal.SIGKILL)
            pause(0.0, 0.3)
            fleet.collector.start()
            fleet.wait_ready()
        expect_exact(account(fleet, writer.finish()))


def postgres_restarts(options, rounds):
    """SIGQUIT is what `pg_ctl -m immediate` sends; the collector brings its private cluster up again."""
    with Fleet(options.programs).up() as fleet:
        writer = Writer(fleet)
        writer.start()
        flowing(fleet)
        for _ in range(rounds):
            pause(0.5, 2.0)
            before = fleet.postgres_pid()
            os.kill(before, signal.SIGQUIT)
            wait_until("PostgreSQL back", 60, lambda: fleet.postgres_pid() != before and fleet.sql("SELECT 1"))
            wait_until("collector ready", 60, lambda: fleet.get("/readyz"))
        expect_exact(account(fleet, writer.finish()))


def outage(options, seconds):
    """The collector is away under load; afterwards nothing is missing and the newest metrics come first."""
    with Fleet(options.programs).up() as fleet:
        writer = Writer(fleet, per_second=200)
        writer.start()
        flowing(fleet)
        fleet.collector.stop()
        time.sleep(seconds)
        fleet.collector.start()
        fleet.wait_ready()
        back = time.monotonic()

        def fresh():
            age = fleet.query("time() - timestamp(node_load1)")
            return age and float(age[0]["value"][1]) < 10
        wait_until("newest metrics visible", 20, fresh)
        print(f"  newest metrics visible {time.monotonic() - back:.1f} s after the collector's return")
        result = account(fleet, writer.finish(), seconds=120 + seconds)
        print(f"  drained {time.monotonic() - back:.1f} s after it")
        expect_exact(result)


RULE = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: Busy
        expr: node_load1{{host="h1"}} >= 0
        for: {hold}
        labels: {{severity: page}}
        annotations: {{summary: "load is {{{{ $value }}}} on {{{{ $labels.host }}}}"}}
"""


def rule(options, hold):
    """One rule to one message through receivers that first fail; the collector is killed on the way. What agents keep in
    memory is measured beside it."""
    script = [(500, {}), (429, {"Retry-After": "1"})]
    hooks = {name: Receiver(script) for name in ("webhook", "slack", "discord")}
    alerting = f"""
route: {{receiver: team, group_by: [alertname]}}
receivers:
  - name: team
    webhook_configs: [{{url: "{hooks['webhook'].url}"}}]
    slack_configs: [{{api_url: "{hooks['slack'].url}", channel: "#ops", send_resolved: true}}]
    discord_configs: [{{webhook_url: "{hooks['discord'].url}"}}]
"""
    try:
        with (Fleet(options.programs, alerting_yaml=alerting, rules_yaml=RULE.format(hold=hold)).up() as fleet,
              footprint.Footprint(fleet) as memory):
            wait_until("transition committed", 90,
                       lambda: int(fleet.sql("SELECT count(*) FROM petrel.outbox WHERE alert_labels::text LIKE '%Busy%'")) >= 3)
            fleet.collector.kill(signal.SIGKILL)  # between transition and send
            received = threading.Event()

            def between_send_and_mark():
                fleet.collector.kill(signal.SIGKILL)
                received.set()
            hooks["webhook"].before_success = between_send_and_mark
            fleet.collector.start()
            assert received.wait(60), "no webhook within 60 s"
            fleet.collector.start()
            fleet.wait_ready()
            wait_until("the unmarked message again", 60, lambda: len(hooks["webhook"].delivered()) >= 2)
            for name, hook in hooks.items():
                wait_until(f"{name} delivered", 60, lambda: any("Busy" in str(r["body"]) for r in hook.delivered()))
                busy = [r for r in hook.requests if "Busy" in str(r["body"])]
                ids = {r["id"] for r in busy}
                assert len(ids) == 1 and None not in ids, f"{name}: several ids {ids}"
                print(f"  {name}: answers {[r['status'] for r in busy]}, one id {next(iter(ids))}")
            memory.check()
    finally:
        for hook in hooks.values():
            hook.close()


def cpu(options, _):
    """The answer of PromQL beside /proc/stat read here."""
    def read():
        with open("/proc/stat") as f:
            fields = f.readline().split()[1:]
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        return time.time(), dict(zip(names, (int(x) / os.sysconf("SC_CLK_TCK") for x in fields)))
    with Fleet(options.programs).up() as fleet:
        time.sleep(2)
        history = []
        while len(history) < 70:
            history.append(read())
            time.sleep(1)
        answer = {r["metric"]["mode"]: float(r["value"][1])
                  for r in fleet.query("sum by (mode) (rate(node_cpu_seconds_total[1m]))")}
        (t0, first), (t1, last) = history[-61], history[-1]
        worst = 0.0
        for mode, value in answer.items():
            own = (last[mode] - first[mode]) / (t1 - t0)
            worst = max(worst, abs(own - value))
        total, count = sum(answer.values()), os.cpu_count()
        print(f"  worst mode differs by {worst:.4f} core, the sum {total:.4f} of {count}")
        assert len(answer) == 8 and worst <= 0.05 and abs(total - count) <= 0.02 * count, answer


def journal(options, count):
    """Numbered lines through the live journal while it rotates twice. Run where a journald listens (see CONTRIBUTING.md)."""
    import subprocess
    agent = "metrics: {interval: 5s}\nlogs: {journal: {start: head}}\n"
    with Fleet(options.programs, agent_yaml=agent).up() as fleet:
        writer = subprocess.Popen(
            ["systemd-cat", "-t", "petrel-numbers", "-p", "warning"], stdin=subprocess.PIPE)
        for n in range(count):
            writer.stdin.write(b"number %d\n" % n)
            if n in (count // 3, 2 * count // 3):
                writer.stdin.flush()
                subprocess.run(["journalctl", "--rotate"], check=True)
        writer.stdin.close()
        writer.wait()
        ours = "FROM petrel.log WHERE line LIKE 'number %'"
        wait_until("all lines stored", 180, lambda: int(fleet.sql(f"SELECT count(*) {ours}")) >= count, 1)
        row = fleet.sql(
            f"SELECT count(*), count(DISTINCT line), count(*) FILTER (WHERE level = 'warn'),"
            f" count(*) FILTER (WHERE metadata ? '_PID' AND metadata->>'identifier' = 'petrel-numbers') {ours}")
        disorder = fleet.sql(
            "SELECT count(*) FROM (SELECT substr(line, 8)::int AS n, lag(substr(line, 8)::int) OVER (ORDER BY at_ns, id, ordinal)"
            f" AS before {ours}) x WHERE n <> before + 1")
        gap = fleet.sql("SELECT coalesce(sum(record_count), 0) FROM petrel.gap")
        print(f"  stored|distinct|warn|fields {row}  out_of_order {disorder}  gap {gap}")
        assert row == f"{count}|{count}|{count}|{count}" and disorder == "0" and gap == "0"


def power_cuts(options, rounds, environment=None):
    """The agent's state on a disk that forgets what was not synchronized; the power goes with the agent. Needs --lossyfs."""
    import subprocess
    import tempfile
    base = tempfile.mkdtemp(prefix="petrel-lossy-")
    for name in ("backing", "mount"):
        os.mkdir(os.path.join(base, name))
    disk = subprocess.Popen(
        [sys.executable, options.lossyfs, f"{base}/backing", f"{base}/mount", "--seed", str(options.seed)],
        stdout=subprocess.PIPE, text=True)
    if "mounted" not in disk.stdout.readline():
        disk.terminate()
        raise AssertionError("the lossy disk did not mount (its message stands above): nothing was tested")
    try:
        with Fleet(options.programs, agent_state=f"{base}/mount/agent", environment=environment).up() as fleet:
            writer = Writer(fleet)
            writer.start()
            flowing(fleet)
            for n in range(rounds):
                pause(0.1, 1.2)
                fleet.agent.kill(signal.SIGKILL)
                os.kill(disk.pid, signal.SIGUSR1 if n % 2 else signal.SIGUSR2)
                time.sleep(0.3)
                fleet.agent.start()
            return account(fleet, writer.finish(), seconds=30 if environment else 120)
    finally:
        subprocess.run(["umount", f"{base}/mount"], check=False)
        disk.terminate()


def power(options, rounds):
    expect_exact(power_cuts(options, rounds))


def control_fsync(options, rounds):
    """The same without fsync (libeatmydata) must lose or double, or the harness is blind."""
    result = power_cuts(options, rounds, {"LD_PRELOAD": "libeatmydata.so"})
    assert result["lost"] or result["duplicated"] or result["gap"], "no loss without fsync: the harness is blind"


def control_cursor(options, _):
    """With the cursor held back in the database, lines must come twice, or the harness is blind."""
    with Fleet(options.programs).up() as fleet:
        fleet.sql("CREATE FUNCTION petrel.hold() RETURNS trigger LANGUAGE plpgsql AS"
                  " 'BEGIN NEW.last_seq := OLD.last_seq; RETURN NEW; END'")
        fleet.sql("CREATE TRIGGER hold BEFORE UPDATE ON petrel.agent_cursor FOR EACH ROW EXECUTE FUNCTION petrel.hold()")
        fleet.sql("ALTER TABLE petrel.ingest_batch DROP CONSTRAINT ingest_batch_pkey")
        writer = Writer(fleet)
        writer.start()
        for _ in range(3):
            pause(2, 3)
            fleet.collector.kill(signal.SIGKILL)
            fleet.collector.start()
            fleet.wait_ready()
        result = account(fleet, writer.finish(), seconds=10)
        assert result["lost"] or result["duplicated"], "nothing doubled without the cursor: the harness is blind"


def hostile_peers(options, _):
    """An honest agent streams while another host's certificate, or none, is used for everything that is forbidden."""
    with Fleet(options.programs).up() as fleet:
        state = os.path.join(fleet.folder, "mallory")
        fleet.enrol("mallory", state)
        writer = Writer(fleet, per_second=200)
        writer.start()
        flowing(fleet)
        held = hostile.run(fleet, state)
        expect_exact(account(fleet, writer.finish()))
        fleet.agent.stop()
        started = time.monotonic()
        fleet.collector.stop()
        print(f"  collector stopped in {time.monotonic() - started:.1f} s with {len(held)} stuck connections")
        assert fleet.collector.process.returncode == 0, f"exit {fleet.collector.process.returncode}"
        assert not fleet.postgres_runs(), "its PostgreSQL still runs"


def identities(options, _):
    with Fleet(options.programs).up() as fleet:
        wait_until("the agent streams", 30, lambda: fleet.agent_metrics()[
            'petrel_agent_stream_connected{stream="logs"}'] == 1)
        identity.run(fleet)


def prometheus_sends(options, kills):
    remote_write.run(options, kills, 5 if options.scenario == "short" else options.every)


def scrapes(options, kills):
    openmetrics.run(options, kills)


def backups(options, _):
    with Fleet(options.programs).up() as fleet:
        backup.run(fleet)


def configurations(options, _):
    configuration.run(options)


def floods(options, seconds):
    flood.run(options, seconds)


def hangs(options, count):
    hang.run(options, count)


def reloads(options, rounds):
    reload.run(options, rounds)


def log_tortures(options, count):
    log_torture.run(options, count)


SCENARIOS = {
    "agent-kills": (agent_kills, 100, 6), "collector-kills": (collector_kills, 50, 4),
    "postgres-restarts": (postgres_restarts, 20, 2), "outage": (outage, 600, 15),
    "rule": (rule, "30s", "2s"), "cpu": (cpu, 0, None),
    "journal": (journal, 100_000, None),
    "power": (power, 20, None), "control-fsync": (control_fsync, 10, None),
    "control-cursor": (control_cursor, 0, None),
    "hostile": (hostile_peers, 0, 0), "identity": (identities, 0, 0),
    "remote-write": (prometheus_sends, 60, 3), "backup": (backups, 0, None),
    "openmetrics": (scrapes, 12, 2), "configuration": (configurations, 0, 0),
    "flood": (floods, 60, 3), "hang": (hangs, 10, 1), "reload": (reloads, 40, 6),
    "log-kills": (log_kills.run, 1_000_000, 40_000), "log-hostile": (log_hostile.run, 0, 0), "log-tail": (log_tail.run, 600, 8),
    "log-disk-full": (log_disk_full.run, 60, 10),
    # `make test` runs it beside the others, not after them.
    "log-torture": (log_tortures, 1_000_000, None),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--rounds", help="rounds, seconds, lines or `for`, by scenario")
    parser.add_argument("--every", type=float, default=60, help="seconds between the kills of remote-write")
    parser.add_argument("--targets", help="HOST:PORT,… that remote-write scrapes instead of an exporter of its own")
    parser.add_argument("--interval", default="1s", help="at which remote-write scrapes")
    parser.add_argument("--lossyfs", help="lossyfs.py, for power and control-fsync")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("scenario", choices=["short", *SCENARIOS])
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"seed {options.seed}")
    names = [n for n in SCENARIOS if SCENARIOS[n][2] is not None] if options.scenario == "short" else [options.scenario]
    passed = failed = 0
    for name in names:
        run, full, few = SCENARIOS[name]
        amount = few if options.scenario == "short" else type(full)(options.rounds or full)
        started = time.monotonic()
        print(f"{name} {amount}", flush=True)
        try:
            run(options, amount)
            passed += 1
        except Exception:
            traceback.print_exc()
            failed += 1
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
    print(f"Faults: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
