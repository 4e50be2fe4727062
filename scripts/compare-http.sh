#!/usr/bin/env bash
# Requests per second of `http_stress` beside wrk and oha: the same nginx, cores, connections, file and seconds, in
# alternating pairs. Every request of http_stress is compared byte for byte and recorded. Where the server's core is what
# limits both, their throughput is alike, and what a request takes of the load's core tells them apart; an answer that nginx
# has in memory (`return 200`, compared by its sha256) costs it half of a file, and leaves the load's core as the limit.
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
memory=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; [ -z "$memory" ] || kill "$memory"; rm -rf "$work"' EXIT
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

# The other one answers from memory.
memory_port=$((port + 1))
text=$(head -c 512 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
cat >nginx.conf <<CONF
daemon off;
user root root;
pid $work/nginx.pid;
error_log stderr;
worker_processes 1;
events {}
http {
    access_log off;
    keepalive_requests 100000000;
    server {
        listen 127.0.0.1:$memory_port;
        location / { return 200 '$text'; }
    }
}
CONF
taskset -c 0 nginx -e stderr -c "$work/nginx.conf" 2>memory.log &
memory=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$memory_port") 2>/dev/null; do sleep 0.1; done

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

# Connections, what is asked for, the server's port, settings that say what must come.
compare() {
    clients=$1 url="http://127.0.0.1:$3$4"
    cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: nginx, endpoint: '127.0.0.1:$3'}
client: {type: http_stress, settings: {threads: 1, $5}}
benchmarks: {num_clients: $clients, warmup: 500ms, duration: ${seconds}s, calibration: 0}
YAML
    for peer in wrk ${OHA:+oha}; do
        pairs "$count"
        printf '%-8s %-8s %-5s' "$clients" "$2" "$peer"
        printf '%-70s' "$(ratio)"
        cpu
    done
}

printf '%-8s %-8s %-5s%12s %12s %7s   %-14s %s\n' clients answer peer theirs ours ratio '95 % interval' 'CPU µs a request'
digest=$(printf '%s' "$text" | sha256sum | cut -d' ' -f1)
for clients in 1 16 64; do
    compare "$clients" memory "$memory_port" /memory "path: /memory, size_bytes: 1024, sha256: '$digest'"
    for size in 1024 65536; do
        compare "$clients" "$size" "$port" "/$size.bin" "size_bytes: $size"
    done
done
