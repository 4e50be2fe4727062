#!/usr/bin/env bash
# PUTs and GETs a second of minio_stress beside a tight loop over boto3: the same server, cores and object size, one
# client each, in alternating pairs. Every object of minio_stress is compared byte by byte and recorded.
#
#   scripts/compare-s3.sh [pairs] [seconds] [bytes]
#
# Measures the `minio` on PATH; without one, the test server, whose slowness hides the clients' (a ratio near 1 then
# says little). Needs what scripts/test.sh installs, and two cores: the server has the first, the load the second.
# Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-5}
seconds=${2:-5}
bytes=${3:-65536}
root=$PWD
bin=$root/target/test-servers/bin
. scripts/paired.sh
find_runner
"$bin/python" -c 'import boto3'
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
port=$((20000 + RANDOM % 10000))
export MINIO_ROOT_USER=comparison MINIO_ROOT_PASSWORD MINIO_BROWSER=off MINIO_UPDATE=off
MINIO_ROOT_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export AWS_ACCESS_KEY_ID=$MINIO_ROOT_USER AWS_SECRET_ACCESS_KEY=$MINIO_ROOT_PASSWORD
program=(minio)
if ! command -v minio >/dev/null; then
    program=("$bin/python" "$root/runner/tests/servers/s3.py")
    # boto3 signs in headers, which only a real store can check here.
    export S3_UNCHECKED=1
fi
taskset -c 0 "${program[@]}" server "$work/data" --address "127.0.0.1:$port" >server.log 2>&1 &
server=$!
until "$bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/minio/health/ready')" 2>/dev/null; do
    kill -0 "$server"
    sleep 0.2
done
theirs() {
    taskset -c 1 "$bin/python" "$root/scripts/compare-clients.py" s3 "$port" "$seconds" "$operation" "$bytes" 2>peer.log
}
printf '%-5s%12s %12s %7s   %s\n' '' boto3 minio_stress ratio '95 % interval'
for operation in put get; do
    cat >recipe.yaml <<YAML
configuration: {target: local}
service:
  type: minio
  endpoint: '127.0.0.1:$port'
  settings: {root_user: '\${MINIO_ROOT_USER}', root_password: '\${MINIO_ROOT_PASSWORD}'}
client:
  type: minio_stress
  settings: {object_size_bytes: $bytes, num_objects: 16, operation_mix: '$([ $operation = put ] && echo 100:0 || echo 0:100)', threads: 1}
benchmarks: {num_clients: 1, warmup: 500ms, duration: ${seconds}s, calibration: 0}
YAML
    pairs "$count"
    printf '%-5s' $operation
    ratio
done
