#!/usr/bin/env bash
# Allocations of the load generator: the load agent of a kept run folder once more under heaptrack, for two numbers of
# requests. What is left when the smaller run is subtracted are the allocations that requests cause.
#
#   scripts/profile-heap.sh [requests]
#
# Needs redis-server, redis-cli and heaptrack (Debian packages redis-server, redis-tools, heaptrack). Builds release,
# unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-200000}
. scripts/paired.sh
find_runner
runner=$RUNNER
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >server.log &
server=$!
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

# Allocations and peak of a load of so many requests a client, four clients.
profile() {
    cat >campaign.yaml <<YAML
configuration: {target: local}
service: {type: redis, endpoint: '127.0.0.1:$port'}
client: {type: redis_stress, settings: {operation_mix: '50:50', value_size_bytes: 16}}
benchmarks: {num_clients: 4, num_requests: $(($1 / 4)), calibration: 0}
YAML
    rm -rf results profile.*
    "$runner" run campaign.yaml --no-commit --quiet --keep >/dev/null
    folder=$(echo results/.work/kept/*)
    # The service of the first run is still there, and its agent's last words would end the second.
    sed -i '/"stopped"\|"finished"/d' "$folder/events/serve.jsonl"
    echo '{}' >"$folder/secrets.env"
    heaptrack --output "$work/profile" "$runner" agent load "$folder" >heaptrack.log 2>&1
    heaptrack_print --print-peaks 0 --print-allocators 0 --print-temporary 0 --print-leaks 0 --file "$work"/profile.* |
        grep -E 'calls to allocation functions|peak heap memory'
}

echo "== $requests requests"
profile "$requests"
echo "== $((requests * 10)) requests"
profile $((requests * 10))
