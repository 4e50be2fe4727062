#!/usr/bin/env bash
# Every comparison with a peer, one after the other, with what each prints and needs.
#
#   scripts/compare.sh [name…]
#
# Without names: all, for about two hours. A name is what stands between `compare-` and `.sh`: http, redis, … One that
# fails does not keep the others from running; exit code 1.
set -uo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(ls compare-*.sh | sed 's/^compare-//; s/\.sh$//')
failed=()
for name in "$@"; do
    echo "== $name"
    "./compare-$name.sh" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "error: not compared: ${failed[*]}" >&2; exit 1; }
