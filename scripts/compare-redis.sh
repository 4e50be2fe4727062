#!/usr/bin/env bash
# Throughput of redis_stress beside redis-benchmark: the same server, cores, clients, payload, number of keys, pipeline and
# threads, in alternating pairs. Every request of redis_stress is verified and recorded.
#
#   scripts/compare-redis.sh [pairs] [requests]
#
# Needs redis-server and redis-benchmark (Debian packages redis-server, redis-tools) and two cores: the server has
# the first, the load the second; two threads have both. Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/paired.sh
count=${1:-5}
requests=${2:-400000}
find_runner
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >server.log &
server=$!
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

theirs() {
    local more=()
    [ "$threads" -eq 1 ] || more=(--threads "$threads")
    taskset -c "$cores" redis-benchmark -p "$port" -c "$clients" -n "$all" -d 256 -r "$((keys * clients))" -P "$pipeline" "${more[@]}" \
        -t "${operation,,}" --csv 2>peer.log | sed -n "s/^\"$operation\",\"\([0-9.]*\)\".*/\1/p"
}

# Each client of redis_stress has so many; redis-benchmark draws from as many as all have.
keys=1000

# Clients, commands in a batch, threads, requests in all.
compare() {
    clients=$1 pipeline=$2 threads=$3 all=$(($4 / clients * clients))
    local mix=0:100
    cores=1
    [ "$threads" -eq 1 ] || cores=0,1
    [ "$operation" = SET ] || mix=100:0
    cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: redis, endpoint: '127.0.0.1:$port'}
client:
  type: redis_stress
  settings: {operation_mix: '$mix', num_keys: $keys, value_size_bytes: 256, pipeline: $pipeline, threads: $threads}
benchmarks: {num_clients: $clients, num_requests: $((all / clients)), calibration: 0}
YAML
    pairs "$count"
    printf '%-8s %-4s %-9s %-8s' "$clients" "$operation" "$pipeline" "$threads"
    ratio
}

printf '%-8s %-4s %-9s %-8s%12s %12s %7s   %s\n' clients op pipeline threads redis-bench. redis_stress ratio '95 % interval'
for operation in SET GET; do
    compare 1 1 1 $((requests / 8))
    compare 16 1 1 "$requests"
    compare 64 1 1 "$requests"
    compare 64 16 1 $((requests * 10))
    compare 64 1 2 "$requests"
done
