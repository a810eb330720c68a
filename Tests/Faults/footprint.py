"""How much memory agents keep, beside a scenario that leaves them alone: no minute of its own.

The fleet's agent reads its host and an empty file. Another one reads the journal, where there is one, and a file that gets
500 lines a second.
"""
import time

from harness import Meter, Writer, wait_until
from identity import Agent

RSS_MAX_MIB = 40
SECONDS = 60  # before that an agent has not grown to what it keeps


class Footprint:
    def __init__(self, fleet):
        self.fleet, self.begun = fleet, time.monotonic()
        self.busy = Agent(fleet, "busy", f"{fleet.folder}/busy", journal=True)
        self.writer = Writer(self.busy, per_second=500)

    def __enter__(self):
        self.fleet.enrol("busy", self.busy.state)
        self.busy.program.start()
        self.writer.start()
        return self

    def __exit__(self, *_):
        self.writer.finish()
        self.busy.program.stop()

    def check(self):
        """Of both, with what the busy one wrote stored."""
        time.sleep(max(0.0, self.begun + SECONDS - time.monotonic()))
        rss = {name: Meter.rss_mib(program.process.pid)
               for name, program in (("idle", self.fleet.agent), ("busy", self.busy.program))}
        sent = self.writer.finish()
        wait_until("the busy agent's lines stored", 30, lambda: int(self.fleet.sql(
            "SELECT count(*) FROM petrel.log WHERE labels->>'host' = 'busy' AND labels->>'source' = 'file'")) == sent)
        print(f"  RSS after {time.monotonic() - self.begun:.0f} s: "
              + ", ".join(f"{name} agent {mib:.1f} MiB" for name, mib in rss.items())
              + f" (at most {RSS_MAX_MIB}); {sent} lines", flush=True)
        assert max(rss.values()) <= RSS_MAX_MIB, rss
