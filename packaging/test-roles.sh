#!/usr/bin/env bash
# What a host's role needs, on a booted host with Debian's PostgreSQL, PgBouncer, Redis and Caddy, each configured as a
# careful guide has it, which lets the agent in nowhere: `petrel-agent status` and `petrel-agent setup` name the lines that are
# missing, setup writes them, and from then on the agent reads each without an agent.yaml; then a target that agent.yaml names.
# Usage: test-roles.sh TREE FOLDER_OF_PACKAGES HOST_UP [FOLDER_OF_PROGRAMS]
#   TREE      a debootstrapped tree with systemd; it is used through an overlay and never changed
#   HOST_UP   the testbed's host-up.sh, which boots a tree under systemd-nspawn
#   PROGRAMS  petrel-agent, petrel-collector and petrel in the place of those of the packages
# Needs: root, systemd-container, overlayfs; a network for apt while it prepares. The host itself has none.
# Ends with `N passed, M failed`.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,11p' "$0" >&2; exit 2; }
tree=$(readlink -f "$1") packages=$(readlink -f "$2") host_up=$(readlink -f "$3") programs=${4:+$(readlink -f "$4")}
test=roles
# shellcheck source=test-functions.sh
. "$(dirname "$(readlink -f "$0")")/test-functions.sh"

# says WORDS FILE TEXT: a file of the host has the text; else what it says of setup is shown.
says() { check "$1" "grep -qF -- $(printf '%q' "$3") $2 || { grep -F setup $2; false; }"; }
apt_host() {
    in_host apt-get -y -q -o Dpkg::Use-Pty=0 "$@" >"$base/apt.log" 2>&1 \
        || { tail -30 "$base/apt.log" >&2; die "apt-get $* failed"; }
}

services="postgresql pgbouncer redis-server caddy curl"

prepare() {
    prepared roles
    # shellcheck disable=SC2086
    fetch --no-install-recommends $services
    guide >"$root/root/guide.sh"
}

# The guide's own files: nobody but postgres and the application gets anywhere.
guide() {
    cat <<'GUIDE'
set -eu
hba=$(runuser -u postgres -- psql -Atc 'SHOW hba_file')
cat >"$hba" <<'HBA'
# TYPE   DATABASE  USER      ADDRESS        METHOD
local    all       postgres                 peer
hostssl  app       app       127.0.0.1/32   scram-sha-256
HBA
runuser -u postgres -- psql -qc "CREATE ROLE app LOGIN PASSWORD 'of-the-app'" -c 'CREATE DATABASE app OWNER app'
systemctl reload postgresql

verifier=$(runuser -u postgres -- psql -Atc "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
printf '"app" "%s"\n' "$verifier" >/etc/pgbouncer/userlist.txt
cat >/etc/pgbouncer/pgbouncer.ini <<'INI'
[databases]
app = host=127.0.0.1 port=5432 dbname=app

[pgbouncer]
logfile = /var/log/postgresql/pgbouncer.log
pidfile = /var/run/postgresql/pgbouncer.pid
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir = /var/run/postgresql
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
server_tls_sslmode = require
INI
systemctl restart pgbouncer

cat >>/etc/redis/redis.conf <<'CONF'
requirepass of-the-cache
rename-command CONFIG ""
rename-command FLUSHALL ""
rename-command FLUSHDB ""
rename-command DEBUG ""
rename-command KEYS ""
CONF
systemctl restart redis-server

cat >/etc/caddy/Caddyfile <<'CADDY'
{
	admin localhost:2019
	email admin@example.com
}

http://:8080 {
	respond "hello"
	log {
		output file /var/log/caddy/access.log
		format json
	}
}
CADDY
systemctl reload caddy
GUIDE
}

install() {
    echo "Services as the guide has them"
    # shellcheck disable=SC2086
    apt_host install --no-install-recommends $services
    check "the guide's configuration is taken" 'bash /root/guide.sh && sleep 1 && systemctl is-active --quiet postgresql pgbouncer redis-server caddy'
    apt_host install --no-install-recommends /root/dist/petrel-agent.deb /root/dist/petrel-collector.deb
    if [ -n "$programs" ]; then
        local program
        for program in petrel-agent petrel-collector petrel; do
            strip --strip-debug -o "$base/program" "$programs/$program"
            install_program "$base/program" "$root/usr/bin/$program"
        done
        sh_host 'systemctl restart petrel-agent petrel-collector'
    fi
    # pg_hba.conf lets the collector in nowhere either, and it says so.
    check "setup-database opens it for the collector" 'petrel-collector setup-database --yes && systemctl enable --now petrel-collector'
    eventually 60 "collector is ready" 'curl -fsS http://127.0.0.1:9600/readyz'
    check "the host joins" 'token=$(petrel-collector enroll create --host roles | tail -1) && petrel-agent join --token "$token" --collector 127.0.0.1'
    check "agent.yaml is the package's: comments alone" '! grep -vE "^(#|$)" /etc/petrel/agent.yaml'
}
install_program() { cp "$1" "$2.new" && chmod 755 "$2.new" && mv "$2.new" "$2"; }

