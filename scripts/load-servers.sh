# Sourced by the scripts that look at the load generator: servers that a recipe of load-recipe.sh finds as running ones.
#
# `serve CLIENT` starts the one for a client type on a free port and sets `address` and `server`; a service with a password has it in
# `secrets`, a JSON object, and in the environment. `unserve` ends it. The caller has set `root` and is in a folder of its own, which every account can enter.

address=
server=
secrets='{}'

bin=$root/target/test-servers/bin
PATH=$PATH:/usr/sbin:$bin:$(printf '%s:' /usr/lib/postgresql/*/bin)

serve() {
    local port=$((20000 + RANDOM % 10000)) as=()
    secrets='{}'
    case $1 in
    redis_stress)
        redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$PWD" >server.log &
        ;;
    minio_stress)
        export S3_KEY=measurement S3_SECRET=measurement-secret
        secrets="{\"S3_KEY\": \"$S3_KEY\", \"S3_SECRET\": \"$S3_SECRET\"}"
        rm -rf data
        MINIO_ROOT_USER=$S3_KEY MINIO_ROOT_PASSWORD=$S3_SECRET \
            "$bin/python" "$root/runner/tests/servers/s3.py" server data --address "127.0.0.1:$port" >server.log 2>&1 &
        ;;
    qdrant_stress)
        echo "{\"service\": {\"host\": \"127.0.0.1\", \"http_port\": $port, \"grpc_port\": null}}" >qdrant.json
        "$bin/python" "$root/runner/tests/servers/qdrant.py" --config-path qdrant.json >server.log 2>&1 &
        ;;
    postgres_smoke | postgres_stress | pgbench)
        export PG_PASSWORD=measurement
        secrets="{\"PG_PASSWORD\": \"$PG_PASSWORD\"}"
        rm -rf postgres
        mkdir postgres
        # It refuses to run as root.
        if [ "$(id -u)" -eq 0 ]; then
            as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
            chown nobody:nogroup postgres
        fi
        echo "$PG_PASSWORD" >password
        chmod 644 password
        "${as[@]}" initdb -D "$PWD/postgres" -U postgres -A scram-sha-256 --pwfile="$PWD/password" --no-sync >server.log
        "${as[@]}" postgres -D "$PWD/postgres" -c port="$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
            -c fsync=off -c max_connections=200 >server.log 2>&1 &
        ;;
    *)
        # A service of a runner's own, which another recipe finds as one that runs already.
        {
            bash "$root/scripts/load-recipe.sh" "$1" 16 | sed "s/^service: {/&port: $port, /; /^client:/d; /^benchmarks:/d"
            echo 'client: {command: sleep 86400}'
            echo 'benchmarks: {timeout: 86400s}'
        } >server.yaml
        "$RUNNER" run server.yaml --results served --no-commit --quiet >/dev/null 2>server.log &
        ;;
    esac
    server=$!
    address=127.0.0.1:$port
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$server"
        sleep 0.1
    done
    # A database listens before it lets anybody in.
    sleep 1
}

unserve() {
    [ -n "$server" ] || return 0
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
