#!/usr/bin/env bash
# Speed and memory of `runner analyze aggregate` on many requests, beside `zstd -dc` on the same file, alternating.
#
#   scripts/measure-aggregate.sh [requests] [repetitions]
#
# Needs zstd, GNU time and python3. Builds release; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=${1:-10000000}
repetitions=${2:-5}
cargo build --release --quiet -p runner
runner=$PWD/target/release/runner
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 - "$requests" <<'PY' | zstd -q -3 -o requests.jsonl.zst
import random, sys

random.seed(1)
out = []
for i in range(int(sys.argv[1])):
    latency = random.lognormvariate(-7, 0.5)
    operation = "GET" if random.random() < 0.5 else "SET"
    failed = random.random() < 0.001
    end = '"success":false,"error":"timeout"' if failed else '"success":true,"bytes_sent":24,"bytes_received":256'
    out.append('{"request_id":%d,"client":%d,"operation":"%s","start_s":%.9f,"latency_s":%.9f,%s}\n'
               % (i // 64, i % 64, operation, i * 1e-5, latency, end))
    if len(out) == 10000:
        sys.stdout.write("".join(out))
        out.clear()
sys.stdout.write("".join(out))
PY
echo '{"cases": [{"id": "all", "file": "requests.jsonl.zst"}]}' >cases.json
timed() { # label, command…
  local label=$1
  shift
  /usr/bin/time -a -o times -f "$label %e %M" "$@" >/dev/null
}
zstd -dc requests.jsonl.zst >/dev/null
for _ in $(seq "$repetitions"); do
  timed zstd zstd -dc requests.jsonl.zst
  timed aggregate "$runner" analyze aggregate cases.json
done
cat times
python3 - <<'PY'
import statistics

rows = [line.split() for line in open("times")]
seconds = {name: [float(row[1]) for row in rows if row[0] == name] for name in ("zstd", "aggregate")}
ratios = [z / a for z, a in zip(seconds["zstd"], seconds["aggregate"])]
peak = max(int(row[2]) for row in rows if row[0] == "aggregate") / 1024
print(f"median {statistics.median(seconds['zstd']):.2f} s and {statistics.median(seconds['aggregate']):.2f} s")
print(f"speed relative to zstd -dc: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}; peak {peak:.0f} MiB")
PY
