#!/usr/bin/env bash
# Installs the packages on a booted host and sees that what the documentation promises holds: install without
# PostgreSQL, PostgreSQL later, join, upgrade, remove, reinstall, purge; then a private PostgreSQL.
# Usage: test-install.sh TREE FOLDER_OF_PACKAGES HOST_UP
#   TREE      a debootstrapped tree with systemd; it is used through an overlay and never changed
#   HOST_UP   the testbed's host-up.sh, which boots a tree under systemd-nspawn
# Needs: root, systemd-container, overlayfs; a network for apt while it prepares. The host itself has none.
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
tree=$(readlink -f "$1") packages=$(readlink -f "$2") host_up=$(readlink -f "$3")
test=install
# shellcheck source=test-functions.sh
. "$(dirname "$(readlink -f "$0")")/test-functions.sh"

# install WORDS-IN-OUTPUT APT-ARGUMENT...: apt from what was downloaded; the output is kept in $log
log=$base/apt.log
apt_host() {
    if in_host apt-get -y -q -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; then
        passed=$((passed + 1)); echo "  ok    apt-get $*"
    else
        failed=$((failed + 1)); echo "  FAIL  apt-get $*"; tail -30 "$log" | sed 's/^/        | /'
    fi
}
said() {
    if grep -qF -- "$1" "$log"; then passed=$((passed + 1)); echo "  ok    it said: $1"; else
        failed=$((failed + 1)); echo "  FAIL  it did not say: $1"; tail -15 "$log" | sed 's/^/        | /'
    fi
}

prepare() {
    local package
    prepared testhost
    fetch postgresql curl
    # A newer version of the same packages, for the upgrade.
    for package in petrel-agent petrel-collector; do
        dpkg-deb -R "$root/root/dist/$package.deb" "$base/newer"
        sed -i '/^Version:/s/$/+newer/' "$base/newer/DEBIAN/control"
        dpkg-deb -Zgzip -z1 --root-owner-group -b "$base/newer" "$root/root/dist/newer-$package.deb" >/dev/null
        rm -rf "$base/newer"
    done
}

ready='curl -fsS http://127.0.0.1:9600/readyz'
active() { echo "systemctl is-active --quiet $1"; }

first_install() {
    echo "Collector without PostgreSQL"
    apt_host install --no-install-recommends curl /root/dist/petrel-collector.deb
    said "no PostgreSQL runs on this host"
    check "is neither enabled nor started" '! systemctl is-enabled -q petrel-collector && ! systemctl is-active -q petrel-collector'
    check "no unit failed" '[ "$(systemctl --failed --no-legend petrel\* | wc -l)" = 0 ]'
    # What a collector in strange hands may do in its own folder must not lead root anywhere.
    sh_host 'runuser -u petrel-collector -- ln -s /etc/planted /var/lib/petrel/collector/system-database'
    echo "PostgreSQL comes"
    apt_host install --no-install-recommends postgresql
    eventually 60 "collector runs" "$(active petrel-collector)"
    eventually 60 "collector is ready" "$ready"
    check "is enabled" 'systemctl is-enabled -q petrel-collector'
    check "its folder is its own" '[ "$(stat -c "%U %a" /var/lib/petrel/collector)" = "petrel-collector 700" ]'
    check "the folder above and the note in it are root's" '[ "$(stat -c "%U %a" /var/lib/petrel /var/lib/petrel/system-database | paste -sd" ")" = "root 755 root 644" ]'
    check "root followed no link of the collector" '[ -L /var/lib/petrel/collector/system-database ] && ! [ -e /etc/planted ]'
    echo "Agent"
    sh_host 'cat /proc/sys/net/ipv4/ping_group_range >/root/icmp-before'
    apt_host install /root/dist/petrel-agent.deb
    said "petrel-agent join"
    eventually 30 "agent runs without an identity" "$(active petrel-agent)"
    eventually 30 "agent serves /metrics" 'curl -fsS http://127.0.0.1:9100/metrics | grep -q ^node_load1'
    check "groups are systemd-journal and adm" 'id -nG petrel-agent | grep -w systemd-journal | grep -qw adm'
    check "ICMP is open for the agent's group" 'read -r low high </proc/sys/net/ipv4/ping_group_range; g=$(getent group petrel-agent | cut -d: -f3); [ "$low" -le "$g" ] && [ "$g" -le "$high" ]'
    check "Docker helper waits for Docker" 'systemctl is-active -q petrel-docker-helper.path && ! systemctl is-active -q petrel-docker-helper.socket'
    check "pgBackRest helper waits for pgBackRest" 'systemctl is-active -q petrel-pgbackrest-helper.path && ! systemctl is-active -q petrel-pgbackrest-helper.timer'
    # In pgBackRest's place, which is not among what was fetched.
    sh_host 'printf "#!/bin/sh\necho \"[]\"\n" >/root/stand-in && chmod 755 /root/stand-in && mv /root/stand-in /usr/bin/pgbackrest'
    eventually 10 "its coming starts the timer" "$(active petrel-pgbackrest-helper.timer)"
    check "pgBackRest helper writes its file" 'systemctl start petrel-pgbackrest-helper.service && [ "$(stat -c "%U %G %a" /var/lib/petrel/pgbackrest/info.json)" = "postgres petrel-agent 640" ]'
    check "the agent may read it" '[ "$(runuser -u petrel-agent -- cat /var/lib/petrel/pgbackrest/info.json)" = "[]" ]'
    sh_host 'rm /usr/bin/pgbackrest'
    check "posture helper writes its file" 'systemctl start petrel-posture-helper.service && [ "$(stat -c "%U %G %a" /run/petrel/posture.prom)" = "root petrel-agent 640" ]'
    check "units are in order" 'systemd-analyze verify --man=no petrel-agent.service petrel-collector.service petrel-docker-helper.path petrel-docker-helper.socket petrel-docker-helper.service petrel-pgbackrest-helper.path petrel-pgbackrest-helper.timer petrel-pgbackrest-helper.service petrel-posture-helper.timer petrel-posture-helper.service'
    check "no unit failed" '[ "$(systemctl --failed --no-legend petrel\* | wc -l)" = 0 ]'
}

