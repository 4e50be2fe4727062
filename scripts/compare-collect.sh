#!/usr/bin/env bash
# Collects a large result from the cluster of the tests and copies the same folder with scp, several times in turn, over both
# transports.
# Needs root, as the cluster does, and a release build of the runner, or another one that RUNNER names.
#
#   scripts/compare-collect.sh [MEGABYTES] [ROUNDS]     1000 MB and 3 rounds take about 10 minutes
#
# Prints a line for each transport and round: seconds of both, scp's time over ours, and the peak memory of the runner in MB. Ours is the time from
# the end of the jobs to the last digest, by the journal; sealing what came is no part of it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
megabytes=${1:-1000}
rounds=${2:-3}
runner=${RUNNER:-$PWD/target/release/runner}
[ -x "$runner" ] || { echo "error: cargo build --release -p runner" >&2; exit 2; }
config=$(runner/tests/slurm/testbed/testbed up)
work=$(mktemp -d)
trap 'cd "$root"; rm -rf "$work"; "$root"/runner/tests/slurm/testbed/testbed down --unless-used' EXIT
cd "$work"
git init -q
mkdir targets
target() {
  cat >targets/testbed.yaml <<YAML
host: testbed
transport: $1
ssh_config: $config
account: p200000
qos: test
partition: cpu
time_limit: 10
exclusive: false
client_cpus: 2
poll: 1s
YAML
}
cat >large.yaml <<YAML
configuration: {target: testbed}
service: {command: exec sleep 1000}
client: {command: head -c ${megabytes}M /dev/urandom >"\$BENCHMARK_OUTPUT_DIR/large.bin"}
benchmarks: {timeout: 10m}
YAML
for turn in $(seq "$((rounds * 2))"); do
  round=$(((turn + 1) / 2))
  # Who begins changes from round to round.
  transport=$([ $(((turn + round) % 2)) = 0 ] && echo native || echo system)
  target "$transport"
  "$runner" --quiet run --detach --no-commit large.yaml >/dev/null
  folder=$(basename results/.work/run/*)
  until [ -z "$(ssh -F "$config" testbed "squeue -h -n $folder.serve,$folder.load")" ]; do sleep 1; done
  mkdir scp
  begun=$(date +%s.%N)
  scp -q -r -F "$config" "testbed:runner/run/$folder" scp
  ended=$(date +%s.%N)
  rm -rf scp
  python3 - "$runner" "$folder" "$transport, round $round" "$begun" "$ended" <<'PYTHON'
import datetime, json, resource, subprocess, sys
runner, folder, name, begun, ended = sys.argv[1:]
subprocess.run([runner, "--quiet", "collect", "--poll", "1", "--keep"], check=True, stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
times = {}
for line in open(f"results/.work/kept/{folder}/journal.jsonl"):
    entry = json.loads(line)
    times[entry["state"]] = datetime.datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).timestamp()
scp, ours = float(ended) - float(begun), times["collected"] - times["ended"]
print(f"{name}: scp {scp:.2f} s, collect {ours:.2f} s, ratio {scp / ours:.2f}, peak {peak:.0f} MB", flush=True)
PYTHON
  rm -rf results/.work/kept
  ssh -F "$config" testbed "rm -rf runner/run/$folder"
done
