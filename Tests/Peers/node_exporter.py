#!/usr/bin/env python3
"""Petrel's node readers beside node_exporter: its own fixtures, and the same host.

    node_exporter.py --programs FOLDER --conformance FOLDER [--list]
    node_exporter.py --programs FOLDER --live [--exporter prometheus-node-exporter] [--list]
    node_exporter.py --programs FOLDER --dashboard node-exporter-full.json

With --conformance the agent reads the fixtures of node_exporter's end-to-end test, and what it says is held against the
expected text: first the samples that a virtual server has, then those of every collector that node_exporter runs by default
and Petrel has. A missing sample fails as a different one does.
With --live both read this host; every name that both have must have the same labels, and a value between the exporter's
before and after (counters and gauges move) or near them. With --dashboard the names that a dashboard asks for and this host
has not are listed, without a verdict. --list prints names that only one side has.
"""
import argparse
import collections
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

FLAGS = """--collector.cpu.info --collector.arp.device-exclude=nope --collector.bcache.priorityStats
--collector.cpu.info.bugs-include=^(cpu_meltdown|spectre_.*|mds)$ --collector.cpu.info.flags-include=^(aes|avx.?|constant_tsc)$
--collector.hwmon.chip-include=(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779) --collector.netclass.ignore-invalid-speed
--collector.netclass.ignored-devices=(dmz|int) --collector.netdev.device-include=lo --collector.qdisc.device-include=(wlan0|eth0)
--collector.stat.softirq --collector.sysctl.include-info=kernel.seccomp.actions_avail --collector.sysctl.include=fs.file-nr
--collector.sysctl.include=fs.file-nr:total,current,max --collector.sysctl.include=kernel.threads-max --no-collector.arp.netlink
--no-collector.selinux --no-collector.filesystem --no-collector.timex --no-collector.uname
--collector.drbd --collector.processes --collector.interrupts""".split()
# What depends on the host or the moment, as node_exporter's own test leaves it out.
SKIP = re.compile(r"(go_|node_exporter_build_info|node_scrape_collector_|process_|node_textfile_mtime_seconds|"
                  r"node_time_(zone|seconds)|node_network_(receive|transmit)_\w+_total|promhttp_)")
# Collectors that node_exporter does not run unless told; the others' names begin with none of these.
OFF = re.compile(r"node_(buddyinfo|cgroups|cpu_vulnerabilities|drbd|drm|ethtool|interrupts|ksmd|lnstat|logind|memory_numa|"
                 r"mountstats|network_route|ntp|pcidevice|perf|processes|procs_threads|qdisc|slabinfo|softirqs|supervisord|"
                 r"swap|sysctl|systemd|tcp_connection|wifi|xfrm|zoneinfo)")
# Collectors that node_exporter runs by default and Petrel has not (docs/node.md).
LACKING = re.compile(r"node_(bcache|bcachefs|dmmultipath|fibrechannel|infiniband|tape)_")
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text):
    """{(name, labels): value}; labels without empty ones, as a frozen set of pairs."""
    found = {}
    for line in text.split("\n"):
        if line.startswith("#") or not line:
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        labels = frozenset((k, v) for k, v in LABEL.findall(match[2] or "") if v)
        found[match[1], labels] = float(match[3])
    return found


def heads(text):
    return {tuple(line.split(" ", 3)[1:3]): line for line in text.split("\n") if line.startswith("# ")}


