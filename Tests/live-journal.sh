#!/bin/bash
# Runs the "Live journal" test against a real systemd-journald in a private namespace, while 100,000 numbered lines are
# written through it and it rotates twice. Needs root, unshare and systemd-journald; says so and ends with 0 where not.
# usage: live-journal.sh JOURNALD_NS TEST_COMMAND...    e.g. live-journal.sh ../shared/testbed/journald-ns.sh swift test --skip-build
set -eu
if [ "$(id -u)" != 0 ] || [ ! -x /lib/systemd/systemd-journald ] || ! command -v unshare >/dev/null; then
    echo "SKIPPED live journal test: needs root, unshare and systemd-journald" >&2
    exit 0
fi
namespace=$1
shift
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
bash "$namespace" "$state" bash -eu -c '
    (
        # Longer than LineMax: journald splits it.
        { head -c 150000 /dev/zero | tr "\0" a; echo; } | systemd-cat -t petrel-live-long
        for part in 0 1 2; do
            seq -f "line %.0f" $((part * 33334)) $((part == 2 ? 99999 : part * 33334 + 33333)) |
                systemd-cat -t petrel-live -p warning
            journalctl --sync
            [ $part = 2 ] || journalctl --rotate
        done
    ) &
    writer=$!
    PETREL_LIVE_JOURNAL=/var/log/journal/$(cat /etc/machine-id) "$@" --filter LiveJournalTests
    wait $writer
' bash "$@"
