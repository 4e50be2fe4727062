#!/usr/bin/env bash
# Peak memory of recording many requests, from the first connection to the sealed benchmark: of the load agent and of
# `runner run`, for a quarter, a half and all of a number of requests. Bounded memory shows as three equal rows.
#
#   scripts/measure-memory.sh [requests] [client type…]
#
# Without names: redis_stress (10 million requests and their fractions take about a minute). Others by scripts/load-recipe.sh; on two cores
# http_stress, pgbench and vllm_stress make some 10,000 to 50,000 requests a second; chroma_stress and the test servers of
# qdrant_stress and minio_stress some 100 to 1,000, ten million of which take hours: ask for fewer.
#
# Needs the servers (Debian packages redis-server, nginx-light, postgresql; scripts/test.sh installs the others). Builds
# release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. scripts/paired.sh
. scripts/load-servers.sh
requests=${1:-10000000}
shift || true
[ $# -gt 0 ] || set -- redis_stress
find_runner
work=$(mktemp -d)
# The service may have to enter it with another account.
chmod 755 "$work"
trap 'unserve; rm -rf "$work"' EXIT
cd "$work"

# Peak resident KiB of a process, as far as it lives.
peak() { sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null || true; }

# Of a whole run: peak of the load agent and of the runner, and seconds.
measure() {
    local begin=$SECONDS agent=0 runner=0 now child
    rm -rf results
    "$RUNNER" run recipe.yaml --no-commit --quiet >run.log 2>&1 &
    local running=$!
    while kill -0 "$running" 2>/dev/null; do
        now=$(peak "$running")
        [ "${now:-0}" -le "$runner" ] || runner=$now
        for child in $(cat "/proc/$running/task/"*/children 2>/dev/null); do
            if cat "/proc/$child/cmdline" 2>/dev/null | tr '\0' ' ' | grep -q 'agent load'; then
                now=$(peak "$child")
                [ "${now:-0}" -le "$agent" ] || agent=$now
            fi
        done
        sleep 0.1
    done
    wait "$running" || { cat run.log >&2; return 1; }
    printf '%-16s %12s %14.1f %12.1f %6s\n' "$1" "$2" "$(awk "BEGIN { print $agent / 1024 }")" \
        "$(awk "BEGIN { print $runner / 1024 }")" $((SECONDS - begin))
}

printf '%-16s %12s %14s %12s %6s\n' client requests 'agent MiB' 'runner MiB' s
for client in "$@"; do
    serve "$client"
    for part in 4 2 1; do
        bash "$root/scripts/load-recipe.sh" "$client" $((requests / part)) "$address" >recipe.yaml
        measure "$client" $((requests / part))
    done
    unserve
done
