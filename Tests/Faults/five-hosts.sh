#!/usr/bin/env bash
# Five booted hosts on one switch: five agents, the collector on h5; the cable of h2 is pulled for 90 s.
# Usage: five-hosts.sh TESTBED ROOT PROGRAMS    (root; ROOT is a Debian tree with systemd and postgresql, see TESTBED)
# Prints how long everything took and ends with `N passed, M failed`.
set -uo pipefail
testbed=$1 root=$2 programs=$3
base=$(mktemp -d /tmp/petrel-five-XXXX)
passed=0 failed=0
check() { if [ "$2" = yes ]; then passed=$((passed + 1)); echo "ok: $1"; else failed=$((failed + 1)); echo "FAILED: $1"; fi; }
finish() {
    "$testbed/five-down.sh" "$base"
    rm -rf "$base"
    echo "Five hosts: $passed passed, $failed failed"
    # The status of a trap's last command is nobody's.
    if [ "$failed" -ne 0 ] || [ "$passed" -eq 0 ]; then exit 1; fi
}
trap finish EXIT

declare -A leader
while read -r host pid state; do leader[$host]=$pid; echo "$host $state"; done < <("$testbed/five-up.sh" "$root" "$base")
on() { local host=$1; shift; nsenter -t "${leader[$host]}" -a "$@"; }
for host in h1 h2 h3 h4 h5; do
    for program in petrel-agent petrel-collector petrel; do
        strip -s -o "$base/$host/root/usr/local/bin/$program" "$programs/$program"
    done
done
started=$SECONDS
cat >"$base/h5/root/etc/collector.yaml" <<'YAML'
fleet: {advertise: [10.77.0.5]}
rules: {interval: 5s, files: []}
YAML
on h5 systemd-run -q --unit=petrel-collector -p StandardError=file:/var/log/collector.log \
    /usr/local/bin/petrel-collector run --config /etc/collector.yaml --data-dir /var/lib/petrel/collector
for _ in $(seq 300); do on h5 curl -fsS http://127.0.0.1:9600/readyz >/dev/null 2>&1 && break; sleep 0.2; done
for host in h1 h2 h3 h4 h5; do
    token=$(on h5 petrel-collector enroll create --host $host --config /etc/collector.yaml --data-dir /var/lib/petrel/collector | tail -n 1)
    printf 'metrics: {interval: 5s}\nlogs: {journal: {start: head}}\n' >"$base/$host/root/etc/agent.yaml"
    on $host petrel-agent join --token "$token" --state-dir /var/lib/petrel/agent
    on $host systemd-run -q --unit=petrel-agent -p StandardError=file:/var/log/agent.log \
        /usr/local/bin/petrel-agent run --config /etc/agent.yaml --state-dir /var/lib/petrel/agent
done
query() { on h5 petrel query --json "$1" 2>/dev/null; }
count() { query "$1" | python3 -c 'import json,sys; d=json.load(sys.stdin); r=d.get("data",d).get("result",[]); print(int(float(r[0]["value"][1])) if r else 0)' 2>/dev/null || echo 0; }
for _ in $(seq 150); do [ "$(count 'count(petrel_agent_up == 1)')" = 5 ] && [ "$(count 'count(node_load1)')" = 5 ] && break; sleep 0.2; done
check "five agents visible, $((SECONDS - started)) s after the first program started" "$([ "$(count 'count(node_load1)')" = 5 ] && echo yes)"

on h2 systemd-run -q --unit=lines sh -c 'for i in $(seq 1 400); do echo "line $i"; sleep 0.3; done'
sleep 10
firing() { on h5 curl -fsS http://127.0.0.1:9600/prometheus/api/v1/alerts | python3 -c '
import json,sys
print(" ".join(sorted(a["labels"]["host"] for a in json.load(sys.stdin)["data"]["alerts"] if a["labels"]["alertname"]=="AgentDown" and a["state"]=="firing")))'; }
down=$SECONDS
ip -n petrelsw link set sw2 down
noticed=
while [ $((SECONDS - down)) -lt 90 ]; do
    hosts=$(firing)
    [ -z "$hosts" ] || { [ -n "$noticed" ] || noticed=$((SECONDS - down)); others=${others:-}$(echo "$hosts" | tr ' ' '\n' | grep -v '^h2$'); }
    sleep 1
done
check "AgentDown fired for h2 after ${noticed:-never} s (at most 45)" "$([ -n "$noticed" ] && [ "$noticed" -le 45 ] && echo yes)"
check "AgentDown fired for no other host ${others:-}" "$([ -z "${others:-}" ] && echo yes)"
ip -n petrelsw link set sw2 up
up=$SECONDS
for _ in $(seq 120); do [ -z "$(firing)" ] && break; sleep 0.5; done
check "resolved $((SECONDS - up)) s after the cable was back" "$([ -z "$(firing)" ] && echo yes)"
sleep 40
lines() { on h5 petrel logs '{host="h2", unit="lines.service"}' --since 1h --limit 5000 --json 2>/dev/null | grep -o 'line [0-9]*' | sort -u | wc -l; }
for _ in $(seq 60); do [ "$(lines)" -ge 400 ] && break; sleep 1; done
check "lines of h2 stored: $(lines) of 400" "$([ "$(lines)" -eq 400 ] && echo yes)"
samples=$(count 'count_over_time(node_load1{instance="h2"}[2m])')
check "samples of h2 over the last 2 minutes: $samples of 24" "$([ "$samples" -ge 23 ] && echo yes)"
gaps=$(on h5 curl -fsS http://127.0.0.1:9600/metrics | awk '/^petrel_receive_gap_records_total/ {s += $2} END {print s + 0}')
check "gap records: $gaps" "$([ "$gaps" = 0 ] && echo yes)"
