# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# One paid run, from deposit to verified receipt. Sourced by ./dev.

lumio() {
    LUMIO_RPC_URL="http://127.0.0.1:$RPC_PORT" LUMIO_GATEWAY_URL="$(gateway_url)" LUMIO_KEYS_DIR="$RUN/keys" LUMIO_CONFIG_DIR="$RUN/lumio" \
        LUMIO_ORACLE_GATE_URL="http://127.0.0.1:$ORACLE_PORT" LUMIO_ORACLE_GATE_TOKEN="$CLI_TOKEN" \
        LUMIO_MODULE_GATE_URL="http://127.0.0.1:$MODULE_PORT" LUMIO_MODULE_GATE_TOKEN="$CLI_TOKEN" \
        "$BIN/lumio" "$@"
}

# The 32 bytes inside a key of the form S… or G…, as hex.
raw_key() { printf %s "$1" | base32 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n' | cut -c3-66; }

make_keys() {
    local name
    for name in runner source developer alice operator attestation; do
        [ -e "$RUN/keys/$name" ] || lumio keys show "$name" >/dev/null 2>&1 || lumio keys generate "$name" >/dev/null
    done
    RUNNER_KEY=$(lumio keys show runner --secret)
    SOURCE_KEY=$(lumio keys show source --secret)
    # The account that signs challenges exists on the network, so that contract accounts can log in
    # too.
    [ -e "$RUN/keys/login" ] || printf '%s\n' "$RUNNER_AUTH_SECRET" | lumio keys import login >/dev/null
    ATTESTATION_SEED=$(raw_key "$(lumio keys show attestation --secret)")
    ATTESTATION_KEY=$(raw_key "$(address_of attestation)")
}

address_of() { lumio keys show "$1" | grep -oE 'G[A-Z2-7]{55}' | head -n 1; }

# LUMIO_CONTROL=1: the network takes orders over HTTP, for tests.
start_chain() {
    # A chain that starts anew would have another history than the one the runner has seen, so it is
    # kept.
    start localnet "$RPC_PORT" "$BIN/lumio-localnet" --port "$RPC_PORT" --state-dir "$RUN/chain" --ledger-interval-ms 1000 \
        ${LUMIO_CONTROL:+--control}
    make_keys
    say "funding accounts and deploying the contracts"
    lumio fund runner source developer alice operator login >>"$RUN/log/lumio.log" 2>&1 || die 2 "funding failed, see $RUN/log/lumio.log"
    lumio deploy | sed 's/^/      /' >&2
}

start_gates_and_runner() {
    local postgres=127.0.0.1:$PG_PORT nats=127.0.0.1:$NATS_PORT
    start oracle-gate "$ORACLE_PORT" env \
        "DATABASE_URL=postgres://oracle_gate:$(url_escape "$ORACLE_GATE_DB_PASSWORD")@$postgres/oracle_gate" \
        "NATS_URL=nats://oracle-gate:$(url_escape "$ORACLE_GATE_NATS_PASSWORD")@$nats" \
        "ORACLE_GATE_BIND=127.0.0.1:$ORACLE_PORT" "ORACLE_GATE_PROFILE=$REPO/services/oracle-gate/config/dev.yaml" \
        "ORACLE_GATE_ROOT=$RUN/store" "ORACLE_GATE_GRPC_TOKENS=runner:$RUNNER_ORACLE_GATE_TOKEN,cli:$CLI_TOKEN" \
        "ORACLE_GATE_ATTESTATION_KEYS=$ATTESTATION_KEY" "$BIN/oracle-gate" serve
    start module-gate "$MODULE_PORT" env \
        "DATABASE_URL=postgres://module_gate:$(url_escape "$MODULE_GATE_DB_PASSWORD")@$postgres/module_gate" \
        "NATS_URL=nats://module-gate:$(url_escape "$MODULE_GATE_NATS_PASSWORD")@$nats" \
        "MODULE_GATE_BIND=127.0.0.1:$MODULE_PORT" "MODULE_GATE_STORE=$RUN/store" "MODULE_GATE_SCRATCH=$RUN/scratch" \
        "MODULE_GATE_ATTESTATION_SECRET=$ATTESTATION_SEED" "MODULE_GATE_NODE=$TOOLS/node/bin/node" \
        "MODULE_GATE_GRPC_TOKENS=runner:$RUNNER_MODULE_GATE_TOKEN,cli:$CLI_TOKEN" \
        ${MODEL_PORT:+"MODULE_GATE_UPSTREAMS=$RUN/upstreams.json"} "$BIN/module-gate" serve
    start runner "$HTTP_PORT" env \
        "DATABASE_URL=postgres://runner:$(url_escape "$RUNNER_DB_PASSWORD")@$postgres/runner" \
        "NATS_URL=nats://runner:$(url_escape "$RUNNER_NATS_PASSWORD")@$nats" \
        "RUNNER_SECRET=$RUNNER_KEY" "RUNNER_SOURCE_SECRET=$SOURCE_KEY" "RUNNER_RPC_URL=http://127.0.0.1:$RPC_PORT" \
        "RUNNER_PORT=$HTTP_PORT" "RUNNER_GRPC_PORT=$RUNNER_GRPC_PORT" "RUNNER_GRPC_TOKENS=cli:$CLI_TOKEN" \
        RUNNER_AUTH=login "RUNNER_AUTH_SECRET=$RUNNER_AUTH_SECRET" "RUNNER_TOKEN_SECRET=$RUNNER_TOKEN_SECRET" \
        "RUNNER_PUBLIC_URL=$(gateway_url)" "RUNNER_OPERATORS=$(address_of operator)" \
        ${CONSOLE_DIR:+"RUNNER_CONSOLE_DIR=$CONSOLE_DIR"} \
        "RUNNER_MODULE_GATE_URL=http://127.0.0.1:$MODULE_PORT" "RUNNER_MODULE_GATE_TOKEN=$RUNNER_MODULE_GATE_TOKEN" \
        "RUNNER_ORACLE_GATE_URL=http://127.0.0.1:$ORACLE_PORT" "RUNNER_ORACLE_GATE_TOKEN=$RUNNER_ORACLE_GATE_TOKEN" "$BIN/runner" serve
}

start_everything() {
    choose_ports
    [ -z "$WITH_MODEL" ] || choose_model_ports
    prepare_run_folder
    build_binaries
    start_data_services
    make_databases
    start_chain
    [ -z "$MODEL_PORT" ] || start_model
    start_gates_and_runner
}

# Whether there is a model server, and where it listens; whether LiteLLM's proxy is before it, and
# where that listens.
WITH_MODEL='' MODEL_PORT='' THROUGH_LITELLM='' LITELLM_PORT=''

choose_model_ports() {
    MODEL_PORT=$(free_port_from $((NATS_PORT + 10)))
    LITELLM_PORT=$(free_port_from $((MODEL_PORT + 1)))
}

# The first port from $1 on at which nothing listens.
free_port_from() {
    local port=$1
    while listening "$port"; do port=$((port + 1)); done
    echo "$port"
}

# llama.cpp's server on a tiny model of random weights, and the operator's file that allows it.
start_model() {
    local via=$MODEL_PORT
    # No virtual environment: Debian's Python lacks the module that makes one.
    python_packages model "xllamacpp>=2026,<2027" "gguf>=0.19,<1" ||
        die 2 "could not fetch the model server (xllamacpp and gguf) from PyPI: is the network up?"
    find_python
    # Its log is compared with one run's meters, so it begins anew.
    rm -f "$RUN/model/model.log"
    start model "$MODEL_PORT" "${PYTHON[@]}" "$REPO/scripts/model_server.py" "$MODEL_PORT" "$RUN/model" "$TOOLS/python/model"
    install -m 600 /dev/null "$RUN/model.key"
    printf 'sk-demo-%s\n' "$CLI_TOKEN" >"$RUN/model.key"
    if [ -n "$THROUGH_LITELLM" ]; then
        start_litellm
        via=$LITELLM_PORT
    fi
    cat >"$RUN/upstreams.json" <<TEXT
{ "upstreams": [ { "kind": "openai", "url": "https://api.openai.com/v1", "via": "http://127.0.0.1:$via/v1",
    "plain_http": true, "everyone": true, "credential": { "file": "$RUN/model.key" } } ] }
TEXT
}

# LiteLLM's proxy, as many operators have one before their models. It takes no call without the
# operator's key, so a run that ends well shows that the gate sent it and the module did not need to.
start_litellm() {
    python_packages litellm "litellm[proxy]>=1.80,<2" ||
        die 2 "could not fetch LiteLLM's proxy from PyPI: is the network up?"
    install -m 600 /dev/null "$RUN/litellm.json"
    cat >"$RUN/litellm.json" <<TEXT
{ "model_list": [ { "model_name": "*", "litellm_params":
    { "model": "openai/*", "api_base": "http://127.0.0.1:$MODEL_PORT/v1", "api_key": "none" } } ],
  "general_settings": { "master_key": "$(cat "$RUN/model.key")" } }
TEXT
    start litellm "$LITELLM_PORT" env "PYTHONPATH=$TOOLS/python/litellm" LITELLM_LOCAL_MODEL_COST_MAP=True \
        "${PYTHON[@]}" -c 'import litellm; litellm.run_server()' \
        --config "$RUN/litellm.json" --host 127.0.0.1 --port "$LITELLM_PORT" --telemetry False
}

demo() {
    case "${1:-}" in
        --with-model) WITH_MODEL=yes ;;
        --through-litellm) WITH_MODEL=yes THROUGH_LITELLM=yes ;;
        "") ;;
        *) die 3 "unknown option '$1' of ./dev demo; there are --with-model and --through-litellm" ;;
    esac
    trap 'stop_started' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    local began=$SECONDS
    start_everything
    local built=$SECONDS
    if [ -n "$WITH_MODEL" ]; then
        demo_with_model
        say "done in $((SECONDS - built)) s after $((built - began)) s of building and starting"
        return
    fi

    say "1/6 the developer publishes a module: stored by its digest, judged in the guard, priced on chain"
    local agent
    publish_and_authorise examples/modules/csv-profile runtime_ms=100stroops

    say "3/6 alice logs in with her key and asks for a run: profile examples/data/seattle-weather.csv"
    lumio login --as alice
    csv_input examples/data/seattle-weather.csv >"$RUN/input.json"
    lumio run start --user alice --agent "$agent" --workflow csv-profile --budgets runtime_ms=20000 --input "$RUN/input.json" --watch | tee "$RUN/run.txt"
    local run
    run=$(started_run)

    say "4/6 the receipt"
    lumio run show "$run"

    say "5/6 anybody can check it: from the charge on chain to the module's bytes"
    lumio verify "$run"

    show_costs
    say "done in $((SECONDS - built)) s after $((built - began)) s of building and starting"
}

