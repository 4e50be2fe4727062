#!/usr/bin/env bash
# Allocations of the load generator: the load agent of a kept run folder once more under heaptrack, for two numbers of
# requests. What is left when the smaller run is subtracted are the allocations that requests cause.
#
#   scripts/profile-heap.sh [requests] [client]
#
# 200000 requests of redis_stress when nothing is given. Other client types by scripts/load-recipe.sh; the test servers of minio_stress, qdrant_stress and
# chroma_stress answer some 100 to 1,000 requests a second: ask for 2,000.
#
# Needs heaptrack and the service (Debian packages heaptrack, redis-server, nginx-light, postgresql; scripts/test.sh installs the others). Builds
# release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-200000}
client=${2:-redis_stress}
root=$PWD
. scripts/paired.sh
. scripts/load-servers.sh
find_runner
runner=$RUNNER
work=$(mktemp -d)
chmod 755 "$work"
trap 'unserve; rm -rf "$work"' EXIT
cd "$work"
serve "$client"

# Allocations and peak of a load of so many requests.
profile() {
    bash "$root/scripts/load-recipe.sh" "$client" "$1" "$address" >campaign.yaml
    rm -rf results profile.*
    "$runner" run campaign.yaml --no-commit --quiet --keep >/dev/null
    folder=$(echo results/.work/kept/*)
    # The service of the first run is still there, and its agent's last words would end the second.
    sed -i '/"stopped"\|"finished"/d' "$folder/events/serve.jsonl"
    echo "$secrets" >"$folder/secrets.env"
    heaptrack --output "$work/profile" "$runner" agent load "$folder" >heaptrack.log 2>&1
    heaptrack_print --print-peaks 0 --print-allocators 0 --print-temporary 0 --print-leaks 0 --file "$work"/profile.* |
        grep -E 'calls to allocation functions|peak heap memory'
}

echo "== $requests requests"
profile "$requests"
echo "== $((requests * 10)) requests"
profile $((requests * 10))
