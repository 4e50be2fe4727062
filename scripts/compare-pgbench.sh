#!/usr/bin/env bash
# Transactions per second of the `pgbench` client beside PostgreSQL's own pgbench: the same server, cores, clients,
# scale and seconds, prepared statements, in alternating pairs. Every transaction of ours is verified and recorded.
#
#   scripts/compare-pgbench.sh [pairs] [seconds] [scale]
#
# Needs PostgreSQL with pgbench (Debian package postgresql) and two cores: the server has the first, the load the
# second. Builds release, unless RUNNER names a binary; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-5}
seconds=${2:-10}
scale=${3:-10}
. scripts/paired.sh
find_runner
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

# Fresh tables every time, as the runner makes them for itself.
theirs() {
    pgbench --initialize --quiet --scale="$scale" 2>/dev/null
    psql -qc CHECKPOINT
    taskset -c 1 pgbench --no-vacuum --protocol=prepared --builtin="$script" --client="$clients" --jobs=1 \
        --time="$seconds" 2>peer.log | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

printf '%-8s %-12s%12s %12s %7s   %s\n' clients script pgbench ours ratio '95 % interval'
for clients in 1 16 64; do
    for script in select-only tpcb-like; do
        cat >recipe.yaml <<YAML
configuration: {target: local}
service:
  type: postgres
  endpoint: '127.0.0.1:$port'
  settings: {user: postgres, password: '\${PGPASSWORD}', db_name: postgres}
client: {type: pgbench, settings: {scale: $scale, script: $script, threads: 1}}
benchmarks: {num_clients: $clients, warmup: 1s, duration: ${seconds}s, calibration: 0}
YAML
        pairs "$count"
        printf '%-8s %-12s' "$clients" "$script"
        ratio
    done
done
