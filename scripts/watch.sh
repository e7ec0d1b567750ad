# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Rebuilds and restarts one service of the running stack when its code changes. Sourced by ./dev.

# The newest change below the folders whose code a service is built from.
newest_change() {
    find crates services proto Cargo.toml Cargo.lock -name target -prune -o \
        \( -name '*.rs' -o -name '*.sql' -o -name '*.proto' -o -name '*.toml' -o -name '*.yaml' \) -type f -printf '%T@ %p\n' |
        sort -n | tail -n 1
}

# How the watched service was started. Remembered, since a build that ends at its start leaves no
# process to ask.
WATCHED_ENVIRONMENT=() WATCHED_PROGRAM=()

remember_service() {
    local name=$1 pid
    pid=$(cat "$RUN/$name.pid" 2>/dev/null) && [ -r "/proc/$pid/environ" ] ||
        die 3 "$name does not run; start everything with ./dev up"
    mapfile -d '' -t WATCHED_ENVIRONMENT <"/proc/$pid/environ"
    mapfile -d '' -t WATCHED_PROGRAM <"/proc/$pid/cmdline"
}

# restart SERVICE: the same command with the same environment.
restart() {
    local name=$1 pid port
    pid=$(cat "$RUN/$name.pid" 2>/dev/null) && stop_pid "$pid"
    case $name in
        runner) port=$HTTP_PORT ;;
        oracle-gate) port=$ORACLE_PORT ;;
        module-gate) port=$MODULE_PORT ;;
    esac
    # `start` gives up with the reason; the watching goes on.
    (start "$name" "$port" env -i "${WATCHED_ENVIRONMENT[@]}" "${WATCHED_PROGRAM[@]}") ||
        say "waiting for the next change"
}

watch_service() {
    local name=${1:-} seen now
    case $name in
        runner | oracle-gate | module-gate) ;;
        *) die 3 "usage: ./dev watch runner|oracle-gate|module-gate" ;;
    esac
    [ -s "$RUN/ports" ] || die 3 "nothing is up; start with ./dev up"
    # shellcheck source=/dev/null  # written by `up`
    . "$RUN/ports"
    remember_service "$name"
    # What is started here stays when the watching ends.
    LIFETIME=stay
    say "watching $name; Ctrl-C ends the watching, the service stays"
    seen=
    while :; do
        now=$(newest_change)
        if [ "$now" != "$seen" ]; then
            [ -z "$seen" ] || say "changed: ${now#* }"
            seen=$now
            # A build that fails leaves the running service as it is.
            if cargo build --locked --quiet -p "$name"; then restart "$name"; else say "does not build; waiting for the next change"; fi
        fi
        sleep 0.5
    done
}
