#!/usr/bin/env bash
# Looks for known vulnerabilities of the locked packages; says so, and does not fail, where their list is out of reach.
#
#   deploy/audit.sh [LOCK…]
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
locks=("$@")
[ "${#locks[@]}" -gt 0 ] || locks=(requirements.txt tests/requirements.txt)

status=0
for lock in "${locks[@]}"; do
  # The lock names every version, so nothing has to be resolved or installed.
  said=$(timeout 120 "$python" -m pip_audit --disable-pip --require-hashes --progress-spinner off -r "$lock" 2>&1)
  code=$?
  if [ "$code" -eq 0 ]; then
    # A proxy of the index may know packages and not what is known of them: that is no clean bill.
    skipped=$(grep -c 'could not be audited' <<<"$said")
    if [ "$skipped" -gt 0 ]; then
      printf '%s: %s packages not audited, the index says nothing of them\n' "$lock" "$skipped" >&2
    else
      printf '%s: no known vulnerabilities\n' "$lock"
    fi
  elif grep -q '^Found [0-9]' <<<"$said"; then
    printf '%s:\n%s\n' "$lock" "$said"
    status=1
  elif [ "$code" -eq 124 ] || grep -qE 'Connection|Max retries|timed out|Timeout|resolve|unreachable|HTTPError|ProxyError|ServiceError' <<<"$said"; then
    printf '%s: not audited, the list of known vulnerabilities is out of reach\n' "$lock" >&2
  else
    # A mistake of ours: it must not pass for a clean bill.
    printf '%s:\n%s\n' "$lock" "$said" >&2
    status=1
  fi
done
exit "$status"
