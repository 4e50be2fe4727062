#!/usr/bin/env bash
# Requests per second of `http_stress` beside wrk and oha: the same nginx, cores, connections, file and seconds, in
# alternating pairs. Every request of http_stress is compared byte for byte and recorded. Where the server's core is what
# limits both, their throughput is alike, and what a request takes of the load's core tells them apart.
#
#   scripts/compare-http.sh [pairs] [seconds]
#
# Needs nginx, wrk and time (Debian packages nginx-light, wrk, time) and two cores: the server has the first, the load the
# second. oha (`cargo install --locked oha`) is left out when it is not on PATH, or where OHA says. Builds release,
# unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-5}
seconds=${2:-5}
. scripts/paired.sh
find_runner
PATH=$PATH:/usr/sbin
OHA=${OHA:-$(command -v oha || true)}
[ -x /usr/bin/time ] || { echo 'error: no /usr/bin/time: install the package time' >&2; exit 2; }
[ -n "$OHA" ] || echo 'oha is left out: it is not on PATH, and OHA names none' >&2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
# The server is the one that a recipe starts, so that the content of its files is known.
cat >server.yaml <<YAML
configuration: {target: local}
service: {type: nginx, port: $port, settings: {worker_processes: 1, keepalive_requests: 1000000}}
client: {command: sleep 86400}
benchmarks: {timeout: 86400s}
YAML
taskset -c 0 "$RUNNER" run server.yaml --results served --no-commit --quiet >/dev/null 2>server.log &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done

theirs() {
    local rate
    if [ "$peer" = wrk ]; then
        rate=$(timed taskset -c 1 wrk --threads 1 --connections "$clients" --duration "${seconds}s" "$url" 2>peer.log |
            sed -n 's/^Requests\/sec: *\([0-9.]*\)/\1/p')
    else
        rate=$(timed taskset -c 1 "$OHA" --no-tui --output-format json -c "$clients" -z "${seconds}s" "$url" 2>peer.log |
            sed -n 's/.*"requestsPerSec": *\([0-9.]*\).*/\1/p' | head -1)
    fi
    their_cpu "$(awk -v rate="$rate" -v seconds="$seconds" 'BEGIN { print rate * seconds }')"
    echo "$rate"
}

printf '%-8s %-8s %-5s%12s %12s %7s   %-14s %s\n' clients bytes peer theirs ours ratio '95 % interval' 'CPU µs a request'
for clients in 1 16 64; do
    for size in 1024 65536; do
        url="http://127.0.0.1:$port/$size.bin"
        cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: nginx, endpoint: '127.0.0.1:$port'}
client: {type: http_stress, settings: {size_bytes: $size, threads: 1}}
benchmarks: {num_clients: $clients, warmup: 500ms, duration: ${seconds}s, calibration: 0}
YAML
        for peer in wrk ${OHA:+oha}; do
            pairs "$count"
            printf '%-8s %-8s %-5s' "$clients" "$size" "$peer"
            printf '%-70s' "$(ratio)"
            cpu
        done
    done
done
