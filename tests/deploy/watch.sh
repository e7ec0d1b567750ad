#!/usr/bin/env bash
# Watches a service of a stack of its own: a touched file restarts it with the new build, and the
# end of the watching leaves the service and nothing else.
#   tests/deploy/watch.sh FOLDER    the stack's data goes into FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LUMIO_RUN=${1:?a folder}
log=$LUMIO_RUN.log
fail() { echo "watch: $*" >&2; tail -n 20 "$log" >&2; exit 1; }
# until_true WHAT COMMAND…: the first build may have to build every dependency.
until_true() {
    local what=$1 deadline=$((SECONDS + 1200)); shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what never came"
        sleep 0.2
    done
}
service() { cat "$LUMIO_RUN/oracle-gate.pid"; }
is_another() { [ "$(service)" != "$1" ] && kill -0 "$(service)" 2>/dev/null; }
said() { [ "$(grep -c "$1" "$log")" -ge "$2" ]; }
is_gone() { ! pgrep -g "$1" >/dev/null; }

watching=
trap '[ -z "$watching" ] || kill -TERM -- "-$watching" 2>/dev/null || true; ./dev down >/dev/null 2>&1 || true' EXIT
./dev up >"$log" 2>&1 || fail "the stack did not start"
first=$(service)
# A process group of its own, as a terminal gives it; Ctrl-C reaches the whole group.
set -m
./dev watch oracle-gate >>"$log" 2>&1 &
watching=$!
set +m
until_true "the first restart" is_another "$first"
until_true "the word about it" said "oracle-gate is up" 2
second=$(service)
touch services/oracle-gate/src/main.rs
until_true "the word about the change" said "changed: services/oracle-gate/src/main.rs" 1
until_true "the restart after a change" is_another "$second"
until_true "the word about it" said "oracle-gate is up" 3
# The new program, not the old one that was replaced under its name.
case $(readlink "/proc/$(service)/exe") in *"(deleted)") fail "the old program was started again" ;; esac
kill -INT -- "-$watching"
until_true "the end of the watching" is_gone "$watching"
watching=
kill -0 "$(service)" 2>/dev/null || fail "the service ended with the watching"
./dev down >>"$log" 2>&1
[ ! -e "$LUMIO_RUN/oracle-gate.pid" ] || fail "the service stays after ./dev down"
rm -f "$log"
echo "watch: a touched file restarts the service, and the end of the watching leaves it running"
