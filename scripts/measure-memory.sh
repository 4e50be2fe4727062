#!/usr/bin/env bash
# Peak memory of recording many requests, from the first connection to the sealed benchmark, for every client type that a
# recipe is given for: the largest process of the whole run (GNU time counts every process that was waited for, the
# service too).
#
#   scripts/measure-memory.sh [requests] [client type…]
#
# Client types: redis_stress (10 million requests take about 40 s), vllm_stress (streams of 4 tokens, about 15,000
# requests a second: ask for fewer); both of them when none is named. Needs redis-server and GNU time
# (Debian packages redis-server, time). Builds release; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-10000000}
shift || true
[ $# -gt 0 ] || set -- redis_stress vllm_stress
cargo build --release --quiet
runner=$PWD/target/release/runner
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for client in "$@"; do
    case $client in
    redis_stress)
        service='{type: redis}'
        settings="{operation_mix: '50:50', value_size_bytes: 16, pipeline: 16}"
        ;;
    vllm_stress)
        service='{type: simulator, settings: {slots: 4096, prefill_base_s: 0, prefill_per_token_s: 0, decode_per_token_s: 0}}'
        settings='{max_tokens: 4, prompt_length: 8}'
        ;;
    *)
        echo "no recipe for $client here: add one" >&2
        exit 2
        ;;
    esac
    cat >campaign.yaml <<YAML
configuration: {target: local}
service: $service
client: {type: $client, settings: $settings}
benchmarks: {num_clients: 16, num_requests: $((requests / 16)), calibration: 0}
YAML
    echo "== $client, $requests requests"
    rm -rf results
    /usr/bin/time -f '%M KiB peak resident memory of any process, %e s in all' "$runner" run campaign.yaml --no-commit
    du -h --apparent-size results/.raw results/BM-*/requests.jsonl.zst results/BM-*/summary.json 2>/dev/null || true
done
