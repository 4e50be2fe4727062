#!/usr/bin/env bash
# Whether reruns get the right verdict with the default thresholds: a Redis and a simulator that did not change are reproduced, a simulator
# that answers a fifth slower is not, and of a single repetition it cannot be told. The tests ask the same with thresholds that a busy
# machine does not break; this needs a machine that does nothing else, a release build, redis-server, python3.
#
#   scripts/check-rerun.sh [REPETITIONS=10] [SECONDS=5]
#
# About 8 minutes with the defaults. RUNNER names another build. Exit code 1 when a verdict is another.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-10} seconds=${2:-5}
runner=$(realpath -m "${RUNNER:-target/release/runner}")
[ -x "$runner" ] || cargo build --release -p runner
place=$(mktemp -d)
trap 'chmod -R u+w "$place"; rm -rf "$place"' EXIT
cd "$place"
git init -q -b main . && git config user.name Tester && git config user.email tester@localhost
git commit -q --allow-empty -m start

# The simulator reads what it does from a file, so that it can be slowed behind the recipe's back.
campaign() { # NAME REPETITIONS SERVICE CLIENT
  printf 'name: %s\nrepetitions: %s\nredeploy: false\nrecipe:\n  configuration: {target: local}\n  service: %s\n  client: %s\n  benchmarks: {num_clients: 4, duration: %s, warmup: 1}\n' \
    "$1" "$2" "$3" "$4" "$seconds" >"$1.yaml"
}
settings() { echo "{\"slots\": 8, \"prefill_base_s\": $1, \"prefill_per_token_s\": 0, \"decode_per_token_s\": 0}" >settings.json; }
simulator="{type: simulator, command: 'exec $runner agent simulate --host 127.0.0.1 --port \$SERVICE_PORT --settings \"\$(cat $place/settings.json)\"'}"
stream="{type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}"
campaign redis "$repetitions" "{type: redis}" "{type: redis_stress}"
campaign simulator "$repetitions" "$simulator" "$stream"
campaign slowed "$repetitions" "$simulator" "$stream"
campaign lone 1 "{type: redis, name: lone}" "{type: redis_stress}"

wrong=0
verdict() { # NAME EXPECTED
  local found
  found=$("$runner" --quiet rerun "$1" --json --results "$1" | python3 -c '
import json, sys
for line in sys.stdin:
    answer = json.loads(line)
    if "outcome" in answer:
        print(answer["outcome"], answer["recipe_digest_equal"], "-", answer["reason"])') || true
  printf '%-10s %s (expected: %s)\n' "$1" "$found" "$2"
  [ "${found%% *}" = "$2" ] || wrong=1
}
settings 0.02
for name in redis simulator slowed lone; do "$runner" --quiet run "$name.yaml" --results "$name" >/dev/null; done
verdict redis reproduced
verdict simulator reproduced
settings 0.024
verdict slowed not_reproduced
verdict lone cannot_tell
exit $wrong
