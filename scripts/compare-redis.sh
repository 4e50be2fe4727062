#!/usr/bin/env bash
# Throughput of redis_stress beside redis-benchmark: the same server, cores, clients, payload, pipeline and threads, the
# two alternating. Every request of redis_stress is verified and recorded.
#
#   scripts/compare-redis.sh [repetitions]
#
# Needs redis-server and redis-benchmark (Debian packages redis-server, redis-tools) and two cores: the server has
# the first, the load the second. Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-3}
if [ -z "${RUNNER:-}" ]; then
    cargo build --release --quiet
    RUNNER=$PWD/target/release/runner
fi
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >server.log &
server=$!
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

# Median of the numbers on standard input.
median() { sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# One line: operation, clients, commands in a batch, threads, requests in all.
compare() {
    local operation=$1 clients=$2 pipeline=$3 threads=$4 requests=$5
    : >theirs
    : >ours
    local mix=0:100
    [ "$operation" = SET ] || mix=100:0
    # Two threads share the second core.
    cat >campaign.yaml <<YAML
configuration: {target: local}
service: {type: redis, endpoint: '127.0.0.1:$port'}
client:
  type: redis_stress
  settings: {operation_mix: '$mix', value_size_bytes: 256, pipeline: $pipeline, threads: $threads}
benchmarks: {num_clients: $clients, num_requests: $((requests / clients))}
YAML
    local more=()
    [ "$threads" -eq 1 ] || more=(--threads "$threads")
    for _ in $(seq "$repetitions"); do
        taskset -c 1 redis-benchmark -p "$port" -c "$clients" -n "$requests" -d 256 -P "$pipeline" "${more[@]}" \
            -t "${operation,,}" --csv 2>/dev/null | sed -n "s/^\"$operation\",\"\([0-9.]*\)\".*/\1/p" >>theirs
        rm -rf results
        taskset -c 1 "$RUNNER" run campaign.yaml --no-commit --quiet >/dev/null
        grep -o '"requests_per_second": *[0-9.]*' results/BM-*/summary.json | head -1 | grep -o '[0-9.]*$' >>ours
    done
    theirs=$(median <theirs) ours=$(median <ours)
    printf '%-8s %-4s %-9s %-8s %16.0f %16.0f %7.2f\n' "$clients" "$operation" "$pipeline" "$threads" "$theirs" "$ours" \
        "$(awk "BEGIN { print $ours / $theirs }")"
}

printf '%-8s %-4s %-9s %-8s %16s %16s %7s\n' clients op pipeline threads redis-benchmark redis_stress ratio
for operation in SET GET; do
    compare $operation 1 1 1 50000
    compare $operation 16 1 1 400000
    compare $operation 64 1 1 400000
    compare $operation 64 16 1 4000000
    compare $operation 64 1 2 400000
done
