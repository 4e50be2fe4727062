#!/usr/bin/env bash
# How wrong vllm_stress is about the time to the first token, at 1 to 1000 streams at once: what it measures minus what
# the simulator says by its own stamps, for every request.
#
#   scripts/measure-ttft.sh [seconds] [streams…]
#
# 10 s and 1 10 100 500 1000 when nothing is given: about 80 s and the build. Every stream has a first token after 50 ms and
# then one every 50 ms, 20 in all. The simulator has the first core, the load the second (SERVER_CORES and LOAD_CORES say
# otherwise). A row is marked where one of the two had less than a tenth of its core left: then the error is also that of
# a machine without CPU to spare. Needs python3 and zstd. Builds release, unless RUNNER names a binary; leaves
# nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
[ $# -gt 0 ] || set -- 1 10 100 500 1000
truth=$PWD/scripts/compare-llm.py
if [ -z "${RUNNER:-}" ]; then
    cargo build --release --quiet
    RUNNER=$PWD/target/release/runner
fi
server_cores=${SERVER_CORES:-0} load_cores=${LOAD_CORES:-1}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; } 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
settings='{"slots": 65536, "prefill_base_s": 0, "prefill_per_token_s": 0, "decode_per_token_s": 0.05, "send_stamps": true, "seed": 1}'
ulimit -n "$(ulimit -H -n)"
taskset -c "$server_cores" "$RUNNER" agent simulate --host 127.0.0.1 --port "$port" --settings "$settings" &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done

printf '%-8s %9s %10s   %8s %8s %8s %8s   %s\n' streams requests chunks/s 'p50 ms' 'p90 ms' 'p99 ms' 'max ms' 'busy: server, load'
for streams in "$@"; do
    cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: simulator, endpoint: '127.0.0.1:$port'}
client: {type: vllm_stress, settings: {prompt_length: 32, max_tokens: 20, threads: 1}}
benchmarks: {num_clients: $streams, client_delay: $(awk "BEGIN { print 1 / $streams }"), warmup: 2s, duration: ${seconds}s, calibration: 0}
YAML
    rm -rf results
    before=$(python3 "$truth" busy)
    taskset -c "$load_cores" "$RUNNER" run recipe.yaml --no-commit --quiet >/dev/null
    after=$(python3 "$truth" busy)
    share=$(paste <(echo "$before") <(echo "$after") | awk '{ printf "%.0f%% ", 100 * ($3 - $1) / ($4 - $2) }')
    # Many records are kept outside the benchmark's folder.
    figures=$(find results -name requests.jsonl.zst -o -path '*/.raw/*' -type f | xargs zstd -dcq | python3 "$truth" ours)
    read -r requests p50 p90 p99 max <<<"$figures"
    of() { echo "$share" | awk -v core="${1%%[-,]*}" '{ print $(core + 1) }'; }
    mark=
    for core in "$(of "$server_cores")" "$(of "$load_cores")"; do [ "${core%\%}" -lt 90 ] || mark='  no CPU left'; done
    printf '%-8s %9s %10.0f   %8s %8s %8s %8s   %s, %s%s\n' "$streams" "$requests" \
        "$(awk "BEGIN { print $requests * 20 / $seconds }")" "$p50" "$p90" "$p99" "$max" \
        "$(of "$server_cores")" "$(of "$load_cores")" "$mark"
done
