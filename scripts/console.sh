# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# The wallet console: building its static files, and testing them in a browser. Sourced by ./dev.

CONSOLE=$REPO/web

# What is installed already stays, if it is what the lock file says.
install_console() {
    find_npm
    cmp -s "$CONSOLE/package-lock.json" "$CONSOLE/node_modules/.lumio-lock" && return
    say "fetching the console's dependencies with npm"
    local ci=(ci --ignore-scripts --loglevel=error --no-fund --no-audit) output
    # A system's npm may be too old for this Node.
    output=$(cd "$CONSOLE" && "${NPM[@]}" "${ci[@]}" 2>&1) ||
        { own_npm && output=$(cd "$CONSOLE" && "${NPM[@]}" "${ci[@]}" 2>&1); } ||
        { echo "$output" >&2; return 2; }
    cp "$CONSOLE/package-lock.json" "$CONSOLE/node_modules/.lumio-lock"
}

# Everything that the built files are made from.
console_sources() {
    find "$CONSOLE/src" "$CONSOLE/public" "$CONSOLE"/*.{json,ts,html} "$REPO"/packages/*/src -type f -print0 |
        LC_ALL=C sort -z | xargs -0 cat | cksum
}

# Builds web/dist if it isn't what the sources say. 2: npm's registry could not be reached.
build_console() {
    local sources
    sources=$(console_sources)
    [ "$(cat "$CONSOLE/dist/.sources" 2>/dev/null)" != "$sources" ] || return 0
    install_console || return 2
    say "building the console"
    (cd "$CONSOLE" && "${NPM[@]}" run --silent build >/dev/null) || return 1
    echo "$sources" >"$CONSOLE/dist/.sources"
}

# A Chromium without a window, unpacked from Debian's packages.
bring_browser() {
    CHROMIUM=${LUMIO_CHROMIUM:-$TOOLS/chromium/chromium-headless-shell}
    [ -z "${LUMIO_CHROMIUM:-}" ] || return 0
    ! is_wrapped "$CHROMIUM" || return 0
    local program
    find_browser() { find "$APT_ROOT/usr" -type f -name 'chromium-headless-shell' -size +1M 2>/dev/null | head -n 1; }
    program=$(find_browser)
    [ -n "$program" ] || { bring_packages chromium-headless-shell fonts-inter && program=$(find_browser); }
    [ -n "$program" ] || { say "the package carried no browser"; return 1; }
    wrap "$program" "$CHROMIUM"
}

# What ./dev up serves at the gateway's root; without it there is an API and no page.
find_console() {
    CONSOLE_DIR=
    build_console || { say "the console was not built; the gateway runs without it"; return 0; }
    CONSOLE_DIR=$CONSOLE/dist
}

# Everything that the console's tests need from elsewhere.
bring_console() {
    install_console && build_console && bring_browser
}

# Types, lint, unit tests, and the built console in a browser against a stack of its own.
check_console() {
    step "console: types, lint, build, a browser against the whole stack"
    install_console || die 2 "could not fetch the console's dependencies: is the network up?"
    (cd "$CONSOLE" && "${NPM[@]}" run --silent check) || die 1 "the console's types or lint do not hold"
    (cd "$CONSOLE" && "${NPM[@]}" test --silent) || die 1 "a unit test of the console failed"
    build_console || die 1 "the console does not build"
    bring_browser || die 2 "no browser could be fetched"
    (test_console_in_a_browser) || die 1 "a test of the console failed"
}

# In a shell of its own, which ends the stack however it ends.
test_console_in_a_browser() {
    local run=$DEV_HOME/console-run log=$DEV_HOME/console.log
    trap 'LUMIO_RUN="$DEV_HOME/console-run" ./dev down >/dev/null 2>&1; rm -rf "$DEV_HOME/console-run" "$DEV_HOME/console.log"' EXIT
    trap 'exit 1' INT TERM
    rm -rf "$run"
    # The servers of the other tests have their own ports; without a first port this stack chooses free ones.
    env -u DATABASE_URL -u NATS_URL LUMIO_RUN="$run" LUMIO_BUILT=1 LUMIO_CONTROL=1 ./dev up --with-model >"$log" 2>&1 ||
        { cat "$log" >&2; exit 1; }
    eval "$(LUMIO_RUN="$run" ./dev env)"
    export LUMIO=$BIN/lumio LUMIO_CHROMIUM=$CHROMIUM
    # One of them restarts the runner, as ./dev watch does.
    export LUMIO_RUN=$run
    # The tests go where a person would: to the address that was printed.
    LUMIO_CONSOLE_URL=$(sed -n 's/^ *console  *\(http[^ ]*\)$/\1/p' "$log")
    [ -n "$LUMIO_CONSOLE_URL" ] || die 1 "./dev up printed no address of the console"
    export LUMIO_CONSOLE_URL
    # A subshell, so that the end of this one is in the repository's folder.
    (
        cd "$CONSOLE" || exit 1
        local node=("$TOOLS/node/bin/node" --disable-warning=ExperimentalWarning --test)
        # They wait for ledgers most of the time, so more of them at once than there are processors.
        "${node[@]}" --test-concurrency=4 tests/browser/*.test.ts &&
            # What stops every run comes when nothing else runs any more.
            "${node[@]}" --test-concurrency=1 tests/browser/alone/*.test.ts &&
            # The ledger's time is moved for good: transactions of the present are too late afterwards.
            "${node[@]}" tests/browser/last/*.test.ts
    )
}
