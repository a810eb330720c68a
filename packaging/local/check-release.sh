#!/usr/bin/env bash
# Checks the release programs: no ICU in the agent, no shared Swift runtime, sizes within their bounds, symbol versions
# that Debian 12 has; the units' hardening; decisions of the packaging scripts.
# Usage: check-release.sh FOLDER_OF_PROGRAMS
set -euo pipefail
programs=$1
failed=0
check() { if [ "$2" -gt "$3" ]; then echo "check-release: $1 is $2, at most $3 allowed" >&2; failed=1; else echo "check-release: $1 $2 (at most $3)"; fi; }

shared=$(ldd "$programs/petrel-agent" | grep -cE 'libswift|libFoundation|libpq|libcurl' || true)
check "forbidden shared libraries in petrel-agent" "$shared" 0
for program in petrel-agent petrel-collector petrel; do
    stripped=$(mktemp)
    strip -s -o "$stripped" "$programs/$program"
    check "$program stripped, MiB" $(($(stat -c %s "$stripped") / 1048576)) 60
    rm -f "$stripped"
done

# Packages must run on Debian 12: only a build made there can promise it.
here=$(dirname "$(readlink -f "$0")")
only_here=--only-here
if grep -qx 'VERSION_ID="12"' /etc/os-release 2>/dev/null; then only_here=; fi
"$here/../check-symbols" $only_here "$programs/petrel-agent" "$programs/petrel-collector" "$programs/petrel" || failed=1
"$here/../check-units" || failed=1
"$here/../check-scripts" || failed=1
exit $failed
