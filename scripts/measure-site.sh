#!/usr/bin/env bash
# How long a site takes: a cold build, the same again, one more benchmark, the memory, what a version costs beside what is
# shared; and as many numbers through `asv publish` as the peer. Usage: scripts/measure-site.sh [SHAPE] [BENCHMARKS]
#
# SHAPE is `history` (16 configurations run again and again, the default) or `campaigns` (campaigns of 25 configurations run
# four times); examples/large_archive.rs writes either, 16,000 or 10,000 benchmarks when not given, each with about 100
# figures. asv gets the same executions as commits and each figure of each configuration as a benchmark. Builds the
# programs for release; the peer is a Python package, installed into target/asv.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
shape=${1:-history}
figures=100
case $shape in
  history) benchmarks=${2:-16000} commits=$(((benchmarks + 15) / 16)) configurations=16 ;;
  campaigns) benchmarks=${2:-10000} commits=4 configurations=$(((benchmarks + 3) / 4)) ;;
  *) echo "error: no shape $shape: history or campaigns" >&2 && exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
asv=target/asv
if [ ! -x "$asv/bin/asv" ]; then
  python3 -m venv "$asv"
  "$asv/bin/pip" install --quiet --disable-pip-version-check asv==0.6.5 virtualenv
fi
cargo build --release --quiet -p sitegen --bin sitegen --example large_archive
sitegen=$PWD/target/release/sitegen
make=$PWD/target/release/examples/large_archive

# Seconds and peak memory of a command.
measure() {
  python3 - "$@" <<'PYTHON'
import resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
took = time.monotonic() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{sys.argv[1]:<44} {took:8.2f} s {peak:8.0f} MiB" + ("" if code == 0 else f"  FAILED ({code})"))
PYTHON
}

"$make" "$work/results" "$shape" "$benchmarks"
cd "$work"
echo "$shape: $benchmarks benchmarks of about $figures figures"
measure "sitegen build, cold" "$sitegen" build --version one
measure "sitegen build, unchanged" "$sitegen" build --version one
for ((i = 0; i < 3; i++)); do
  "$make" results "$shape" 1 $((benchmarks + i))
  measure "sitegen build, one more benchmark" "$sitegen" build --version "more-$i"
done
measure "sitegen check" "$sitegen" check
du -sh --apparent-size site/o site/one site/more-2 site | awk '{ print "size of " $2 ": " $1 }'

# The peer: as many numbers, in histories as long.
series=$((configurations * figures))
echo "asv: $commits commits of $series benchmarks"
mkdir asv && cd asv
git init -q -b main repo
git -C repo config user.name Measure
git -C repo config user.email measure@localhost
for ((i = 0; i < commits; i++)); do
  GIT_COMMITTER_DATE="$((1700000000 + i * 3600)) +0000" git -C repo commit -q --allow-empty -m "$i" --date "$((1700000000 + i * 3600)) +0000"
done
python3 - "$series" <<'PYTHON'
import json, os, subprocess, sys
series = int(sys.argv[1])
commits = subprocess.run(["git", "-C", "repo", "log", "--reverse", "--format=%H"], capture_output=True, text=True).stdout.split()
json.dump({"version": 1, "project": "peer", "project_url": "", "repo": "repo", "branches": ["main"], "environment_type": "existing",
           "results_dir": "results", "html_dir": "html", "show_commit_url": ""}, open("asv.conf.json", "w"))
os.makedirs("results/machine")
machine = {"arch": "x86_64", "cpu": "cpu", "machine": "machine", "num_cpu": "4", "os": "linux", "ram": "1"}
json.dump({**machine, "version": 1}, open("results/machine/machine.json", "w"))
names = [f"bench.time_{i}" for i in range(series)]
benchmark = lambda name: {"name": name, "code": "", "param_names": [], "params": [], "type": "time", "unit": "seconds", "version": "1",
                          "timeout": 60.0, "number": 0, "repeat": 0, "rounds": 2, "sample_time": 0.01, "warmup_time": -1, "min_run_count": 2}
json.dump({**{name: benchmark(name) for name in names}, "version": 2}, open("results/benchmarks.json", "w"))
for place, commit in enumerate(commits):
    results = {name: [[1.0 + 0.01 * ((i * 31 + place * 17) % 13)], [], "1"] for i, name in enumerate(names)}
    json.dump({"commit_hash": commit, "env_name": "existing", "date": 1700000000000 + place * 3600000, "params": {**machine, "python": "3"},
               "python": "3", "requirements": {}, "env_vars": {}, "result_columns": ["result", "params", "version"], "results": results,
               "durations": {}, "version": 2}, open(f"results/machine/{commit[:8]}-existing.json", "w"))
PYTHON
measure "asv publish" "$root/$asv/bin/asv" publish
