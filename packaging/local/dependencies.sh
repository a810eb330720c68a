#!/usr/bin/env bash
# Installs the system packages that building, running, testing and packaging Petrel need and that this machine lacks.
# Usage: dependencies.sh [build|run|test|deb]...   (sudo is used where the caller is not root)
set -euo pipefail

build="libssl-dev libpq-dev libsystemd-dev zlib1g-dev libyaml-dev libre2-dev libsnappy-dev pkg-config binutils"
run="postgresql curl"
test="python3"
deb="dpkg-dev lintian man-db python3 xz-utils"

wanted=
for group in "${@:-build}"; do wanted="$wanted ${!group}"; done

missing=
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done

if ! command -v swift >/dev/null 2>&1; then
    echo "Petrel is built with Swift 6.2 or newer, and no 'swift' is in PATH: install a toolchain (see README.md)." >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing packages:$missing. There is no apt-get here: install their equivalents by hand." >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing packages:$missing. Run as root: apt-get install$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "Installing missing system packages:$missing"
# Debian's postgresql would start a cluster of its own; Petrel brings up a private one.
if [[ " $missing " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