def agent(programs, flags, folder="."):
    program = os.path.abspath(os.path.join(programs, "petrel-agent"))
    answer = subprocess.run([program, "metrics", *flags], capture_output=True, text=True, errors="surrogateescape",
                            timeout=60, cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout, answer.stderr


def is_equal(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def text_of(key):
    return key[0] + "{" + ",".join(f'{k}="{v}"' for k, v in sorted(key[1])) + "}"


def compare(ours, theirs, what):
    """Prints how many of `theirs` we have; gives what is missing and what differs."""
    missing = [key for key in theirs if key not in ours]
    different = [key for key in theirs if key in ours and not is_equal(ours[key], theirs[key])]
    print(f"{what}: {len(theirs) - len(missing) - len(different)} of {len(theirs)} samples, "
          f"{len(different)} different, {len(missing)} missing")
    for key in different[:20]:
        print(f"  {text_of(key)}: expected {theirs[key]}, found {ours[key]}")
    return missing, different


def conformance(options):
    place = os.path.join(options.conformance, "node_exporter")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "xzf", os.path.join(place, "fixtures.tgz"), "-C", folder], check=True)
        root = "collector/fixtures"
        flags = FLAGS + [f"--collector.textfile.directory={root}/textfile/two_metric_files/", f"--path.rootfs={root}",
                         f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys", f"--path.udev.data={root}/udev/data"]
        text, remarks = agent(options.programs, flags, folder)
    ours = samples(text)
    failed = 0
    for name, what in (("e2e-vps-core.txt", "of a virtual server"), ("e2e-output.txt", "of the default collectors")):
        expected = open(os.path.join(place, name), encoding="utf-8", errors="surrogateescape").read()
        isCore = name == "e2e-vps-core.txt"
        theirs = {key: value for key, value in samples(expected).items() if not SKIP.match(key[0])
                  and (isCore or not OFF.match(key[0]) and not LACKING.match(key[0]))}
        missing, different = compare(ours, theirs, what)
        failed += len(different) + len(missing)
        said = heads(text)
        names = {key[0] for key in theirs}
        for key, line in heads(expected).items():
            if key[1] in names and said.get(key) != line:
                print(f"  expected {line!r}, found {said.get(key)!r}")
                failed += 1
        by_family = collections.Counter(re.match(r"node_[a-z0-9]+", key[0])[0] for key in missing)
        if missing:
            print("  missing: " + ", ".join(f"{k} {n}" for k, n in sorted(by_family.items())))
        if options.list:
            for key in missing:
                print(f"  missing {text_of(key)}")
    print(remarks, end="", file=sys.stderr)
    return failed


def get(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode(errors="surrogateescape")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# Names whose value is the program's own or a moment's: the labels are compared alone.
OWN = re.compile(r"(process_|node_scrape_collector_|go_|promhttp_|node_exporter_build_info|node_time_seconds$|"
                 r"node_entropy|node_sockstat|node_netstat_|node_procs_|node_processes|node_filefd|node_softnet|"
                 r"node_schedstat|node_load|node_timex|node_cpu_seconds|node_tcp_connection)")


# Collectors that run here too, and 1.12's filters where Debian's 1.5 has others.
EXPORTER_FLAGS = ["--collector.processes", "--collector.interrupts", "--collector.tcpstat",
                  "--collector.sysctl",
                  "--collector.netdev.device-exclude=^$",
                  "--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
                  "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+)($|/)"]
# Labels that came after 1.5.
LATER_LABELS = {"node_disk_info": {"rotational"}, "node_network_info": {"adminstate"}}


def without_later(key):
    later = LATER_LABELS.get(key[0])
    return (key[0], frozenset(pair for pair in key[1] if pair[0] not in later)) if later else key


def live(options):
    port = free_port()
    exporter = subprocess.Popen([options.exporter, f"--web.listen-address=127.0.0.1:{port}", *EXPORTER_FLAGS],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                before = samples(get(port))
                break
            except OSError:
                time.sleep(0.1)
        # node_exporter counts the connection on which it is asked: Petrel must find one in that state too.
        with socket.create_connection(("127.0.0.1", port)):
            before = samples(get(port))
            text, _ = agent(options.programs, [])
            ours = {without_later(key): value for key, value in samples(text).items()}
            after = samples(get(port))
    finally:
        exporter.terminate()
        exporter.wait()
    names = {key[0] for key in before} & {key[0] for key in ours}
    failed = 0
    for name in sorted(names):
        theirs = {key for key in before if key[0] == name}
        mine = {key for key in ours if key[0] == name}
        # What came or went meanwhile may be on one side alone, and so may a state that a process is in while it looks.
        moved = {key for key in before.keys() ^ after.keys() if key[0] == name}
        moved |= {key for key in theirs ^ mine if name == "node_processes_state" and "R" in dict(key[1]).values()}
        if name.startswith(("node_scrape_collector_", "node_exporter_build_info")):
            continue
        for key in sorted((theirs ^ mine) - moved, key=text_of):
            print(f"  only {'node_exporter' if key in theirs else 'Petrel'}: {text_of(key)}")
            failed += 1
        if OWN.match(name):
            continue
        for key in sorted(theirs & mine, key=text_of):
            low, high = sorted((before[key], after.get(key, before[key])))
            slack = max(abs(high) * (0.2 if name.startswith("node_memory_") else 0.02), 2)
            if not (low - slack <= ours[key] <= high + slack or is_equal(ours[key], low)):
                print(f"  {text_of(key)}: node_exporter {low} to {high}, Petrel {ours[key]}")
                failed += 1
    theirs = {key[0] for key in before} - {key[0] for key in ours}
    print(f"live: {len(names)} names on both sides, {failed} samples differ; only node_exporter: {len(theirs)} names")
    for name in sorted(theirs):
        print(f"  only node_exporter: {name}")
    if options.list:
        for name in sorted({key[0] for key in ours} - {key[0] for key in before}):
            print(f"  only Petrel: {name}")
    return failed


def dashboard(options):
    document = json.load(open(options.dashboard))
    expressions = []

    def walk(node):
        if isinstance(node, dict):
            expressions.extend(node[key] for key in ("expr", "query") if isinstance(node.get(key), str))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    asked = set()
    for expression in expressions:
        asked.update(re.findall(r"\b((?:node|process)_[a-zA-Z0-9_]+)\b", expression))
    ours = {key[0] for key in samples(agent(options.programs, [])[0])}
    missing = sorted(asked - ours)
    print(f"dashboard: {len(asked) - len(missing)} of {len(asked)} names are here")
    for name in missing:
        print(f"  not here: {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True)
    parser.add_argument("--conformance")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--dashboard")
    parser.add_argument("--exporter", default="prometheus-node-exporter")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if not (options.conformance or options.live or options.dashboard):
        parser.error("nothing to do: give --conformance, --live or --dashboard")
    failed = 0
    if options.conformance:
        failed += conformance(options)
    if options.live:
        failed += live(options)
    if options.dashboard:
        dashboard(options)
    if not (options.conformance or options.live):
        return
    print(f"{'failed: ' + str(failed) if failed else 'passed'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
