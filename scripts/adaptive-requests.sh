#!/bin/sh
# Requests of the searched load of campaigns/adaptive.yaml beside those of ten listed loads (1, 2, 4, … 512) with so
# many repetitions that the interval of their knee is as narrow: once with a number of requests of each client, once
# with a time for each benchmark. The truth is forty clients. About ten minutes. Usage: scripts/adaptive-requests.sh [RUNNER]
set -eu
runner=${1:-target/release/runner}
most=3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Knee, interval, half its width over the knee and requests of the benchmarks of the first N repetitions of an archive;
# with a width, the fewest repetitions that reach it.
figures() {
    python3 - "$runner" "$1" "$2" "${3:-}" <<'PYTHON'
import glob, json, subprocess, sys
runner, results, most, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
runs = [json.load(open(path)) for path in sorted(glob.glob(results + "/BM-*/run.json"))]
answer = None
for repetitions in range(1 if wanted else most, most + 1):
    ids = [run["benchmark_id"] for run in runs if run["campaign"]["repetition"] <= repetitions]
    summaries = [json.load(open(f"{results}/{id}/summary.json")) for id in ids]
    requests = sum(summary["total_requests"] + summary["warmup_requests"] for summary in summaries)
    report = subprocess.run([runner, "--results", results, "sweep-report", *ids, "--json"], capture_output=True, text=True)
    found = json.loads(report.stdout)["series"][0]["analysis"]["throughput_saturation"]
    if not found["load"]:
        answer = f"{len(ids)} benchmarks, {requests} requests: {found['reason']}"
        continue
    low, high = found["interval"]
    half = (high - low) / 2 / found["load"]
    answer = f"{requests} {half:.4f} {found['load']:.1f} {low:.1f} {high:.1f} {len(ids)}"
    if not wanted or half <= float(wanted):
        break
print(answer)
PYTHON
}

compare() {
    name=$1
    shift
    "$runner" --results "$work/$name-searched" run --no-commit "$@" campaigns/adaptive.yaml >&2
    "$runner" --results "$work/$name-listed" run --no-commit "$@" --clients 1,2,4,8,16,32,64,128,256,512 \
        --repetitions $most campaigns/adaptive.yaml >&2
    searched=$(figures "$work/$name-searched" 1000)
    half=$(echo "$searched" | cut -d' ' -f2)
    listed=$(figures "$work/$name-listed" $most "$half")
    row='{ printf "%-22s %6s requests, knee %s [%s–%s], ±%.1f %%, %s benchmarks\n", name, $1, $3, $4, $5, $2 * 100, $6 }'
    echo "$searched" | awk -v name="$name, searched" "$row"
    echo "$listed" | awk -v name="$name, listed" "$row"
    echo "$searched $listed" | awk -v name="$name" '{ printf "%-22s %.2f of the requests\n", name, $1 / $7 }'
}

compare counted
compare timed --set benchmarks.duration=4s --set benchmarks.num_requests=1000000
