#!/usr/bin/env bash
# Installs the system packages that building, running, testing and packaging Petrel need and that this machine lacks.
# Usage: dependencies.sh [build|run|test|bench|deb]...   (sudo is used where the caller is not root)
set -euo pipefail

build="libssl-dev libpq-dev libsystemd-dev zlib1g-dev libyaml-dev libre2-dev libsnappy-dev libzstd-dev pkg-config binutils"
run="postgresql curl"
test="python3"
bench="python3 python3-numpy"
deb="dpkg-dev lintian man-db python3 xz-utils"
# With `bench`: programs to measure beside, which are left out where the distribution lacks them. Package and program
# have one name. Their services are not started: the bench runs them by itself.
peers="prometheus prometheus-node-exporter victoria-metrics"

wanted=
peers_missing=
for group in "${@:-build}"; do
    wanted="$wanted ${!group}"
    [ "$group" = bench ] || continue
    for peer in $peers; do command -v "$peer" >/dev/null 2>&1 || peers_missing="$peers_missing $peer"; done
done

missing=
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done

if ! command -v swift >/dev/null 2>&1; then
    echo "Petrel is built with Swift 6.2 or newer, and no 'swift' is in PATH: install a toolchain (see README.md)." >&2
    exit 1
fi
[ -n "$missing$peers_missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    [ -n "$missing" ] || exit 0
    echo "Missing packages:$missing. There is no apt-get here: install their equivalents by hand." >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        [ -n "$missing" ] || exit 0
        echo "Missing packages:$missing. Run as root: apt-get install$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "Installing missing system packages:$missing$peers_missing"
# Debian's postgresql would start a cluster of its own; Petrel brings up a private one.
if [[ " $missing " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
export DEBIAN_FRONTEND=noninteractive
add() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
# Without the peers a bench can do.
$sudo apt-get update -qq || [ -z "$missing" ]
# shellcheck disable=SC2086
[ -z "$missing" ] || add $missing

# The peers' services start neither now nor at the next boot. Source: policy-rc.d of Debian's init-system-helpers.
policy=/usr/sbin/policy-rc.d
if [ -n "$peers_missing" ] && [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
fi
for peer in $peers_missing; do
    if [ -z "$(apt-cache show "$peer" 2>/dev/null)" ] || ! add "$peer"; then
        echo "$peer can't be installed here: it is left out" >&2
        continue
    fi
    ! command -v systemctl >/dev/null 2>&1 || $sudo systemctl --quiet disable "$peer" || true
done
