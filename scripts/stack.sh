# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Starts and stops the whole of Lumio on embedded defaults. Sourced by ./dev.

# LUMIO_RUN: another folder for the data of a stack, so that two can exist side by side.
RUN=${LUMIO_RUN:-$DEV_HOME/run}
BIN=$REPO/target/debug
STARTED=()
# What a running stack consists of, for cargo.
PROGRAMS=(-p runner -p oracle-gate -p module-gate -p soroban-localnet -p lumio)
# With "die", what is started ends with this shell, even if the shell is killed. `up` sets "stay".
LIFETIME=die

choose_ports() {
    local base=${LUMIO_PORT_BASE:-}
    if [ -z "$base" ] && any_taken 8000 4000 4001 4100 4200 5433 4222; then
        base=$(free_ports_from 20000) || exit
        say "a default port is taken; using $base to $((base + 6)) instead"
    fi
    if [ -n "$base" ]; then
        [[ "$base" =~ ^[0-9]+$ ]] && [ "$base" -ge 1024 ] && [ "$base" -le 65000 ] || die 3 "LUMIO_PORT_BASE has to be a number from 1024 to 65000"
        RPC_PORT=$base HTTP_PORT=$((base + 1)) RUNNER_GRPC_PORT=$((base + 2)) ORACLE_PORT=$((base + 3)) MODULE_PORT=$((base + 4)) PG_PORT=$((base + 5)) NATS_PORT=$((base + 6))
    else
        RPC_PORT=8000 HTTP_PORT=4000 RUNNER_GRPC_PORT=4001 ORACLE_PORT=4100 MODULE_PORT=4200 PG_PORT=5433 NATS_PORT=4222
    fi
}

# free_ports_from FIRST: the first of as many free ports in a row as a stack needs.
free_ports_from() {
    local base=$1
    while any_taken $(seq "$base" $((base + 6))); do base=$((base + 10)); [ "$base" -lt 60000 ] || die 2 "no free ports"; done
    echo "$base"
}

# What people and browsers call the gateway: a login and a passkey belong to a name, so the page, the
# gateway's own address and the command line's have to agree on one.
gateway_url() { echo "http://localhost:$HTTP_PORT"; }

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
any_taken() { local port; for port in "$@"; do ! listening "$port" || return 0; done; return 1; }

# Postgres refuses root, so as root it runs as another user.
as_postgres_user() { if [ "$(id -u)" -eq 0 ]; then setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; else "$@"; fi; }

# start NAME PORT COMMAND…: runs COMMAND with its log in $RUN/log, waits until PORT answers.
start() {
    local name=$1 port=$2; shift 2
    ! listening "$port" || die 2 "port $port (for $name) is taken; move all ports with LUMIO_PORT_BASE"
    local tie=()
    [ "$LIFETIME" = stay ] || tie=(setpriv --pdeathsig "$([ "$name" = postgres ] && echo INT || echo TERM)")
    setsid "${tie[@]}" "$@" >>"$RUN/log/$name.log" 2>&1 </dev/null &
    local pid=$!
    STARTED+=("$pid")
    echo "$pid" >"$RUN/$name.pid"
    local deadline=$((SECONDS + 60))
    until listening "$port"; do
        kill -0 "$pid" 2>/dev/null || { say "$name did not start:"; tail -n 5 "$RUN/log/$name.log" >&2; exit 2; }
        [ "$SECONDS" -lt "$deadline" ] || { say "$name does not answer on port $port:"; tail -n 5 "$RUN/log/$name.log" >&2; exit 2; }
        sleep 0.1
    done
    say "$name is up on port $port"
}

