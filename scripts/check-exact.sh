#!/usr/bin/env bash
# `runner rerun --exact` on this project itself: a benchmark is made by a release build of HEAD, a later commit is made, and the
# build of HEAD is made again from its commit and repeats the benchmark. Needs a clean checkout; leaves nothing behind in it
# but `target/release`. Two release builds: about ten minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "$(git status --porcelain -- runner sitegen/analysis Cargo.toml Cargo.lock)" ]; then
  echo "error: there are changes that no commit holds: commit them first" >&2
  exit 2
fi
commit=$(git rev-parse HEAD)
cargo build --locked --release --package runner
runner=$PWD/target/release/runner
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git clone -q . "$place/source"
cd "$place"
cat >small.yaml <<'Y'
name: small
repetitions: 4
redeploy: false
thresholds: {p50: 1000, p99: 1000, throughput: 90, success_rate: 1}
recipe:
  configuration: {target: local}
  service:
    type: simulator
    settings: {slots: 4, prefill_base_s: 0.05, prefill_per_token_s: 0, decode_per_token_s: 0}
  client: {type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}
  benchmarks: {num_clients: 2, num_requests: 20, calibration: 0}
Y
"$runner" run small.yaml --no-commit
git -C source -c user.name=T -c user.email=t@localhost commit -q --allow-empty -m later
"$runner" rerun small --exact --source "$place/source" --no-commit --json >verdict.json 2>said.txt || { cat said.txt; exit 1; }
python3 - "$commit" <<'P'
import glob, json, sys

runs = [json.load(open(name)) for name in sorted(glob.glob("results/BM-*/run.json"))]
assert len(runs) == 8, len(runs)
again = [run for run in runs if "rerun_of" in run]
assert len(again) == 4
for run in again:
    assert run["tool"]["git_commit"] == sys.argv[1], run["tool"]
    assert "changes_sha256" not in run["tool"]
    original = next(one for one in runs if one["benchmark_id"] == run["rerun_of"])
    assert run["recipe_hash"] == original["recipe_hash"]
    assert run["client"]["sequence_digest"] == original["client"]["sequence_digest"]
same = again[0]["tool"]["binary_sha256"] == runs[0]["tool"]["binary_sha256"]
print("built again from", sys.argv[1][:12], "- the same bytes" if same else "- not the same bytes")
P
grep -h -o '"outcome":"[a-z_]*"' verdict.json