join() {
    echo "Join"
    check "a token is made and the host joins" 'token=$(petrel-collector enroll create --host testhost | tail -1) && petrel-agent join --token "$token" --collector 127.0.0.1'
    check "identity is the agent's own" '[ -z "$(find /var/lib/petrel/agent ! -user petrel-agent)" ]'
    eventually 15 "host is seen" 'petrel hosts | grep -q testhost'
    eventually 60 "metrics arrive" 'petrel query "node_load1" | grep -q testhost'
    eventually 60 "the journal arrives" 'petrel logs "{source=\"journal\"}" --limit 1 | grep -q .'
    # Files of certificates are looked at once a minute.
    eventually 75 "readers see under the unit what they see outside" "$compare_readers"
}
# The names of all series, and the values of those that stand still: what differs is what the unit hides. Outside is a unit
# without limits: this host is a container, whose own hold for both.
compare_readers='series() { grep -v "^#" | grep -vE "^(petrel_agent|process_|node_scrape_collector_duration|node_processes_state.state=.R)|petrel-compare" |
        sed -E "/^node_(filesystem_(readonly|size_bytes)|memory_MemTotal|uname_info|scrape_collector_success|timex_sync_status)/! s/ [^ ]*$//" | sort -u; }
    curl -fsS http://127.0.0.1:9100/metrics | series >/tmp/in
    systemd-run -q --wait --pipe --collect --unit=petrel-compare petrel-agent metrics | series >/tmp/out
    [ "$(wc -l </tmp/in)" -gt 100 ] && diff /tmp/in /tmp/out'
# Marks a moment; what was scraped after it arrives, and nothing before it was lost.
since() { sh_host 'date +%s >/tmp/since'; }
arrived='petrel query "timestamp(node_load1) > $(cat /tmp/since)" | grep -q testhost'
nothing_lost='curl -fsS http://127.0.0.1:9100/metrics | awk "/^petrel_agent_gap_records_total/ { seen = 1; lost += \$2 } END { exit !(seen && lost == 0) }"'

upgrade() {
    echo "Upgrade"
    sh_host "$remember_programs; sha256sum /var/lib/petrel/agent/identity/* >/tmp/identity"
    apt_host install /root/dist/newer-petrel-agent.deb /root/dist/newer-petrel-collector.deb
    check "the newer version is there" "dpkg-query -W -f='\${Version}\n' petrel-agent petrel-collector | grep -c newer | grep -qx 2"
    check "both were restarted" "$restarted petrel-agent && $restarted petrel-collector"
    check "the identity is the same" 'sha256sum -c --quiet /tmp/identity'
    since
    eventually 60 "collector is ready again" "$ready"
    eventually 60 "metrics arrive again" "$arrived"
    check "nothing is lost" "$nothing_lost"

    echo "Upgrade while PostgreSQL is away and its note is missing"
    sh_host "rm -f /var/lib/petrel/system-database; systemctl stop postgresql; $remember_programs"
    apt_host install --reinstall /root/dist/newer-petrel-collector.deb
    check "it does not say that the collector is not started" "! grep -F 'not started' <<'LOG'
$(cat "$log")
LOG"
    # It may be between two attempts to reach its database.
    check "the old program is gone" '! kill -0 "$(cat /tmp/pid.petrel-collector)" 2>/dev/null'
    sh_host 'systemctl start postgresql'
    eventually 60 "collector is ready again" "$ready"
    apt_host install --reinstall /root/dist/newer-petrel-collector.deb
    check "the note is there again" '[ -f /var/lib/petrel/system-database ]'
}
# The main process of both units, and whether a unit has another one now.
remember_programs='for unit in petrel-agent petrel-collector; do systemctl show -p MainPID --value $unit >/tmp/pid.$unit; done'
restarted='is_new() { now=$(systemctl show -p MainPID --value $1); [ "$now" -gt 0 ] && [ "$now" != "$(cat /tmp/pid.$1)" ]; }; is_new'

