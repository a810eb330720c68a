#!/usr/bin/env bash
# Five hosts from nothing to a fleet, with the commands that README.md gives: install, join, reboot, upgrade under load,
# remove, reinstall, purge. Nothing but systemd is there before.
# Usage: test-fleet.sh TREE FOLDER_OF_PACKAGES TESTBED [FOLDER_OF_OLDER_PACKAGES]
#   TREE      a debootstrapped tree with systemd; used through overlays and never changed. The packages of PostgreSQL
#             and of ours' dependencies must lie in its /var/cache/apt/archives: the hosts have no network to fetch from.
#   TESTBED   five-up.sh and five-down.sh: five booted hosts on one switch; host-up.sh, which boots one of them again
# With older packages the fleet is installed from those, and upgraded. Needs root. Ends with `N passed, M failed`.
set -uo pipefail
[ $# -ge 3 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
tree=$(readlink -f "$1") packages=$(readlink -f "$2") testbed=$(readlink -f "$3")
older=$(readlink -f "${4:-$2}")
base=$(mktemp -d /var/tmp/petrel-fleet.XXXXXX)
hosts="h1 h2 h3 h4 h5"
passed=0 failed=0
check() {
    if [ "$2" = yes ]; then passed=$((passed + 1)); echo "  ok    $1"; else failed=$((failed + 1)); echo "  FAIL  $1"; fi
}
finish() {
    if [ "$failed" -ne 0 ]; then
        on h5 journalctl -q --no-pager -n 40 -u petrel-collector
        on h2 journalctl -q --no-pager -n 20 -u petrel-agent
    fi
    "$testbed/five-down.sh" "$base"
    rm -rf --one-file-system "$base"
    echo "$passed passed, $failed failed"
    # The status of a trap's last command is nobody's.
    if [ "$failed" -ne 0 ] || [ "$passed" -eq 0 ]; then exit 1; fi
}
trap finish EXIT

declare -A leader
on() {
    local host=$1
    shift
    nsenter -t "${leader[$host]}" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}
install() {
    local host=$1
    shift
    on "$host" apt-get install -y -q -o Dpkg::Use-Pty=0 "$@" >"$base/$host.apt.log" 2>&1 \
        || { tail -n 20 "$base/$host.apt.log"; return 1; }
}
query() { on h5 petrel query --json "$1" 2>/dev/null; }
count() {
    query "$1" | python3 -c 'import json,sys
d=json.load(sys.stdin); r=d.get("data",d).get("result",[]); print(int(float(r[0]["value"][1])) if r else 0)' 2>/dev/null || echo 0
}
# sql QUERY [DATABASE]
sql() { on h5 setpriv --reuid=postgres --regid=postgres --init-groups psql -d "${2:-petrel}" -AtXc "$1" 2>/dev/null; }
# eventually SECONDS COMMAND…
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.5; done
}
all_visible() { [ "$(count 'count(petrel_agent_up == 1)')" = 5 ] && [ "$(count 'count(time() - timestamp(node_load1) < 40)')" = 5 ]; }

started=$SECONDS
while read -r host pid state; do leader[$host]=$pid; done < <("$testbed/five-up.sh" "$tree" "$base")
for host in $hosts; do
    mkdir -p "$base/$host/root/root/old" "$base/$host/root/root/new"
    cp "$older"/petrel-agent_*.deb "$base/$host/root/root/old/petrel-agent.deb"
    cp "$packages"/petrel-agent_*.deb "$base/$host/root/root/new/petrel-agent.deb"
done
cp "$older"/petrel-collector_*.deb "$base/h5/root/root/old/petrel-collector.deb"
cp "$packages"/petrel-collector_*.deb "$base/h5/root/root/new/petrel-collector.deb"
echo "five hosts after $((SECONDS - started)) s"

started=$SECONDS
install h5 postgresql /root/old/petrel-collector.deb
check "collector beside Debian's PostgreSQL, installed in $((SECONDS - started)) s" "$(on h5 systemctl is-active petrel-collector >/dev/null && echo yes)"
joined=0
for host in $hosts; do
    install "$host" /root/old/petrel-agent.deb || check "agent of $host" no
    on h5 petrel-collector enroll create --host "$host" >"$base/enrol.$host" 2>&1
    # Join with the very line that it printed.
    line=$(grep -o 'petrel-agent join .*' "$base/enrol.$host" | head -n 1)
    # shellcheck disable=SC2086
    if on "$host" $line >"$base/join.$host" 2>&1; then joined=$((joined + 1)); else cat "$base/enrol.$host" "$base/join.$host"; fi
