#!/usr/bin/env bash
# How late the load generator sends in open loop: 10,000 requests a second, Poisson, at a Redis of its own on the
# first core, the load on the second, once for each repetition.
#
#   scripts/measure-send-lag.sh [repetitions]
#
# Needs redis-server and redis-cli (Debian packages redis-server, redis-tools) and two cores. Builds release;
# leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-3}
cargo build --release --quiet
runner=$PWD/target/release/runner
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work" >server.log &
server=$!
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done
cat >campaign.yaml <<YAML
configuration: {target: local}
service: {type: redis, endpoint: '127.0.0.1:$port'}
client:
  type: redis_stress
  settings: {operation_mix: '50:50', threads: 1}
benchmarks: {num_clients: 64, warmup: 1s, duration: 6s, load: {model: poisson, rate: 10000}, calibration: 0}
YAML
for _ in $(seq "$repetitions"); do
    taskset -c 1 "$runner" run campaign.yaml --no-commit --quiet >/dev/null
    "$runner" summary latest
done
