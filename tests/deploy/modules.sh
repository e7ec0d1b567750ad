#!/usr/bin/env bash
# Runs every command of docs/modules.md as an author types it, from an empty folder to a published
# module, on a stack of its own, and says how long the first way takes. A command on the page that is
# not known here is a failure. Nothing may be left behind in the checkout.
#   tests/deploy/modules.sh FOLDER    the stack's data and the author's files go into FOLDER
# NPM and PYTHON may name other programs, with their first arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
checkout=$PWD
export LUMIO_RUN=${1:?a folder}
# What is installed from npm for "A published package as a module": small, and without dependencies.
package=ms@2.1.3
log=$LUMIO_RUN.log
author=$LUMIO_RUN/author
service_pid=

fail() { echo "modules: $1" >&2; tail -n 30 "$log" >&2; exit 1; }
end() {
    [ -z "$service_pid" ] || kill "$service_pid" 2>/dev/null || true
    ./dev down >/dev/null 2>&1 || true
}
# expect CODE FOLDER COMMAND: as pasted there, in sh.
expect() {
    local code=0
    (cd "$2" && sh -c "$3") >"$log" 2>&1 || code=$?
    [ "$code" = "$1" ] || fail "\`$3\` ends with $code instead of $1:"
}

# Commands stand alone on an indented line, or in backquotes within a sentence. The alternatives of
# `a|b` are commands each, and a remark after two spaces is none.
# shellcheck disable=SC2016  # backquotes are Markdown's
commands=$(
    sed -n -e 's/^    \(\(module-gate\|lumio\|npm\) .*\)$/\1/p' \
        -e 's/^.*`\(\(module-gate schema\|npm install\) [^`]*\)`.*$/\1/p' docs/modules.md |
        sed 's/  *# .*$//'
)
before=$(git status --porcelain 2>/dev/null || true)
trap end EXIT
# shellcheck disable=SC2086  # a program with its first arguments
${PYTHON:-python3} tests/deploy/unread.py "$LUMIO_RUN" ./dev up >"$log" 2>&1 || fail "./dev up fails:"
grep '^unread: ' "$log"
eval "$(./dev env)"
# Modules run as another user, who has to reach them.
mkdir -p "$author/asks/oracles/fixtures" "$author/wraps"
chmod 755 "$author"
export MODULE_GATE_NODE=${MODULE_GATE_NODE:-$checkout/.dev/tools/node/bin/node}
[ -x "$MODULE_GATE_NODE" ] || unset MODULE_GATE_NODE

# The service that a module of the page asks: what it answers is in a file.
printf '{"days":31}\n' >"$author/january"
${PYTHON:-python3} -u -m http.server --bind 127.0.0.1 --directory "$author" 0 >"$author/service.log" 2>&1 &
service_pid=$!
deadline=$((SECONDS + 30))
until port=$(grep -oE 'port [0-9]+' "$author/service.log" | grep -oE '[0-9]+'); do
    kill -0 "$service_pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ] ||
        fail "the service does not start: $(cat "$author/service.log")"
    sleep 0.1
done
cat >"$author/asks/module.json" <<TEXT
{ "id": "asks", "version": "1.0.0", "summary": "Asks a service for the days of a month.", "entry": "main.mjs",
  "provides": ["DaysPort@1"], "side_effects": ["Network"],
  "upstreams": [{ "name": "calendar", "kind": "http", "url": "https://calendar.example/v1" }] }
TEXT
cat >"$author/asks/main.mjs" <<'TEXT'
import { readFileSync, writeFileSync } from 'node:fs';
const { month } = JSON.parse(readFileSync(process.env.LUMIO_INPUT, 'utf8'));
const answer = await fetch(`${process.env.LUMIO_UPSTREAM_CALENDAR}/${month}`);
writeFileSync(`${process.env.LUMIO_OUTPUT}/days.json`, await answer.text());
TEXT
printf '{"month":"january"}\n' >"$author/asks/ask.json"
cat >"$author/asks/upstreams.json" <<TEXT
{ "upstreams": [{ "kind": "http", "url": "https://calendar.example/v1", "via": "http://127.0.0.1:$port",
  "plain_http": true, "everyone": true }] }
TEXT

count=0 took='' began=$SECONDS
while IFS= read -r command; do
    count=$((count + 1))
    case $command in
        "module-gate new "* | "module-gate run --module word.count "* | "module-gate advise "* | \
            "module-gate gates shipping --module word.count")
            expect 0 "$author" "$command" ;;
        "lumio module publish word.count "*)
            expect 0 "$author" "$command"
            took=$((SECONDS - began))
            agent=$(sed -n 's/^published  agent \([0-9]*\),.*/\1/p' "$log")
            digest=$(lumio module digest "$author/word.count")
            expect 0 "$author" "lumio agent show $agent"
            grep -q "$digest" "$log" || fail "the registry does not name the module $digest:" ;;
        "module-gate schema "*)
            for document in $(echo "${command#module-gate schema }" | tr '|' ' '); do
                expect 0 "$author" "module-gate schema $document"
                ${PYTHON:-python3} -m json.tool "$log" /dev/null || fail "the schema of $document is no JSON:"
            done ;;
        "module-gate run --module . --input ask.json --upstreams upstreams.json --record "*)
            expect 0 "$author/asks" "$command"
            [ -s "$author/asks/${command##* }" ] || fail "nothing was recorded by \`$command\`:"
            # Without the operator's file the recording answers, though the service is gone.
            kill "$service_pid"; wait "$service_pid" 2>/dev/null || true; service_pid=
            expect 0 "$author/asks" "module-gate run --module . --input ask.json --out again"
            grep -q '"days":31' "$author/asks/again/days.json" || fail "the recording gave another answer:" ;;
        "module-gate oracles run --modules-root examples/modules")
            # As the page says: one of them is not the same in every run on purpose.
            expect 1 "$checkout" "$command"
            grep -q 'git\.diff\.alt' "$log" || fail "\`$command\` does not name git.diff.alt:" ;;
        "module-gate gates shipping --"*" examples/"*)
            expect 0 "$checkout" "$command" ;;
        "npm install "*" NAME@VERSION")
            install=${command#npm }
            expect 0 "$author/wraps" "${NPM:-npm} ${install/NAME@VERSION/$package} --silent --no-fund --no-audit"
            [ -d "$author/wraps/node_modules/${package%@*}" ] || fail "$package was not installed:" ;;
        *) fail "docs/modules.md has a command that is not tried here: $command" ;;
    esac
done <<<"$commands"
[ -n "$took" ] || fail "docs/modules.md no longer leads to a published module"
[ "$took" -lt 600 ] || fail "from nothing to a published module took $took s, more than ten minutes"

after=$(git status --porcelain 2>/dev/null || true)
[ "$before" = "$after" ] || fail "files are left behind: $after"
rm -f "$log"
echo "modules: all $count commands of docs/modules.md work; from nothing to a published module took $took s"