# role WORD LINE...: what lacks, and the very lines, before setup.
role() {
    local word=$1 line
    shift
    for line in "$@"; do
        says "setup names what $word lacks: $line" /tmp/setup "$line"
        says "status names what $word lacks: $line" /tmp/status "$line"
    done
}

before() {
    echo "Before setup"
    # One reading of the running agent with all services there.
    eventually 40 "the agent has looked at PgBouncer" 'curl -fsS http://127.0.0.1:9100/metrics | grep -qx "pgbouncer_up 0"'
    # What status shows is the newest reading of the grid, which in the first seconds has not reached every service.
    for reader in postgres pgbouncer valkey; do
        eventually 40 "status knows of $reader" "petrel-agent status | grep -q '^$reader '"
    done
    check "setup lists what is missing" 'petrel-agent setup >/tmp/setup'
    check "status answers" 'petrel-agent status >/tmp/status 2>&1 || [ -s /tmp/status ]'
    says "status says how PostgreSQL is opened" /tmp/status "sudo petrel-agent setup postgresql"
    says "status says how PgBouncer is opened" /tmp/status "sudo petrel-agent setup pgbouncer"
    says "status says how Redis is opened" /tmp/status "sudo petrel-agent setup valkey"
    says "status says how Caddy is opened" /tmp/status "sudo petrel-agent setup caddy"
    role PostgreSQL 'local all petrel-agent peer' 'GRANT pg_monitor TO "petrel-agent"'
    role PgBouncer 'stats_users = petrel-agent' '"petrel-agent" "'
    role Redis 'user petrel on '
    role Caddy 'servers { metrics }'
    check "status prints no secret" '! grep -E "of-the-(app|cache)|SCRAM-SHA-256[$]" /tmp/status'
    check "nothing of theirs is read" '! curl -fsS http://127.0.0.1:9100/metrics | grep -E "^(pg_stat|redis_connected|pgbouncer_pools)"'
}

setup() {
    echo "Setup, once each"
    check "PostgreSQL" 'petrel-agent setup postgresql --yes'
    check "PgBouncer" 'petrel-agent setup pgbouncer --yes'
    check "Redis" 'petrel-agent setup redis --use-requirepass --yes'
    check "Caddy" 'petrel-agent setup caddy --yes'
    check "all are set up" '[ "$(petrel-agent setup | grep -c ": already set up$")" = 4 ]'
    check "twice changes nothing" 'for s in postgresql pgbouncer redis caddy; do petrel-agent setup $s --dry-run || exit 1; done'
    check "what the guide has is there still" 'grep -q "^hostssl  app" /etc/postgresql/*/main/pg_hba.conf && grep -q "^\"app\" \"SCRAM" /etc/pgbouncer/userlist.txt && grep -qx "requirepass of-the-cache" /etc/redis/redis.conf && grep -q "format json" /etc/caddy/Caddyfile'
    check "the application is let in through the pool, and over TLS" 'PGPASSWORD=of-the-app psql -h 127.0.0.1 -p 6432 -U app -Atc "SELECT 1" app | grep -qx 1'
    check "the cache wants its password" 'redis-cli GET x | grep -q NOAUTH && redis-cli -a of-the-cache --no-auth-warning SET x 1 | grep -qx OK'
    check "the agent may not read a value of it" 'p=$(head -n 1 /etc/petrel/secrets/valkey); redis-cli --user petrel -a "$p" --no-auth-warning GET x | grep -q NOPERM'
    check "the site answers" 'curl -fsS http://127.0.0.1:8080/ | grep -qx hello'
}

# stored EXPRESSION: the collector has it from the last scrapes.
stored() { eventually 60 "the collector has $1" "petrel query --json $(printf '%q' "$1") | grep -q '\"host\"'"; }

after() {
    echo "After setup, without agent.yaml"
    local line
    for line in 'pg_up 1' 'pgbouncer_up 1' 'redis_up 1'; do
        eventually 40 "/metrics has $line" "curl -fsS http://127.0.0.1:9100/metrics | grep -qx '$line'"
    done
    stored 'pg_up == 1'
    stored 'pg_stat_database_xact_commit{datname="app"} > 0'
    stored 'pgbouncer_up == 1'
    stored 'pgbouncer_pools_server_idle_connections{database="app"}'
    stored 'redis_up == 1'
    stored 'redis_db_keys{db="db0"} == 1'
    stored 'up{job="caddy"} == 1'
    stored 'caddy_http_requests_total'
    check "status has no complaint" 'petrel-agent status >/tmp/status 2>&1; ! grep -E "petrel-agent setup|failed|FAILS" /tmp/status'
    check "the agent said nothing else" '! journalctl -q -u petrel-agent -p warning --no-pager --since "-20 s" | grep -v "not joined"'
}

scraped() {
    echo "A target that agent.yaml names, scraped by an agent that is not root"
    check "the job is taken" 'printf "scrape:\n- job_name: site\n  static_configs: [{targets: [\"127.0.0.1:2019\"]}]\n" >>/etc/petrel/agent.yaml && petrel-agent check-config && systemctl reload petrel-agent'
    stored 'up{job="site"} == 1'
    stored 'caddy_http_requests_total{job="site"}'
}

prepare
boot
install
before
setup
after
scraped
summary
