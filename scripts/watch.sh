# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Rebuilds and restarts one service of the running stack when its code changes. Sourced by ./dev.

# Every file that a service is built from, with the time of its last change.
watched_files() {
    find crates services proto spec contracts/wasm Cargo.toml Cargo.lock \( -name target -o -name tests \) -prune -o \
        -type f -printf "%T@ %p\n" 2>/dev/null | sort -n || true
}

# How the watched service was started. Remembered, since a build that ends at its start leaves no
# process to ask.
WATCHED_ENVIRONMENT=() WATCHED_PROGRAM=()

remember_service() {
    local name=$1 pid
    pid=$(running "$name") && [ -r "/proc/$pid/environ" ] ||
        die 3 "$name does not run; start everything with ./dev up"
    mapfile -d '' -t WATCHED_ENVIRONMENT <"/proc/$pid/environ"
    mapfile -d '' -t WATCHED_PROGRAM <"/proc/$pid/cmdline"
}

# restart SERVICE: the same command with the same environment.
restart() {
    local name=$1 pid port
    pid=$(running "$name") && stop_pid "$pid"
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
    local name=${1:-} seen='' now
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
    while :; do
        now=$(watched_files)
        if [ "$now" != "$seen" ]; then
            # What is gone has no line any more, so the newest file that is left is named.
            [ -z "$seen" ] || say "changed: $(tail -n 1 <<<"$now" | cut -d' ' -f2-)"
            seen=$now
            # A build that fails leaves the running service as it is. The other programs are named
            # because their features decide how common dependencies are built.
            if cargo build --locked --quiet "${PROGRAMS[@]}" --bin "$name"; then restart "$name"; else say "does not build; waiting for the next change"; fi
        fi
        sleep 0.5
    done
}
