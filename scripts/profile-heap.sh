#!/usr/bin/env bash
# Allocations of the load generator: the load agent of a kept run folder once more under heaptrack, for two numbers of
# requests. What is left when the smaller run is subtracted are the allocations that requests cause.
#
#   scripts/profile-heap.sh [requests] [client]
#
# 200000 requests of redis_stress when nothing is given. The others are those whose service asks for no password: http_stress,
# chroma_stress, vllm_stress and ollama_stress, by scripts/load-recipe.sh.
#
# Needs heaptrack and the service, for Redis redis-server and redis-cli (Debian packages heaptrack, redis-server, redis-tools,
# nginx-light; scripts/test.sh installs Chroma). Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-200000}
client=${2:-redis_stress}
case $client in
redis_stress | http_stress | chroma_stress | vllm_stress | ollama_stress) ;;
*)
    echo "error: $client: only for clients of services without a password" >&2
    exit 2
    ;;
esac
root=$PWD
PATH=$PATH:/usr/sbin:$root/target/test-servers/bin
. scripts/paired.sh
find_runner
runner=$RUNNER
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
if [ "$client" = redis_stress ]; then
    redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >server.log &
else
    # A service of a runner's own, which another recipe finds as one that runs already.
    {
        bash "$root/scripts/load-recipe.sh" "$client" 16 | sed "s/^service: {/&port: $port, /; /^client:/d; /^benchmarks:/d"
        echo 'client: {command: sleep 86400}'
        echo 'benchmarks: {timeout: 86400s}'
    } >server.yaml
    "$runner" run server.yaml --results served --no-commit --quiet >/dev/null 2>server.log &
fi
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server"
    sleep 0.1
done

# Allocations and peak of a load of so many requests.
profile() {
    bash "$root/scripts/load-recipe.sh" "$client" "$1" "127.0.0.1:$port" >campaign.yaml
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