# Publishes the module in folder $1 at rates $2, and lets the runner spend for it: step 2 of either
# demonstration. Sets the caller's variable agent.
publish_and_authorise() {
    agent=$(lumio --output json module publish "$1" --as developer --runner runner --rates "$2" | tee "$RUN/publish.json" | sed -n 's/.*"agentId": *\([0-9]*\).*/\1/p' | head -n 1)
    [ -n "$agent" ] || { cat "$RUN/publish.json" >&2; die 1 "the module was not published"; }
    say "agent $agent"

    say "2/6 alice deposits 50 XLM, caps what a run and a day may cost, and lets the runner spend for this agent"
    lumio balance deposit 50 --as alice
    lumio policy set --as alice --per-run-cap 5 --daily-cap 20
    lumio grant add --as alice --runner runner --agent "$agent" --expires-in 30d 2>"$RUN/grant.err" || die 1 "$(cat "$RUN/grant.err")"
}

# The id of the run that was just started, from what `lumio run start` printed.
started_run() {
    grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' "$RUN/run.txt" | head -n 1
}

show_costs() {
    say "6/6 what it cost"
    lumio balance show alice
    lumio balance earned developer
}

demo_with_model() {
    say "1/6 the developer publishes a module that asks a model, priced in all four meters"
    local agent
    publish_and_authorise examples/modules/document-answer \
        llm_in=100stroops,llm_out=300stroops,http_calls=1000stroops,runtime_ms=100stroops

    say "3/6 alice asks a question about a document; the model is llama.cpp on this machine, with random weights"
    lumio login --as alice
    lumio run start --user alice --agent "$agent" --workflow document-answer \
        --budgets llm_in=20000,llm_out=1000,http_calls=10,runtime_ms=60000 \
        --input examples/modules/document-answer/oracles/fixtures/question.json --watch | tee "$RUN/run.txt"
    local run
    run=$(started_run)

    say "4/6 the receipt, and what the model's server says that it used"
    lumio --output json run show "$run" >"$RUN/run.json"
    lumio run show "$run"
    compare_meters "$RUN/run.json" "$RUN/model/model.log"

    say "5/6 anybody can check it: from the charge on chain to the module's bytes and the list of calls"
    lumio verify "$run"

    show_costs
}