# Ends in the reverse order of starting, so that a service can still say goodbye to its database.
stop_started() {
    local i pid deadline
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do stop_pid "${STARTED[$i]}"; done
    STARTED=()
    rm -f "$RUN"/*.pid
}

stop_pid() {
    local pid=$1 deadline=$((SECONDS + 20)) signal=TERM
    [ "$(cat "$RUN/postgres.pid" 2>/dev/null)" != "$pid" ] || signal=INT
    kill "-$signal" "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null && [ "$(ps -o stat= -p "$pid" 2>/dev/null | cut -c1)" != Z ]; do
        [ "$SECONDS" -lt "$deadline" ] || { kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true; break; }
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
}

# POSTGRES_AUTH: how clients of a new server prove their password.
start_postgres() {
    local data=$RUN/postgres
    if [ ! -s "$data/PG_VERSION" ]; then
        rm -rf "$data"
        install -d -m 700 "$data"
        [ "$(id -u)" -ne 0 ] || chown 65534:65534 "$data"
        local password=$RUN/pgpass.tmp
        # Belongs to the user that reads it before anything is in it.
        install -m 600 /dev/null "$password"
        [ "$(id -u)" -ne 0 ] || chown 65534:65534 "$password"
        printf '%s' "$POSTGRES_PASSWORD" >"$password"
        as_postgres_user "$TOOLS/pg/bin/initdb" -D "$data" -U lumio --pwfile="$password" \
            --auth="${POSTGRES_AUTH:-scram-sha-256}" -E UTF8 --locale=C >"$RUN/log/initdb.log" 2>&1 ||
            { rm -f "$password"; tail -n 5 "$RUN/log/initdb.log" >&2; die 2 "Postgres could not make its data folder"; }
        rm -f "$password"
    fi
    if [ "$(id -u)" -eq 0 ]; then
        start postgres "$PG_PORT" setpriv --reuid 65534 --regid 65534 --clear-groups --pdeathsig "$([ "$LIFETIME" = stay ] && echo clear || echo INT)" \
            "$TOOLS/pg/bin/postgres" -D "$data" -p "$PG_PORT" -h 127.0.0.1 -k '' "$@"
    else
        start postgres "$PG_PORT" "$TOOLS/pg/bin/postgres" -D "$data" -p "$PG_PORT" -h 127.0.0.1 -k '' "$@"
    fi
}

prepare_run_folder() {
    mkdir -p "$RUN/log" "$RUN/nats" "$RUN/store" "$RUN/scratch"
    # Modules run under another user's id and have to reach their copies, but nobody else may list
    # what lies here.
    chmod 711 "$RUN" "$RUN/scratch"
    # Modules never read the store: it holds what runs were given and what came of them.
    chmod 700 "$RUN/log" "$RUN/nats" "$RUN/store"
    local file=$RUN/secrets.env name
    if [ -s "$file" ]; then
        chmod 600 "$file"
        grep -q '^RUNNER_DB_PASSWORD=' "$file" ||
            die 3 "the data in $RUN is of an older version of ./dev; './dev clean' deletes it, then start again"
        read_env_file "$file"
    fi
    make_secrets
    for name in "${PASSWORDS[@]}" "${TOKENS[@]}" "${KEYS[@]}"; do
        printf '%s=%s\n' "$name" "$(env_quote "${!name}")"
    done | write_secret "$file"
}

start_data_services() {
    start_postgres "$@"
    # The passwords reach the server by its environment, which other users cannot read.
    start nats "$NATS_PORT" env "RUNNER_NATS_PASSWORD=$(nats_quote "$RUNNER_NATS_PASSWORD")" \
        "ORACLE_GATE_NATS_PASSWORD=$(nats_quote "$ORACLE_GATE_NATS_PASSWORD")" \
        "MODULE_GATE_NATS_PASSWORD=$(nats_quote "$MODULE_GATE_NATS_PASSWORD")" \
        "OBSERVER_NATS_PASSWORD=$(nats_quote "$OBSERVER_NATS_PASSWORD")" \
        "$TOOLS/nats/nats-server" -c "$REPO/deploy/nats/nats.conf" -a 127.0.0.1 -p "$NATS_PORT" -sd "$RUN/nats"
}

make_databases() {
    PGHOST=127.0.0.1 PGPORT=$PG_PORT PGPASSWORD=$POSTGRES_PASSWORD POSTGRES_USER=lumio PATH="$TOOLS/pg/bin:$PATH" \
        RUNNER_DB_PASSWORD=$RUNNER_DB_PASSWORD ORACLE_GATE_DB_PASSWORD=$ORACLE_GATE_DB_PASSWORD \
        MODULE_GATE_DB_PASSWORD=$MODULE_GATE_DB_PASSWORD deploy/postgres/databases.sh ||
        die 2 "the databases could not be made, see $RUN/log/postgres.log"
}

build_binaries() {
    # ./dev test has built them together with the tests.
    [ -z "${LUMIO_BUILT:-}" ] || return 0
    say "building (the first time takes some minutes)"
    cargo build --locked --quiet "${PROGRAMS[@]}" ||
        die 1 "the build failed"
}

# Compares what Postgres, the vault, NATS and module-gate say about every run of the running stack.
account() {
    local pid entry
    pid=$(cat "$RUN/runner.pid" 2>/dev/null) && [ -r "/proc/$pid/environ" ] \
        || die 2 "the stack does not run; start it with ./dev up"
    (
        # The service's own settings. Exported, not passed as arguments: anybody can read those.
        while IFS= read -r -d '' entry; do export "${entry?}"; done <"/proc/$pid/environ"
        exec "$BIN/runner" account "$@"
    )
}
