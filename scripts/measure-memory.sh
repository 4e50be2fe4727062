#!/usr/bin/env bash
# Peak memory of recording ten million requests, from the first connection to the sealed benchmark: the largest
# process of the whole run (GNU time counts every process that was waited for, Redis too).
#
#   scripts/measure-memory.sh [requests]
#
# Needs redis-server and GNU time (Debian packages redis-server, time). Builds release; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-10000000}
cargo build --release --quiet
runner=$PWD/target/release/runner
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >campaign.yaml <<YAML
configuration: {target: local}
service: {type: redis}
client:
  type: redis_stress
  settings: {operation_mix: '50:50', value_size_bytes: 16, pipeline: 16}
benchmarks: {num_clients: 16, num_requests: $((requests / 16))}
YAML
/usr/bin/time -f '%M KiB peak resident memory of any process, %e s in all' "$runner" run campaign.yaml --no-commit
du -h --apparent-size results/.raw results/BM-*/summary.json
