#!/usr/bin/env bash
# Transactions per second of the `pgbench` client beside PostgreSQL's own pgbench: the same server, cores, clients,
# scale and seconds, prepared statements, the two alternating. Every transaction of ours is verified and recorded.
#
#   scripts/compare-pgbench.sh [repetitions] [seconds]
#
# Needs PostgreSQL with pgbench (Debian package postgresql) and two cores: the server has the first, the load the
# second. Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-5}
seconds=${2:-10}
scale=10
if [ -z "${RUNNER:-}" ]; then
    cargo build --release --quiet
    RUNNER=$PWD/target/release/runner
fi
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$work"' EXIT
cd "$work"
# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" -eq 0 ]; then
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chmod 755 "$work"
    install -d -o nobody -g nogroup data
fi
port=$((20000 + RANDOM % 10000))
export PGPASSWORD=comparison PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres
echo "$PGPASSWORD" >password
chmod 644 password
"${as[@]}" initdb -D "$work/data" -U postgres -A scram-sha-256 --pwfile="$work/password" --no-sync >/dev/null
# Without waiting for the disk, which would be the same for both and hide them.
"${as[@]}" taskset -c 0 postgres -D "$work/data" -c port="$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=off -c synchronous_commit=off -c max_connections=200 \
    -c autovacuum=off -c max_wal_size=4GB >server.log 2>&1 &
server=$!
until psql -qAtc 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done
pgbench --initialize --quiet --scale=$scale 2>/dev/null

printf '%-8s %-12s %12s %12s %7s   %s\n' clients script pgbench ours ratio '95 % interval of the ratio'
for clients in 1 16 64; do
    for script in select-only tpcb-like; do
        : >pairs
        cat >campaign.yaml <<YAML
configuration: {target: local}
service:
  type: postgres
  endpoint: '127.0.0.1:$port'
  settings: {user: postgres, password: '\${PGPASSWORD}', db_name: postgres}
client: {type: pgbench, settings: {scale: $scale, script: $script, threads: 1}}
benchmarks: {num_clients: $clients, warmup: 1s, duration: ${seconds}s}
YAML
        for _ in $(seq "$repetitions"); do
            theirs=$(taskset -c 1 pgbench --no-vacuum --protocol=prepared --builtin=$script --client="$clients" \
                --jobs=1 --time="$seconds" 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
            rm -rf results
            taskset -c 1 "$RUNNER" run campaign.yaml --no-commit --quiet >/dev/null
            ours=$(grep -o '"requests_per_second": *[0-9.]*' results/BM-*/summary.json | head -1 | grep -o '[0-9.]*$')
            echo "$theirs $ours" >>pairs
        done
        # Paired: the mean of the logarithms of the ratios, and its interval by Student's t.
        awk -v clients="$clients" -v script=$script '
            { theirs += $1; ours += $2; r = log($2 / $1); sum += r; squares += r * r; n++ }
            END {
                split("12.71 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ")
                mean = sum / n
                half = n > 1 ? (n <= 10 ? t[n - 1] : 1.96) * sqrt((squares - n * mean * mean) / (n - 1) / n) : 0
                printf "%-8s %-12s %12.0f %12.0f %7.2f   %.2f–%.2f\n", clients, script, theirs / n, ours / n,
                    exp(mean), exp(mean - half), exp(mean + half)
            }' pairs
    done
done