# The meters on chain against the model server's own log, to the token.
compare_meters() {
    "$TOOLS/node/bin/node" -e '
const fs = require("fs");
const usage = JSON.parse(fs.readFileSync(process.argv[1], "utf8")).usage;
const log = fs.readFileSync(process.argv[2], "utf8").trim().split("\n").map((line) => JSON.parse(line));
const sum = (name) => log.reduce((all, one) => all + one[name], 0);
const found = { llmIn: sum("prompt_tokens"), llmOut: sum("completion_tokens"), httpCalls: log.length };
const same = Object.entries(found).every(([name, value]) => usage[name] === value);
console.log(`      settled  ${usage.llmIn} + ${usage.llmOut} tokens, ${usage.httpCalls} calls, ${usage.runtimeMs} ms`);
console.log(`      server   ${found.llmIn} + ${found.llmOut} tokens, ${found.httpCalls} calls: ${same ? "equal to the token" : "NOT EQUAL"}`);
process.exit(same ? 0 : 1);' "$1" "$2" || die 1 "the meters and the log of the model's server differ"
}

# {"csv": "<the file>", "name": …} with the file as a JSON string.
csv_input() {
    "$TOOLS/node/bin/node" -e 'const fs=require("fs");const p=process.argv[1];process.stdout.write(JSON.stringify({csv:fs.readFileSync(p,"utf8"),name:require("path").basename(p)}))' "$1"
}

