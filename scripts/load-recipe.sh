#!/usr/bin/env bash
# Prints a recipe of so many small requests of a client type, for measuring the load generator and not the service.
#
#   scripts/load-recipe.sh CLIENT REQUESTS [HOST:PORT]
#
# Without an address, the runner starts the service. Of one that runs, S3 and PostgreSQL want their secrets in the environment: S3_KEY and S3_SECRET,
# PG_PASSWORD.
set -euo pipefail
client=$1
requests=$2
endpoint=${3:+", endpoint: '$3'"}
clients=16
case $client in
redis_stress)
    service="type: redis$endpoint"
    settings="operation_mix: '50:50', value_size_bytes: 16, pipeline: 16"
    ;;
http_stress)
    service="type: nginx$endpoint"
    service+=", settings: {keepalive_requests: 100000000}"
    settings="size_bytes: 1024"
    ;;
postgres_stress)
    service="type: postgres$endpoint${endpoint:+, settings: {user: postgres, password: '\${PG_PASSWORD}', db_name: postgres\}}"
    settings="operation_mix: '100:0', num_inserts: 1000"
    ;;
pgbench)
    service="type: postgres$endpoint${endpoint:+, settings: {user: postgres, password: '\${PG_PASSWORD}', db_name: postgres\}}"
    settings="script: select-only"
    ;;
chroma_stress)
    service="type: chroma$endpoint"
    settings="operation_mix: '100:0', num_vectors: 100, dim: 8, top_k: 2"
    ;;
qdrant_stress)
    service="type: qdrant$endpoint"
    settings="operation_mix: '100:0', num_points: 100, dim: 8, top_k: 2"
    ;;
minio_stress)
    service="type: minio$endpoint, settings: {root_user: '\${S3_KEY}', root_password: '\${S3_SECRET}'}"
    settings="operation_mix: '50:50', object_size_bytes: 1024, num_objects: 16"
    ;;
vllm_stress | ollama_stress)
    service="type: simulator$endpoint, settings: {slots: 4096, prefill_base_s: 0, prefill_per_token_s: 0, decode_per_token_s: 0}"
    settings='max_tokens: 4, prompt_length: 8'
    ;;
vllm_smoke | ollama_smoke)
    service="type: simulator$endpoint, settings: {slots: 4096, prefill_base_s: 0, prefill_per_token_s: 0, decode_per_token_s: 0}"
    settings='max_tokens: 4'
    ;;
postgres_smoke)
    service="type: postgres$endpoint${endpoint:+, settings: {user: postgres, password: '\${PG_PASSWORD}', db_name: postgres\}}"
    settings=
    ;;
chroma_healthcheck)
    service="type: chroma$endpoint"
    settings=
    ;;
nginx_healthcheck)
    service="type: nginx$endpoint"
    service+=", settings: {keepalive_requests: 100000000}"
    settings=
    ;;
*)
    echo "no recipe for $client here: add one" >&2
    exit 2
    ;;
esac
cat <<YAML
configuration: {target: local}
service: {$service}
client: {type: $client, settings: {$settings}}
benchmarks: {num_clients: $clients, num_requests: $((requests / clients)), calibration: 0}
YAML
