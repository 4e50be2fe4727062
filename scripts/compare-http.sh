#!/usr/bin/env bash
# Requests per second of `http_stress` beside wrk and oha: the same nginx, cores, connections, file and seconds, the
# three alternating. Every request of http_stress is compared byte for byte and recorded.
#
#   scripts/compare-http.sh [repetitions] [seconds]
#
# Needs nginx and wrk (Debian packages nginx-light, wrk) and two cores: the server has the first, the load the
# second. oha (`cargo install --locked oha`) is left out when it is not on PATH, or where OHA says. Builds release,
# unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-5}
seconds=${2:-5}
if [ -z "${RUNNER:-}" ]; then
    cargo build --release --quiet
    RUNNER=$PWD/target/release/runner
fi
PATH=$PATH:/usr/sbin
OHA=${OHA:-$(command -v oha || true)}
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

# Ratio of the second to the first column: the mean of the logarithms and its interval by Student's t.
ratio() {
    awk '
        { r = log($2 / $1); sum += r; squares += r * r; n++ }
        END {
            split("12.71 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ")
            mean = sum / n
            half = n > 1 ? (n <= 10 ? t[n - 1] : 1.96) * sqrt((squares - n * mean * mean) / (n - 1) / n) : 0
            printf "%.2f (%.2f–%.2f)", exp(mean), exp(mean - half), exp(mean + half)
        }'
}
mean() { awk '{ sum += $1 } END { printf "%.0f", sum / NR }'; }

printf '%-8s %-8s %10s %10s %10s   %-22s %s\n' clients bytes wrk oha ours 'ours/wrk (95 %)' 'ours/oha (95 %)'
for clients in 1 16 64; do
    for size in 1024 65536; do
        : >wrk
        : >oha
        : >ours
        url="http://127.0.0.1:$port/$size.bin"
        cat >campaign.yaml <<YAML
configuration: {target: local}
service: {type: nginx, endpoint: '127.0.0.1:$port'}
client:
  type: http_stress
  settings: {size_bytes: $size, threads: 1}
benchmarks: {num_clients: $clients, warmup: 500ms, duration: ${seconds}s}
YAML
        for _ in $(seq "$repetitions"); do
            taskset -c 1 wrk --threads 1 --connections "$clients" --duration "${seconds}s" "$url" |
                sed -n 's/^Requests\/sec: *\([0-9.]*\)/\1/p' >>wrk
            if [ -n "$OHA" ]; then
                taskset -c 1 "$OHA" --no-tui --output-format json -c "$clients" -z "${seconds}s" "$url" |
                    sed -n 's/.*"requestsPerSec": *\([0-9.]*\).*/\1/p' | head -1 >>oha
            fi
            rm -rf results
            taskset -c 1 "$RUNNER" run campaign.yaml --no-commit --quiet >/dev/null
            grep -o '"requests_per_second": *[0-9.]*' results/BM-*/summary.json | head -1 | grep -o '[0-9.]*$' >>ours
        done
        beside_oha=- oha=-
        if [ -n "$OHA" ]; then beside_oha=$(paste oha ours | ratio) oha=$(mean <oha); fi
        printf '%-8s %-8s %10s %10s %10s   %-22s %s\n' "$clients" "$size" "$(mean <wrk)" "$oha" "$(mean <ours)" \
            "$(paste wrk ours | ratio)" "$beside_oha"
    done
done
