#!/usr/bin/env bash
# How late the load generator sends in open loop, and what a stalled server looks like. A Redis of its own is on the first
# core, the load on the second.
#
#   scripts/measure-send-lag.sh [repetitions] [seconds] [rate]
#
# Poisson arrivals, 10,000 a second for 6 s, once for each repetition; PASS when
#   - the p99 of start − intended is at most 100 µs,
#   - at least 99.9 % of the arrivals due in the window were sent in it,
#   - the gaps between arrivals pass a Kolmogorov–Smirnov test against the exponential law at the 1 % level, which one seed in
#     a hundred fails by chance; the seed is the repetition's number. (Gaps between sends, shown beside it, cannot be shorter
#     than a send takes.)
# Then 1,000 a second, evenly, for 6 s, in which Redis stops for 0.5 s; PASS when the p99 of the response time is within
# 2 % of the closed form 0.5 − 0.01 · seconds: arrivals during the stall wait for its end, so the response time is
# longer than r for a share (0.5 − r) / seconds of them. One test fails: exit code 1.
#
# Needs redis-server, redis-cli (Debian packages redis-server, redis-tools), zstd, python3 and two cores. Builds release,
# unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/paired.sh
repetitions=${1:-3}
seconds=${2:-6}
rate=${3:-10000}
find_runner
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
# Redis looks `hz` times a second whether a pause is over: at the default of 10 a pause is up to 0.1 s longer than asked.
taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --hz 500 --dir "$work" >server.log &
server=$!
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

cat >figures.py <<'PY'
import glob, json, math, subprocess, sys

kind, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
[folder] = glob.glob("results/BM-*")
external = glob.glob("results/.raw/*")
path = glob.glob(folder + "/requests.jsonl.zst") or external
text = subprocess.run(["zstd", "-dcq", path[0]], check=True, capture_output=True).stdout
requests = [json.loads(line) for line in text.splitlines()]
begin, end = json.load(open(folder + "/summary.json"))["window_s"]
requests = [request for request in requests if not request.get("warmup")]
failed = sum(not request["success"] for request in requests)


def percentile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def intended(request):
    return request.get("intended_s", request["start_s"])


def distance(times):
    times = sorted(times)
    gaps = sorted(b - a for a, b in zip(times, times[1:]))
    n = len(gaps)
    law = lambda gap: 1 - math.exp(-rate * gap)
    return n, max(max(abs(law(gap) - i / n), abs((i + 1) / n - law(gap))) for i, gap in enumerate(gaps))


def verdict(name, value, fine):
    print(f"  {'PASS' if fine else 'FAIL'}  {name}: {value}")
    return fine


good = True
if kind == "lag":
    lags = [request["start_s"] - intended(request) for request in requests]
    shown = ", ".join(f"p{share} {percentile(lags, share / 100) * 1e6:.1f} µs" for share in (50, 90, 99, 99.9))
    good &= verdict("send lag", shown, percentile(lags, 0.99) <= 100e-6)
    sent = sum(request["start_s"] < end and request.get("error") != "not sent" for request in requests)
    share = sent / len(requests)
    good &= verdict("achieved / requested", f"{share:.4%} of {len(requests)}, {failed} failed", share >= 0.999)
    n, due = distance(map(intended, requests))
    sends = distance([request["start_s"] for request in requests])[1]
    limit = 1.63 / math.sqrt(n)
    shown = f"D {due:.4f} of arrivals, at most {limit:.4f}; D {sends:.4f} of sends"
    good &= verdict("Kolmogorov–Smirnov", shown, due <= limit)
else:
    expect = 0.5 - 0.01 * seconds
    found = percentile([request["latency_s"] for request in requests], 0.99)
    service = percentile([request["latency_s"] - (request["start_s"] - intended(request)) for request in requests], 0.99)
    shown = f"{found:.4f} s, closed form {expect:.4f} s (p99 of the service time {service:.4f} s, {failed} failed)"
    good &= verdict("p99 response time", shown, abs(found / expect - 1) <= 0.02)
sys.exit(not good)
PY

recipe() { # load model, rate
    rm -rf results
    cat >recipe.yaml <<YAML
configuration: {target: local}
service: {type: redis, endpoint: '127.0.0.1:$port'}
client: {type: redis_stress, settings: {operation_mix: '50:50', threads: 1}}
benchmarks: {num_clients: 64, warmup: 1s, duration: ${seconds}s, load: {model: $1, rate: $2}, calibration: 0}
YAML
}
run() { # seed
    taskset -c 1 "$RUNNER" run recipe.yaml --seed "$1" --no-commit --quiet >run.log 2>&1 || { cat run.log >&2; return 1; }
}

bad=0
for repetition in $(seq "$repetitions"); do
    echo "Poisson, $rate a second, repetition $repetition"
    recipe poisson "$rate"
    run "$repetition"
    python3 figures.py lag "$rate" "$seconds" || bad=1
done
echo "A stall of 0.5 s at 1000 evenly spaced requests a second"
recipe constant 1000
run 1 &
running=$!
answered() { redis-cli -p "$port" info stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p'; }
# Past preparing (64,000 keys), warm-up and the beginning of the window.
enough=$(($(answered) + 64000 + 1000 + 1500))
until [ "$(answered)" -gt "$enough" ]; do
    kill -0 "$running"
    sleep 0.05
done
redis-cli -p "$port" client pause 500 all >/dev/null
wait "$running"
python3 figures.py stall 1000 "$seconds" || bad=1
exit $bad
