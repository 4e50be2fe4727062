#!/usr/bin/env bash
# How wrong vllm_stress, guidellm and aiperf are about the time to the first token: what each calls TTFT minus what the
# simulator says by its own stamps, request by request. The same simulator, cores, streams and seconds, one after the other.
#
#   scripts/compare-llm.sh [seconds] [streams…]
#
# 10 s and 1 10 100 500 1000 when nothing is given: about 8 min and the build (the peers take half a minute each to start). For
# a trial: compare-llm.sh 3 1 10. Every stream has a first token after 50 ms and then one every 50 ms, 20 in all; each
# tool has 2 s of warm-up, where it knows what that is. The simulator has the first core, the tools all others (SERVER_CORES and
# LOAD_CORES say otherwise); on two cores the peers, which are many processes, have one. They come from Python packages
# of pinned versions in an environment below target/ (1.5 GB); no model hub is asked, the tokenizer is made here.
# Needs python3-venv and zstd. Builds release, unless RUNNER names a binary.
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
# Two environments: the peers want different versions of the same packages.
peers=$PWD/target/llm-peers
for pin in guidellm==0.3.1 aiperf==0.13.0; do
    home=$peers/${pin%%==*}
    if [ "$(cat "$home/pin" 2>/dev/null)" != "$pin" ]; then
        python3 -m venv --clear "$home"
        "$home/bin/pip" install --quiet --disable-pip-version-check "$pin"
        echo "$pin" >"$home/pin"
    fi
done
server_cores=${SERVER_CORES:-0} load_cores=${LOAD_CORES:-1-$(($(nproc --all) - 1))}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" || true; } 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
"$peers/aiperf/bin/python" "$truth" tokenizer tokenizer 2>/dev/null
port=$((20000 + RANDOM % 10000))
settings='{"slots": 65536, "prefill_base_s": 0, "prefill_per_token_s": 0, "decode_per_token_s": 0.05, "send_stamps": true, "seed": 1}'
ulimit -n "$(ulimit -H -n)"
taskset -c "$server_cores" "$RUNNER" agent simulate --host 127.0.0.1 --port "$port" --settings "$settings" &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done

vllm_stress() {
    cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: simulator, endpoint: '127.0.0.1:$port'}
client: {type: vllm_stress, settings: {prompt_length: 32, max_tokens: 20}}
benchmarks: {num_clients: $1, warmup: 2s, duration: ${seconds}s, calibration: 0}
YAML
    rm -rf results
    taskset -c "$load_cores" "$RUNNER" run recipe.yaml --no-commit --quiet
    find results -name requests.jsonl.zst -o -path '*/.raw/*' -type f | xargs zstd -dcq >records
}
guidellm() {
    taskset -c "$load_cores" "$peers/guidellm/bin/guidellm" benchmark run --target "http://127.0.0.1:$port" \
        --model simulator --processor "$work/tokenizer" --data 'prompt_tokens=32,output_tokens=20' \
        --rate-type concurrent --rate "$1" --max-seconds "$((seconds + 2))" \
        --warmup-percent "$(awk "BEGIN { print 2 / ($seconds + 2) }")" --disable-progress --disable-console-outputs \
        --output-path "$work/guidellm.json"
}
aiperf() {
    rm -rf aiperf
    taskset -c "$load_cores" "$peers/aiperf/bin/aiperf" profile --model simulator --url "http://127.0.0.1:$port" \
        --endpoint-type completions --streaming --tokenizer "$work/tokenizer" --concurrency "$1" \
        --warmup-duration 2 --benchmark-duration "$seconds" --isl 32 --osl 20 --export-level raw \
        --artifact-dir "$work/aiperf" --ui none
}

printf '%-8s %-12s %9s   %9s %9s %9s %9s   %s\n' streams tool requests 'p50 ms' 'p90 ms' 'p99 ms' 'max ms' 'busy: each core'
for streams in "$@"; do
    for tool in vllm_stress guidellm aiperf; do
        before=$(python3 "$truth" busy)
        if ! "$tool" "$streams" >log 2>&1; then
            printf '%-8s %-12s failed: %s\n' "$streams" "$tool" "$(tail -1 log)"
            continue
        fi
        after=$(python3 "$truth" busy)
        share=$(paste <(echo "$before") <(echo "$after") | awk '{ printf "%.0f%% ", 100 * ($3 - $1) / ($4 - $2) }')
        case $tool in
        vllm_stress) figures=$(python3 "$truth" ours <records) ;;
        guidellm) figures=$(python3 "$truth" guidellm guidellm.json) ;;
        aiperf) figures=$(python3 "$truth" aiperf aiperf/profile_export_raw.jsonl) ;;
        esac
        read -r requests p50 p90 p99 max <<<"$figures"
        printf '%-8s %-12s %9s   %9s %9s %9s %9s   %s\n' "$streams" "$tool" "$requests" "$p50" "$p90" "$p99" "$max" "$share"
    done
done
