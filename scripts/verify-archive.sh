#!/usr/bin/env bash
# Verifies the archive of the repository one works in, and that nothing that the commit BASE held was changed or removed since: for
# continuous integration. BASE is what was there before a push, or what a change is proposed to; without one, or of zeros (a new
# branch), the history alone is looked at. A BASE that a forced push left behind is fetched.
#
#   scripts/verify-archive.sh [BASE]
#
# RUNNER names the program. Exit code 1 at any damage, 2 when BASE cannot be had.
set -euo pipefail
runner=${RUNNER:-target/release/runner}
base=${1:-}
if [ -z "${base//0/}" ]; then
  exec "$runner" verify
fi
if ! git cat-file -e "$base^{commit}" 2>/dev/null && ! git fetch --quiet --no-tags origin "$base"; then
  echo "cannot have commit $base, which the archive was to hold everything of" >&2
  exit 2
fi
exec "$runner" verify --append-only "$base"
