#!/usr/bin/env bash
# Searches a second of chroma_stress beside a tight loop over Chroma's own Python client: the same server, cores and
# collection size, one client each, in alternating pairs. Every search of chroma_stress is verified and recorded.
#
#   scripts/compare-chroma.sh [pairs] [seconds]
#
# Needs what scripts/test.sh installs, and two cores: the server has the first, the load the second. Builds release,
# unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-5}
seconds=${2:-5}
root=$PWD
bin=$root/target/test-servers/bin
. scripts/paired.sh
find_runner
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
taskset -c 0 "$bin/chroma" run --host 127.0.0.1 --port "$port" --path "$work/data" >server.log 2>&1 &
server=$!
until "$bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/api/v2/heartbeat')" 2>/dev/null; do
    kill -0 "$server"
    sleep 0.2
done
cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: chroma, endpoint: '127.0.0.1:$port'}
client: {type: chroma_stress, settings: {num_vectors: 2000, dim: 128, top_k: 10, operation_mix: '100:0', threads: 1}}
benchmarks: {num_clients: 1, warmup: 500ms, duration: ${seconds}s, calibration: 0}
YAML
theirs() { taskset -c 1 "$bin/python" "$root/scripts/compare-clients.py" chroma "$port" "$seconds" 2>peer.log; }
pairs "$count"
printf '%12s %12s %7s   %s\n' chromadb chroma_stress ratio '95 % interval'
ratio
