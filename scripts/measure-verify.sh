#!/usr/bin/env bash
# How fast `runner verify --digests` reads an archive beside sha256sum over the same files on 2 cores, and how much `.git` grows
# with 100 benchmarks of 100,000 requests each. Prints both as tables. Needs a release build, git, redis-server, taskset.
#
#   scripts/measure-verify.sh [BENCHMARKS=10000] [RUNS=5] [GROWTH=100] [REQUESTS=100000]
#
# About 15 minutes with the defaults; 1 minute with `200 2 3 2000`. RUNNER names another build. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
benchmarks=${1:-10000} runs=${2:-5} growth=${3:-100} requests=${4:-100000}
runner=$(realpath -m "${RUNNER:-target/release/runner}")
[ -x "$runner" ] || cargo build --release -p runner
place=$(mktemp -d)
trap 'chmod -R u+w "$place"; rm -rf "$place"' EXIT

project() {
  git init -q -b main "$1"
  git -C "$1" config user.name Tester
  git -C "$1" config user.email tester@localhost
  git -C "$1" commit -q --allow-empty -m start
}
bytes() { find "$1" -type f -printf '%s\n' | awk '{s += $1} END {printf "%d\n", s}'; }

echo "## verify beside sha256sum, $benchmarks benchmarks"
project "$place/many"
cat >"$place/many/small.yaml" <<'END'
name: small
recipe:
  configuration: {target: local}
  service: {type: simulator, settings: {prefill_base_s: 1ms, decode_per_token_s: 0}}
  client: {type: vllm_stress, settings: {max_tokens: 2, prompt_length: 4}}
  benchmarks: {num_requests: 200, num_clients: 4, calibration: 0}
END
(cd "$place/many" && "$runner" --quiet run small.yaml --no-commit >/dev/null)
# Copies of one benchmark with other ids: what is measured is reading and hashing.
python3 - "$place/many/results" "$benchmarks" <<'END'
import hashlib, os, shutil, sys
results, wanted = sys.argv[1], int(sys.argv[2])
first = sorted(name for name in os.listdir(results) if name.startswith("BM-"))[0]
for number in range(1, wanted):
    own = f"BM-20260101-{number:03}"
    place = os.path.join(results, own)
    shutil.copytree(os.path.join(results, first), place)
    os.chmod(os.path.join(place, "run.json"), 0o644)
    os.chmod(os.path.join(place, "manifest.json"), 0o644)
    path = os.path.join(place, "run.json")
    facts = lambda: (hashlib.sha256(open(path, "rb").read()).hexdigest(), os.path.getsize(path))
    before = facts()
    text = open(path).read().replace(first, own)
    open(path, "w").write(text)
    after = facts()
    path = os.path.join(place, "manifest.json")
    manifest = open(path).read().replace(first, own).replace(before[0], after[0])
    at = manifest.index('"run.json"')
    manifest = manifest[:at] + manifest[at:].replace(f'"size_bytes": {before[1]}', f'"size_bytes": {after[1]}', 1)
    open(path, "w").write(manifest)
END
files=$(find "$place/many/results" -path '*/BM-*' -type f | wc -l)
echo "files: $files, bytes: $(find "$place/many/results" -path '*/BM-*' -type f -printf '%s\n' | awk '{s += $1} END {print s}')"
now() { date +%s.%N; }
printf '%-6s %12s %12s %8s\n' run sha256sum_s verify_s ratio
for run in $(seq "$runs"); do
  # Two processes of sha256sum at once, as verify has two threads; both find the files in the page cache.
  start=$(now)
  find "$place/many/results" -path '*/BM-*' -type f -print0 | taskset -c 0,1 xargs -0 -P 2 -n 2000 sha256sum >/dev/null
  middle=$(now)
  (cd "$place/many" && taskset -c 0,1 "$runner" verify --digests >/dev/null)
  end=$(now)
  awk -v run="$run" -v a="$start" -v b="$middle" -v c="$end" \
    'BEGIN {printf "%-6s %12.3f %12.3f %8.2f\n", run, b - a, c - b, (b - a) / (c - b)}'
done

echo
echo "## growth of .git, $growth benchmarks of $requests requests"
project "$place/growth"
cat >"$place/growth/redis.yaml" <<END
name: redis
repetitions: $growth
redeploy: false
recipe:
  configuration: {target: local}
  service: {type: redis}
  client: {type: redis_stress, settings: {operation_mix: '50:50', num_keys: 1000}}
  benchmarks: {num_clients: 4, num_requests: $((requests / 4)), calibration: 0}
END
before=$(bytes "$place/growth/.git")
(cd "$place/growth" && "$runner" --quiet run redis.yaml >/dev/null)
loose=$(bytes "$place/growth/.git")
raw=$(bytes "$place/growth/results")
(cd "$place/growth" && "$runner" archive gc --pack)
packed=$(bytes "$place/growth/.git")
awk -v n="$growth" -v b="$before" -v l="$loose" -v p="$packed" -v r="$raw" 'BEGIN {
  printf "%-28s %14s %14s\n", "", "bytes", "a benchmark"
  printf "%-28s %14d %14.0f\n", "results, as files", r, r / n
  printf "%-28s %14d %14.0f\n", ".git before gc", l - b, (l - b) / n
  printf "%-28s %14d %14.0f\n", ".git after gc", p - b, (p - b) / n
}'
(cd "$place/growth" && "$runner" archive stat)
