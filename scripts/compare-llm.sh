#!/usr/bin/env bash
# How wrong vllm_stress, guidellm and aiperf are about the time to the first token: what each calls TTFT minus what the
# simulator says by its own stamps, request by request. The same simulator, cores, streams and seconds; the tools run in turn, who begins changing from
# round to round.
#
#   scripts/compare-llm.sh [rounds] [seconds] [streams…]
#
# 3 rounds of 10 s and 1 10 100 500 1000 when nothing is given: about 25 min and the build (the peers take half a minute each to start). For
# a trial: compare-llm.sh 1 3 1 10. Every stream has a first token after 50 ms and then one every 50 ms, 20 in all; each
# tool has 2 s of warm-up, where it knows what that is. The simulator has the first core, the tools all others (SERVER_CORES and
# LOAD_CORES say otherwise); on two cores the peers, which are many processes, have one. They come from Python packages
# of pinned versions in an environment below target/ (1.5 GB); no model hub is asked, the tokenizer is made here.
# Needs python3-venv and zstd. Builds release, unless RUNNER names a binary.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
seconds=${2:-10}
shift $(($# < 2 ? $# : 2))
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

# One run of a tool into the file of its figures: requests, p50, p90, p99 and max of the error, and how busy each core was.
once() {
    local tool=$1 streams=$2 before share figures
    before=$(python3 "$truth" busy)
    if ! "$tool" "$streams" >log 2>&1; then
        # What went wrong stands in the last line that names an error, not in the last line.
        echo "$(grep -E '(Error|Exception|error)[:(]' log | tail -1 | cut -c1-160)" >>"$tool.failed"
        return
    fi
    share=$(paste <(echo "$before") <(python3 "$truth" busy) | awk '{ printf "%.0f%% ", 100 * ($3 - $1) / ($4 - $2) }')
    case $tool in
    vllm_stress) figures=$(python3 "$truth" ours <records) ;;
    guidellm) figures=$(python3 "$truth" guidellm guidellm.json) ;;
    aiperf) figures=$(python3 "$truth" aiperf aiperf/profile_export_raw.jsonl) ;;
    esac
    echo "$figures $share" >>"$tool.figures"
}

# Of each column the median over the rounds; of p50 also the range.
row() {
    [ ! -s "$1.failed" ] || printf '%-8s %-12s failed %d of %d: %s\n' "$2" "$1" "$(wc -l <"$1.failed")" "$rounds" "$(tail -1 "$1.failed")"
    [ -s "$1.figures" ] || return 0
    printf '%-8s %-12s' "$2" "$1"
    for column in 1 2 3 4 5; do
        printf ' %9s' "$(sort -g -k"$column,$column" "$1.figures" |
            awk -v c="$column" '{ v[NR] = $c } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }')"
    done
    printf '   %s   %s\n' "$(sort -g -k2,2 "$1.figures" | awk 'NR == 1 { least = $2 } { most = $2 } END { print least "–" most }')" \
        "$(tail -1 "$1.figures" | cut -d' ' -f6-)"
}

tools=(vllm_stress guidellm aiperf)
printf '%-8s %-12s %9s %9s %9s %9s %9s   %s   %s\n' streams tool requests 'p50 ms' 'p90 ms' 'p99 ms' 'max ms' 'p50 of all rounds' 'busy: each core'
for streams in "$@"; do
    rm -f ./*.figures ./*.failed
    for round in $(seq "$rounds"); do
        for turn in 0 1 2; do
            once "${tools[(round + turn) % 3]}" "$streams"
        done
    done
    for tool in "${tools[@]}"; do row "$tool" "$streams"; done
done