up() {
    case "${1:-}" in
        --with-model) WITH_MODEL=yes ;;
        "") ;;
        *) die 3 "unknown option '$1' of ./dev up; there is --with-model" ;;
    esac
    LIFETIME=stay
    down >/dev/null 2>&1 || true
    # If startup fails, stop whatever was already started.
    trap 'stop_started' EXIT
    find_console
    start_everything
    publish_example
    write_environment
    printf '%s\n' "RPC_PORT=$RPC_PORT HTTP_PORT=$HTTP_PORT RUNNER_GRPC_PORT=$RUNNER_GRPC_PORT" \
        "ORACLE_PORT=$ORACLE_PORT MODULE_PORT=$MODULE_PORT PG_PORT=$PG_PORT NATS_PORT=$NATS_PORT" >"$RUN/ports"
    trap - EXIT
    local console
    console="not built; the gateway is $(gateway_url)/"
    [ -z "$CONSOLE_DIR" ] || console=$(gateway_url)/
    [ -z "$MODEL_PORT" ] || say "a model answers modules that ask api.openai.com; publish examples/modules/document-answer to try it"
    cat <<TEXT
Lumio is up.
  console      $console
  gateway      the same address   (GET /health, /summary, /runs; POST /runs)
  local chain  http://127.0.0.1:$RPC_PORT
  events       nats sub 'lumio.>' as user observer, see ./dev env
Next:  eval "\$(./dev env)"  and then  lumio --help
Stop:  ./dev down
TEXT
}

# Something to run for whoever comes by the console, without a terminal.
publish_example() {
    [ ! -e "$RUN/example.json" ] || return 0
    say "publishing examples/modules/csv-profile as an agent"
    lumio --output json module publish examples/modules/csv-profile --as developer --runner runner \
        --rates runtime_ms=100stroops >"$RUN/example.tmp" 2>>"$RUN/log/lumio.log" ||
        { say "it was not published, see $RUN/log/lumio.log"; return 0; }
    mv "$RUN/example.tmp" "$RUN/example.json"
}

write_environment() {
    write_secret "$RUN/environment" <<TEXT
export PATH="$BIN:\$PATH"
export LUMIO_RPC_URL=http://127.0.0.1:$RPC_PORT LUMIO_GATEWAY_URL=$(gateway_url) LUMIO_KEYS_DIR=$RUN/keys LUMIO_CONFIG_DIR=$RUN/lumio
export LUMIO_ORACLE_GATE_URL=http://127.0.0.1:$ORACLE_PORT LUMIO_ORACLE_GATE_TOKEN=$CLI_TOKEN
export LUMIO_MODULE_GATE_URL=http://127.0.0.1:$MODULE_PORT LUMIO_MODULE_GATE_TOKEN=$CLI_TOKEN MODULE_GATE_NODE=$TOOLS/node/bin/node
export NATS_URL=nats://observer:$(url_escape "$OBSERVER_NATS_PASSWORD")@127.0.0.1:$NATS_PORT
TEXT
}

print_env() { [ -s "$RUN/environment" ] || die 3 "nothing is up; start with ./dev up"; cat "$RUN/environment"; }

# The process that was started under this name, if it still runs. A number may belong to somebody
# else by now; a program that was built anew meanwhile is "(deleted)".
running() {
    local name=$1 pid
    pid=$(cat "$RUN/$name.pid" 2>/dev/null) || return 1
    case "$name $(readlink "/proc/$pid/exe" 2>/dev/null)" in
        *" $(readlink -f "$BIN")"/* | *" $(readlink -f "$TOOLS")"/* | *" $APT_ROOT"/* | *" "*/postgres | *" "*/nats-server) ;;
        # A program of the system's Python.
        model\ *) [[ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = *" $REPO/scripts/model_server.py "* ]] || return 1 ;;
        *) return 1 ;;
    esac
    echo "$pid"
}

down() {
    local name pid
    for name in runner module-gate oracle-gate model localnet nats postgres; do
        pid=$(running "$name") && { stop_pid "$pid"; say "$name stopped"; }
        rm -f "$RUN/$name.pid"
    done
    rm -f "$RUN/environment" "$RUN/ports"
}

clean() { rm -rf "$RUN"; say "the data of the stack is gone"; }
