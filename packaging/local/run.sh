#!/usr/bin/env bash
# `make run`: private PostgreSQL, the collector and one agent on this host, enrolled and streaming.
# Usage: run.sh FOLDER_OF_PROGRAMS.  State lives in $PETREL_STATE (default .petrel); Ctrl-C stops everything.
# Ports: PETREL_HTTP PETREL_FLEET PETREL_ENROLL PETREL_PUBLIC PETREL_AGENT (defaults 9600 9601 9602 9603 9100).
set -euo pipefail

programs=$(cd "$1" && pwd)
state=${PETREL_STATE:-$PWD/.petrel}
http=127.0.0.1:${PETREL_HTTP:-9600}
fleet=127.0.0.1:${PETREL_FLEET:-9601}
enroll=127.0.0.1:${PETREL_ENROLL:-9602}
public=127.0.0.1:${PETREL_PUBLIC:-9603}
listen=127.0.0.1:${PETREL_AGENT:-9100}
host=$(hostname | tr 'A-Z_' 'a-z-' | tr -cd 'a-z0-9.-')
host=${host:-localhost}
export PETREL_URL=http://$http

mkdir -p "$state/log"
chmod 700 "$state"
state=$(cd "$state" && pwd)
collector_pid= agent_pid=

say() { printf '%s\n' "$*"; }
step() { printf '  %-46s' "$1"; }
ok() { printf 'ok%s\n' "${1:+  $1}"; }

# Ends what an earlier run left behind: only a process whose program is ours.
end_leftover() {
    local file=$1 program=$2 pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    # By its command line: the program's file may have been built anew since.
    if [ -n "$pid" ] && [ "$(head -z -n 1 "/proc/$pid/cmdline" 2>/dev/null | tr -d '\0')" = "$programs/$program" ]; then
        say "  ending $program (pid $pid) that an earlier run left"
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$file"
}

stop() {
    # Where the output is gone (a pipe that Ctrl-C ended too) the programs are stopped all the same.
    trap '' PIPE
    trap - INT TERM EXIT
    printf '\nStopping …\n' 2>/dev/null || true
    [ -z "$agent_pid" ] || kill -TERM "$agent_pid" 2>/dev/null || true
    [ -z "$agent_pid" ] || wait "$agent_pid" 2>/dev/null || true
    [ -z "$collector_pid" ] || kill -TERM "$collector_pid" 2>/dev/null || true
    [ -z "$collector_pid" ] || wait "$collector_pid" 2>/dev/null || true
    rm -f "$state/agent.pid" "$state/collector.pid"
    say "Stopped. What was collected stays in $state; start again with 'make run'." 2>/dev/null || true
    exit "${1:-0}"
}
trap 'stop 0' INT TERM
trap 'stop 1' EXIT

fail() {
    printf 'failed\n\n%s\n' "$1" >&2
    [ -z "${2:-}" ] || { say "Last lines of $2:" >&2; tail -n 15 "$2" >&2; }
    exit 1
}

# wait_for SECONDS PID LOG COMMAND…: until the command succeeds, the process dies or the time is over.
wait_for() {
    local seconds=$1 pid=$2 log=$3 deadline
    shift 3
    deadline=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || fail "The program ended." "$log"
        [ "$SECONDS" -lt "$deadline" ] || fail "Not ready within $seconds s." "$log"
        sleep 0.2
    done
}

say "Petrel on this host (state in $state)"
end_leftover "$state/agent.pid" petrel-agent
end_leftover "$state/collector.pid" petrel-collector

step "collector and its private PostgreSQL"
# Both run in sessions of their own, so that Ctrl-C reaches this script alone and the stop has an order.
setsid "$programs/petrel-collector" run --data-dir "$state/collector" --http "$http" --fleet "$fleet" \
    --enroll "$enroll" --public "$public" ${PETREL_COLLECTOR_CONFIG:+--config "$PETREL_COLLECTOR_CONFIG"} \
    >>"$state/log/collector.log" 2>&1 </dev/null &
collector_pid=$!
echo "$collector_pid" >"$state/collector.pid"
wait_for 90 "$collector_pid" "$state/log/collector.log" curl -fsS "$PETREL_URL/readyz"
ok "$PETREL_URL"

step "enrolment of this host as '$host'"
if [ -f "$state/agent/identity/certificate.pem" ]; then
    ok "already enrolled"
else
    token=$("$programs/petrel-collector" enroll create --host "$host" --data-dir "$state/collector" \
        --fleet "$fleet" --enroll "$enroll" 2>>"$state/log/collector.log" | tail -n 1)
    [ -n "$token" ] || fail "No token." "$state/log/collector.log"
    "$programs/petrel-agent" join --token "$token" --collector 127.0.0.1 --state-dir "$state/agent" \
        >>"$state/log/agent.log" 2>&1 || fail "The agent could not join." "$state/log/agent.log"
    ok
fi

step "agent"
setsid "$programs/petrel-agent" run --state-dir "$state/agent" --listen "$listen" \
    ${PETREL_AGENT_CONFIG:+--config "$PETREL_AGENT_CONFIG"} >>"$state/log/agent.log" 2>&1 </dev/null &
agent_pid=$!
echo "$agent_pid" >"$state/agent.pid"
# A rate needs two scrapes, so this takes up to two intervals.
flows() { "$programs/petrel" query 'sum(rate(node_cpu_seconds_total[1m]))' | grep -q '[1-9]'; }
wait_for 90 "$agent_pid" "$state/log/agent.log" flows
ok "http://$listen/metrics"

journal=yes
if [ -z "$(find /var/log/journal /run/log/journal -name '*.journal' -print -quit 2>/dev/null)" ]; then
    journal=no
    say "  note: this machine has no journal (no journald); node statistics and files are read all the same"
fi
say
say "Data flows. HTTP API: $PETREL_URL   (Prometheus API under /prometheus, Loki API under /loki)"
say "Three commands to try, with what they print now:"
show() {
    printf '\n$ %s %s\n' "$programs/petrel" "$*"
    "$programs/petrel" "$@" 2>&1 | head -n 12 || true
}
show query "sum by (mode) (rate(node_cpu_seconds_total[1m]))"
if [ "$journal" = yes ]; then show logs '{source="journal"}' --limit 5; else show logs '{source=~".+"}' --limit 5; fi
show alerts
say
say "Logs of both: $state/log. Ctrl-C stops everything."

while kill -0 "$collector_pid" 2>/dev/null && kill -0 "$agent_pid" 2>/dev/null; do
    sleep 1 &
    wait $! || true
done
printf '\nA program ended by itself; last lines of its log:\n' >&2
if kill -0 "$collector_pid" 2>/dev/null; then tail -n 10 "$state/log/agent.log" >&2; else tail -n 10 "$state/log/collector.log" >&2; fi
exit 1