reboot_host() {
    echo "Reboot"
    stop
    boot
    since
    eventually 60 "collector is ready" "$ready"
    eventually 60 "metrics arrive" "$arrived"
    check "nothing is lost" "$nothing_lost"
    check "/run/petrel is there again" '[ "$(stat -c "%U %G %a" /run/petrel)" = "root petrel-agent 750" ]'
}

remove_and_back() {
    echo "Remove keeps everything"
    apt_host remove petrel-agent petrel-collector
    check "programs are gone" '! [ -e /usr/bin/petrel-agent ] && ! [ -e /usr/bin/petrel-collector ] && ! pgrep -x "petrel-.*"'
    check "identity and configuration stay" '[ -d /var/lib/petrel/agent/identity ] && [ -f /etc/petrel/agent.yaml ]'
    check "the database stays" 'runuser -u postgres -- psql -lqt | grep -qw petrel'
    echo "Reinstall"
    apt_host install /root/dist/newer-petrel-agent.deb /root/dist/newer-petrel-collector.deb
    since
    eventually 60 "collector is ready" "$ready"
    eventually 60 "the host streams without joining again" "$arrived"
    check "nothing is lost" "$nothing_lost"
}

purge() {
    echo "Purge takes everything"
    check "setup-database opens a strict pg_hba.conf" 'f=$(runuser -u postgres -- psql -Atc "SHOW hba_file") && sed -i "s/^local  *all  *all .*/local all postgres peer/" "$f" && petrel-collector setup-database --yes && grep -q petrel-collector "$f"'
    apt_host purge petrel-agent petrel-collector
    said "dropped the database 'petrel'"
    check "no folder is left" '! [ -e /var/lib/petrel ] && ! [ -e /etc/petrel ] && ! [ -e /run/petrel ]'
    check "no user is left" '! getent passwd petrel-agent petrel-collector petrel-docker && ! getent group petrel-agent petrel-collector petrel-docker'
    check "no database and no role is left" '! runuser -u postgres -- psql -lqt | grep -qw petrel && ! runuser -u postgres -- psql -Atc "select rolname from pg_roles" | grep -q ^petrel'
    check "pg_hba.conf is closed again" 'f=$(runuser -u postgres -- psql -Atc "SHOW hba_file") && ! grep -i petrel "$f"'
    check "no unit is left" '! systemctl list-unit-files --no-legend "petrel*" | grep -q . && ! systemctl list-units --all --no-legend "petrel*" | grep -q .'
    check "ICMP is as it was" '[ ! -e /etc/sysctl.d/40-petrel-agent.conf ] && diff /root/icmp-before /proc/sys/net/ipv4/ping_group_range'
}

private_cluster() {
    echo "A private PostgreSQL"
    sh_host 'pg_dropcluster --stop "$(pg_lsclusters -h | cut -d" " -f1)" main' >/dev/null 2>&1 || true
    apt_host install /root/dist/petrel-collector.deb
    sh_host 'sed -i "s|^  url:|#  url:|; s|^database:|#database:|" /etc/petrel/collector.yaml'
    check "starts" 'systemctl enable --now petrel-collector'
    eventually 90 "collector is ready" "$ready"
    check "its PostgreSQL runs in the unit" 'systemctl status petrel-collector | grep -q "postgres"'
    check "PostgreSQL ends with it, in order" 'systemctl stop petrel-collector && ! pgrep -u petrel-collector && ! journalctl -u petrel-collector -n 30 | grep -qi "kill"'
    apt_host purge petrel-collector
    check "no folder is left" '! [ -e /var/lib/petrel ]'
}

prepare
boot
first_install
join
upgrade
reboot_host
remove_and_back
purge
private_cluster
summary
