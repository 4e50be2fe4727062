#!/usr/bin/env bash
# Has pyarrow read the Parquet file that `runner export` writes, and compares its figures with the archive's. Needs python3 with
# venv; builds `runner` with the feature `parquet` (some minutes the first time). What needs no feature is in the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/check-parquet
pins=(pyarrow==26.0.1)
if [ "$(cat "$tools/pins" 2>/dev/null)" != "${pins[*]}" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}"
  echo "${pins[*]}" >"$tools/pins"
fi
tools=$PWD/$tools
cargo build -p runner --features parquet
runner=$PWD/target/debug/runner

place=$(mktemp -d)
trap 'chmod -R u+w "$place"; rm -rf "$place"' EXIT
cd "$place"
cat >small.yaml <<'END'
name: small
recipe:
  configuration: {target: local}
  service: {type: simulator, settings: {prefill_base_s: 1ms, decode_per_token_s: 0}}
  client: {type: vllm_stress, settings: {max_tokens: 5, prompt_length: 4}}
  benchmarks: {num_requests: 200, num_clients: 4, calibration: 0}
END
"$runner" --quiet run small.yaml --no-commit >/dev/null

"$runner" --quiet export latest --format parquet --out requests.parquet
"$runner" --quiet export latest --format jsonl >requests.jsonl
"$tools/bin/python" - results/BM-*/summary.json <<'END'
import json, sys
import pyarrow.compute as pc, pyarrow.parquet as pq
summary = json.load(open(sys.argv[1]))
table = pq.read_table("requests.parquet")
good = table.filter(pc.and_(table["success"], pc.invert(table["warmup"])))
assert good.num_rows == summary["successful_requests"] == 800, good.num_rows
mean = pc.mean(good["latency_s"]).as_py()
p99 = pc.quantile(good["latency_s"], q=0.99)[0].as_py()
for found, wanted in ((mean, summary["latency_s"]["avg"]), (p99, summary["latency_s"]["p99"])):
    assert abs(found - wanted) < 1e-9 * wanted, (found, wanted)
assert pc.sum(good["output_tokens"]).as_py() == 4000
# Every field of every record, lists of gaps among them.
gaps = 0
for line, row in zip(open("requests.jsonl"), table.to_pylist(), strict=True):
    record = json.loads(line)
    gaps += len(record.get("chunk_gaps_us", []))
    for name, value in record.items():
        below = value.items() if isinstance(value, dict) else [(None, value)]
        for key, wanted in below:
            found = row[name if key is None else f"{name}.{key}".replace(".", "_")]
            assert found == wanted, (name, key, found, wanted)
    for name in set(row) - set(record):
        assert not row[name] or "." in name or "_s_" in name, (name, row[name])
assert gaps >= 800, gaps
print(f"parquet: {table.num_rows} rows, {table.num_columns} columns, {gaps} gaps between chunks, mean, p99 and every field as archived")
END
