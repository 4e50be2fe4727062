#!/usr/bin/env bash
# Every comparison with a peer and every measurement of docs/performance.md, one after the other, with what each prints and needs.
#
#   scripts/compare.sh [name…]
#
# Without names: all, for about four hours on two cores. A name is what stands behind `compare-` or `measure-`: http, redis, ttft, … One that
# fails does not keep the others from running; exit code 1. Not among them: measure-browser.py, which needs a browser and a site.
set -uo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(ls compare-*.sh measure-*.sh | sed 's/^[a-z]*-//; s/\.sh$//')
failed=()
for name in "$@"; do
    for script in "compare-$name.sh" "measure-$name.sh"; do
        [ -e "$script" ] || continue
        echo "== $script"
        "./$script" || failed+=("$script")
    done
    [ -e "compare-$name.sh" ] || [ -e "measure-$name.sh" ] || failed+=("$name (no such script)")
done
[ ${#failed[@]} -eq 0 ] || { echo "error: not compared: ${failed[*]}" >&2; exit 1; }
