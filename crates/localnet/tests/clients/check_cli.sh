#!/usr/bin/env bash
# What an unmodified stellar-cli does against the network at URL.
#
# usage: check_cli.sh STELLAR URL WASM
# STELLAR is the program `stellar`. Its configuration goes to a folder of its own.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: $0 STELLAR URL WASM" >&2; exit 3; }
stellar=$1 url=$2 wasm=$3

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export HOME=$home XDG_CONFIG_HOME=$home XDG_DATA_HOME=$home STELLAR_NO_UPDATE_CHECK=1
seen=()

# check NAME COMMAND…: the command has to succeed. Its output is kept for `says`.
check() {
    local name=$1
    shift
    "$@" >"$home/out" 2>"$home/err" || {
        echo "stellar-cli: $name failed: $*" >&2
        cat "$home/out" "$home/err" >&2
        exit 1
    }
    seen+=("$name")
}

says() {
    grep -q -- "$1" "$home/out" "$home/err" || {
        echo "stellar-cli: expected $1 in:" >&2
        cat "$home/out" "$home/err" >&2
        exit 1
    }
}

check "network add" "$stellar" network add local --rpc-url "$url" --network-passphrase 'Standalone Network ; February 2017'
check "network use" "$stellar" network use local
check "network health" "$stellar" network health
check "network info" "$stellar" network info
says 'Standalone Network'

check "keys generate --fund" "$stellar" keys generate anna --fund
check "keys fund" bash -c '"$0" keys generate ben && "$0" keys fund ben' "$stellar"
anna=$("$stellar" keys address anna)
ben=$("$stellar" keys address ben)

check "tx new payment" "$stellar" tx new payment --source anna --destination ben --amount 10000000
check "tx new change-trust" "$stellar" tx new change-trust --source ben --line "USD:$anna"
check "tx new manage-data" "$stellar" tx new manage-data --source anna --data-name note --data-value 6869
check "tx new bump-sequence" "$stellar" tx new bump-sequence --source anna --bump-to 1

native=$("$stellar" contract id asset --asset native)
held() { "$stellar" contract invoke --id "$native" --source anna -- balance --id "$ben" 2>"$home/err" | tr -d '"'; }
check "contract invoke: read" held
before=$(tr -d '"' <"$home/out")
check "contract invoke: write" "$stellar" contract invoke --id "$native" --source anna --send yes -- transfer --from anna --to ben --amount 5
[ "$(held)" = $((before + 5)) ] || { echo "stellar-cli: the transfer did not arrive" >&2; exit 1; }
check "contract invoke: another party signs" "$stellar" contract invoke --id "$native" --source anna --send yes -- transfer --from ben --to anna --amount 5
check "contract asset deploy" "$stellar" contract asset deploy --asset "USD:$anna" --source anna

check "contract upload" "$stellar" contract upload --wasm "$wasm" --source anna
hash=$(tr -d '\n' <"$home/out" | grep -oE '[0-9a-f]{64}' | tail -n 1)
check "contract fetch" "$stellar" contract fetch --wasm-hash "$hash" --out-file "$home/fetched.wasm"
cmp "$wasm" "$home/fetched.wasm"
check "contract extend" "$stellar" contract extend --wasm-hash "$hash" --source anna --ledgers-to-extend 200000 --ttl-ledger-only
check "contract restore" "$stellar" contract restore --wasm-hash "$hash" --source anna

check "events" "$stellar" events --start-ledger 2 --id "$native" --output json --count 5
says transfer
check "ledger entry fetch account" "$stellar" ledger entry fetch account --account "$anna"
check "ledger latest" "$stellar" ledger latest
check "ledger fetch" "$stellar" ledger fetch 3
check "fees stats" "$stellar" fees stats

list=$(printf ', %s' "${seen[@]}")
echo "$("$stellar" --version | head -n 1): ${list:2}"
