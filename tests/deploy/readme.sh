#!/usr/bin/env bash
# Runs the commands of the README's section "By hand" as a newcomer pastes them: in sh, twice, after
# ./dev demo, on a stack of its own. Nothing may be left behind in the checkout.
#   tests/deploy/readme.sh FOLDER    the stack's data goes into FOLDER
# PYTHON may name another program, with its first arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LUMIO_RUN=${1:?a folder}
# shellcheck disable=SC2016  # backquotes are Markdown's
block=$(sed -n '/^## By hand/,/^## /p' README.md | sed -n '/^```sh$/,/^```$/p' | sed '1d;/^```$/,$d')
case $block in *"lumio verify"*) ;; *) echo "readme: the README has no commands" >&2; exit 1 ;; esac
before=$(git status --porcelain 2>/dev/null || true)
trap './dev down >/dev/null 2>&1 || true' EXIT
log=$LUMIO_RUN.log
# shellcheck disable=SC2086  # a program with its first arguments
${PYTHON:-python3} tests/deploy/unread.py "$LUMIO_RUN" ./dev demo >"$log" 2>&1 || { tail -n 30 "$log" >&2; exit 1; }
grep '^unread: ' "$log"
for time in first second; do
    # Only ./dev and what it puts on the PATH; -e, since a person would stop at the first failure
    # too.
    printf '%s\n' "$block" | sh -e -s >"$log" 2>&1 || { echo "readme: the $time time fails:" >&2; tail -n 30 "$log" >&2; exit 1; }
    grep -q '^proven:' "$log" || { echo "readme: the $time run is not verified:" >&2; tail -n 30 "$log" >&2; exit 1; }
done
after=$(git status --porcelain 2>/dev/null || true)
[ "$before" = "$after" ] || { echo "readme: files are left behind: $after" >&2; exit 1; }
rm -f "$log"
echo "readme: its commands work after ./dev demo, twice, in sh"
