# shellcheck shell=bash
# What the tests on one booted host share; they source it. The test sets `test`, its own name, and `tree`, `packages` and
# `host_up` from its arguments first. The tree is used through an overlay in a folder that goes at the end; `prepared`,
# `fetch` and `boot` come in this order, then checks, then `summary`.
die() { echo "test-$test: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "test-$test: needs root" >&2; exit 2; }

base=$(mktemp -d "/var/tmp/petrel-$test.XXXXXX")
name=p${test:0:1}$$
root=$base/root
passed=0 failed=0
leader=

stop() {
    local pid
    if [ -f "$base/$name.pid" ]; then
        pid=$(cat "$base/$name.pid")
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        rm -f "$base/$name.pid"
    fi
}
cleanup() {
    stop
    umount "$root" 2>/dev/null || umount -l "$root" 2>/dev/null || true
    rmdir /sys/fs/cgroup/{systemd,unified}/"host-$name" 2>/dev/null || true
    rm -rf --one-file-system "$base"
}
trap cleanup EXIT

in_host() { nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
sh_host() { in_host bash -c "$1"; }

# check WORDS COMMAND: passes where the command does on the host.
check() {
    if output=$(sh_host "$2" 2>&1); then
        passed=$((passed + 1))
        echo "  ok    $1"
    else
        failed=$((failed + 1))
        echo "  FAIL  $1"
        echo "        $2"
        sed 's/^/        | /' <<<"$output" | tail -20
    fi
}
# eventually SECONDS WORDS COMMAND
eventually() {
    local end=$((SECONDS + $1)) begun=$SECONDS
    until sh_host "$3" >/dev/null 2>&1 || [ $SECONDS -ge $end ]; do sleep 0.5; done
    check "$2 (after $((SECONDS - begun)) s)" "$3"
}
summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# prepared HOSTNAME: the tree under the overlay, with the packages in /root/dist.
prepared() {
    local package
    mkdir -p "$base/up" "$base/work" "$root"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$base/up,workdir=$base/work" "$root"
    mkdir -p "$root/root/dist"
    for package in petrel-agent petrel-collector; do cp "$packages/$package"_*.deb "$root/root/dist/$package.deb"; done
    echo "$1" >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
}

# fetch APT-ARGUMENT...: downloads what the packages in /root/dist and the named ones need: the booted host has no network.
fetch() {
    chroot "$root" env DEBIAN_FRONTEND=noninteractive bash -c \
        'apt-get -q update && apt-get -y -q --download-only install /root/dist/*.deb "$@"' fetch "$@" \
        >"$base/prepare.log" 2>&1 || { tail -20 "$base/prepare.log" >&2; die "apt could not fetch"; }
}

boot() {
    local answer
    answer=$("$host_up" "$root" "$name" "$base" --private-network)
    leader=${answer%% *}
    [ -n "$leader" ] || { tail -20 "$base/$name.log" >&2; die "the host did not boot"; }
    echo "booted: $answer ($(. "$root/etc/os-release"; echo "$PRETTY_NAME"), systemd $(in_host systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'))"
}