done
check "five hosts joined" "$([ $joined = 5 ] && echo yes)"
last=$SECONDS
eventually 60 all_visible
check "all five visible $((SECONDS - last)) s after the last join (at most 15)" "$(all_visible && [ $((SECONDS - last)) -le 15 ] && echo yes)"
echo "  from nothing to five visible hosts: $((SECONDS - started)) s"

# Load: numbered lines through each host's journal, 20 a second, from a unit that survives nothing but starts again.
sent=600
for host in $hosts; do
    on "$host" systemd-run -q --unit=load sh -c "for i in \$(seq 1 $sent); do echo \"upgrade $host \$i\"; sleep 0.05; done"
done
sleep 5
for host in $hosts; do install "$host" /root/new/petrel-agent.deb || check "upgrade of $host" no; done
install h5 /root/new/petrel-collector.deb || check "upgrade of the collector" no
eventually 60 all_visible
check "all five visible after the upgrade" "$(all_visible && echo yes)"
stored() { sql "SELECT count(DISTINCT line) || ' ' || count(*) FROM petrel.log WHERE line LIKE '$1 %'"; }
whole() { [ "$(stored upgrade)" = "$((sent * 5)) $((sent * 5))" ]; }
eventually 90 whole
check "upgrade under load: lines stored (distinct, all): $(stored upgrade) of $((sent * 5))" "$(whole && echo yes)"
gaps() { sql "SELECT coalesce(sum(record_count), 0) FROM petrel.gap"; }
check "gap records: $(gaps)" "$([ "$(gaps)" = 0 ] && echo yes)"

# Lines written before and after the reboot of all five at once.
for host in $hosts; do on "$host" sh -c "for i in \$(seq 1 50); do echo \"reboot $host \$i\"; done | systemd-cat -t load"; done
for host in $hosts; do on "$host" systemctl reboot; done
# The container's manager ends at a reboot; a real host would come up by itself.
is_down() { ! kill -0 "$(cat "$base/$1.pid")" 2>/dev/null; }
for host in $hosts; do
    eventually 60 is_down "$host" || check "$host goes down for its reboot" no
    read -r "leader[$host]" _ < <("$testbed/host-up.sh" "$base/$host/root" "$host" "$base" \
        --network-namespace-path="/run/netns/petrel$host")
done
rebooted=$SECONDS
eventually 90 all_visible
check "all five back $((SECONDS - rebooted)) s after the reboot" "$(all_visible && echo yes)"
back() { [ "$(stored reboot)" = "250 250" ]; }
eventually 60 back
check "lines written right before the reboot: $(stored reboot) of 250" "$(back && echo yes)"
check "gap records after the reboot: $(gaps)" "$([ "$(gaps)" = 0 ] && echo yes)"

# Remove keeps, purge does not.
on h1 apt-get remove -y -q petrel-agent >/dev/null 2>&1
check "remove keeps identity and spool" "$(on h1 test -f /var/lib/petrel/agent/identity/certificate.pem && echo yes)"
for i in $(seq 1 20); do on h1 logger "away $i"; done
install h1 /root/new/petrel-agent.deb
away() { [ "$(sql "SELECT count(*) FROM petrel.log WHERE line LIKE 'away %'")" = 20 ]; }
eventually 60 away
check "reinstalled, it goes on where it was: lines written meanwhile are there" "$(away && echo yes)"
on h1 apt-get purge -y -q petrel-agent >/dev/null 2>&1
check "purge removes state, configuration and user" "$(on h1 sh -c '! test -e /var/lib/petrel/agent && ! test -e /etc/petrel/agent.yaml && ! getent passwd petrel-agent' >/dev/null && echo yes)"
on h5 apt-get remove -y -q petrel-collector >/dev/null 2>&1
check "removing the collector keeps the database" "$([ -n "$(sql 'SELECT 1')" ] && echo yes)"
install h5 /root/new/petrel-collector.deb
eventually 60 sh -c "[ -n \"\$(nsenter -t ${leader[h5]} -a curl -fsS http://127.0.0.1:9600/readyz 2>/dev/null)\" ]" || true
check "the collector is back with what it had: $(stored upgrade)" "$(whole && echo yes)"
on h5 apt-get purge -y -q petrel-collector >"$base/purge.log" 2>&1
check "purge removes its state and its database" "$([ "$(sql "SELECT count(*) FROM pg_database WHERE datname = 'petrel'" postgres)" = 0 ] && on h5 sh -c '! test -e /var/lib/petrel/collector' && echo yes)"
