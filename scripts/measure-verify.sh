#!/usr/bin/env bash
# How fast `runner verify` is beside sha256sum over the same files on 2 cores, for an archive with a commit for every benchmark:
# with `--digests`; `--anew`, which finds everything; and plain, which takes for known what an earlier one found and cannot have changed.
# Then how much `.git` grows with 100 benchmarks of 100,000 requests each. Prints tables. Needs a release build, git, redis-server, taskset, zstd.
#
#   scripts/measure-verify.sh [BENCHMARKS=10000] [RUNS=5] [GROWTH=100] [REQUESTS=100000]
#
# About 20 minutes with the defaults; 1 minute with `200 2 3 2000`. RUNNER names another build; GROWTH=0 leaves the second part out. Run it on a machine that does nothing else.
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
# Copies of one benchmark with other ids, and a commit for each, as one stream: what is measured is reading and hashing. The objects
# are in a pack, as after `runner archive gc --pack`.
python3 - "$place/many/results" "$benchmarks" <<'END' | git -C "$place/many" fast-import --quiet
import hashlib, os, shutil, sys
results, wanted = sys.argv[1], int(sys.argv[2])
out = sys.stdout.buffer
first = sorted(name for name in os.listdir(results) if name.startswith("BM-"))[0]
def commit(own, digest, number):
    message = f"Archive {own}\n\nBenchmark: {own}\nDigest: sha256:{digest}\n".encode()
    head = "from refs/heads/main^0\n" if number == 0 else ""
    out.write(f"commit refs/heads/main\ncommitter Tester <tester@localhost> {1767225600 + number} +0000\ndata {len(message)}\n".encode() + message + b"\n" + head.encode())
    place = os.path.join(results, own)
    for above, _, names in os.walk(place):
        for name in names:
            path = os.path.join(above, name)
            bytes = open(path, "rb").read()
            out.write(f"M 100644 inline results/{os.path.relpath(path, results)}\ndata {len(bytes)}\n".encode() + bytes + b"\n")
    if number == 0:
        out.write(b"M 100644 inline results/.gitattributes\ndata 8\n* -text\n\n")
sha256 = lambda path: hashlib.sha256(open(path, "rb").read()).hexdigest()
for number in range(wanted):
    own = first if number == 0 else f"BM-20260101-{number:03}"
    place = os.path.join(results, own)
    if number > 0:
        shutil.copytree(os.path.join(results, first), place)
        run, manifest = os.path.join(place, "run.json"), os.path.join(place, "manifest.json")
        before = sha256(run), os.path.getsize(run)
        for path in (run, manifest):
            os.chmod(path, 0o644)
        text = open(run).read().replace(first, own)
        open(run, "w").write(text)
        text = open(manifest).read().replace(first, own).replace(before[0], sha256(run))
        at = text.index('"run.json"')
        text = text[:at] + text[at:].replace(f'"size_bytes": {before[1]}', f'"size_bytes": {os.path.getsize(run)}', 1)
        open(manifest, "w").write(text)
    commit(own, sha256(os.path.join(place, "manifest.json")), number)
END
printf '* -text\n' >"$place/many/results/.gitattributes"
git -C "$place/many" read-tree HEAD
files=$(find "$place/many/results" -path '*/BM-*' -type f | wc -l)
echo "files: $files, bytes: $(find "$place/many/results" -path '*/BM-*' -type f -printf '%s\n' | awk '{s += $1} END {print s}')"
now() { date +%s.%N; }
printf '%-6s %12s' run sha256sum_s
for how in digests anew plain; do printf ' %10s_s %6s' $how ratio; done
echo
# Seconds of one call of verify, and what each part of it took.
timed() {
  local start end
  start=$(now)
  (cd "$place/many" && taskset -c 0,1 "$runner" verify --json "$@" >"$place/answer.json")
  end=$(now)
  awk -v a="$start" -v b="$end" 'BEGIN {printf "%.3f\n", b - a}'
}
for run in $(seq "$runs"); do
  # Two processes of sha256sum at once, as verify has two threads; both find the files in the page cache.
  start=$(now)
  find "$place/many/results" -path '*/BM-*' -type f -print0 | taskset -c 0,1 xargs -0 -P 2 -n 2000 sha256sum >/dev/null
  end=$(now)
  peer=$(awk -v a="$start" -v b="$end" 'BEGIN {printf "%.3f\n", b - a}')
  printf '%-6s %12s' "$run" "$peer"
  for how in --digests --anew ""; do
    took=$(timed $how)
    awk -v a="$peer" -v b="$took" 'BEGIN {printf " %12.3f %6.2f", b, a / b}'
    [ "$how" != --anew ] || parts=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["seconds"])' "$place/answer.json")
  done
  echo "   parts of --anew: $parts"
done

[ "$growth" -gt 0 ] || exit 0
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
plain=$(find "$place/growth/results" -name '*.zst' -exec zstd -dcq {} + | wc -c)
(cd "$place/growth" && "$runner" archive gc --pack)
packed=$(bytes "$place/growth/.git")
awk -v n="$growth" -v b="$before" -v l="$loose" -v p="$packed" -v r="$raw" -v u="$plain" 'BEGIN {
  printf "%-28s %14s %14s\n", "", "bytes", "a benchmark"
  printf "%-28s %14d %14.0f\n", "records and samples, plain", u, u / n
  printf "%-28s %14d %14.0f\n", "results, as files", r, r / n
  printf "%-28s %14d %14.0f\n", ".git before gc", l - b, (l - b) / n
  printf "%-28s %14d %14.0f\n", ".git after gc", p - b, (p - b) / n
}'
(cd "$place/growth" && "$runner" archive stat)
