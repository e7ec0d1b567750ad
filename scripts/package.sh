# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# A tarball and a Debian package of the programs, for machines that build nothing. Sourced by ./dev.

PACKAGED=(lumio runner oracle-gate module-gate lumio-localnet)

# package [FOLDER]: LUMIO_PROFILE=dev packages the unoptimised programs, which is quicker to try.
package() {
    local out=${1:-$REPO/target/package} profile=${LUMIO_PROFILE:-release} folder version architecture stage name
    [ $# -le 1 ] || die 3 "usage: ./dev package [FOLDER]"
    command -v dpkg-deb >/dev/null || die 3 "dpkg-deb is missing (apt-get install dpkg)"
    folder=$profile; [ "$profile" != dev ] || folder=debug
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    architecture=$(dpkg --print-architecture)
    build_console || die 2 "the console does not build, or npm's registry could not be reached"
    say "building the programs ($profile)"
    # Their --version and their telemetry name the commit.
    LUMIO_COMMIT=${LUMIO_COMMIT:-$(git rev-parse --short=12 HEAD 2>/dev/null || true)}
    export LUMIO_COMMIT
    cargo build --locked --quiet --profile "$profile" "${PROGRAMS[@]}" || die 1 "the build failed"
    mkdir -p "$out"
    stage=$(mktemp -d "$out/.stage.XXXXXX")
    # mktemp's folders are closed to others, and the package records modes.
    chmod 755 "$stage"
    for name in "${PACKAGED[@]}"; do
        install -D -m 755 "target/$folder/$name" "$stage/usr/bin/$name"
        strip "$stage/usr/bin/$name" 2>/dev/null || true
    done
    install -d "$stage/usr/share/lumio/oracle-gate" "$stage/usr/share/doc/lumio"
    (cd "$CONSOLE/dist" && find . -type f -not -name '.*' -exec install -D -m 644 {} "$stage/usr/share/lumio/console/{}" \;)
    install -m 644 services/oracle-gate/config/*.yaml "$stage/usr/share/lumio/oracle-gate/"
    install -m 644 deploy/nats/nats.conf .env.example "$stage/usr/share/lumio/"
    install -m 755 deploy/postgres/databases.sh "$stage/usr/share/lumio/"
    install -m 644 README.md CHANGELOG.md "$stage/usr/share/doc/lumio/"
    install -m 644 LICENSE "$stage/usr/share/doc/lumio/copyright"
    for name in runner oracle-gate module-gate; do
        systemd_unit "$name" | install -D -m 644 /dev/stdin "$stage/usr/lib/systemd/system/lumio-$name.service"
    done
    install -D -m 644 /dev/stdin "$stage/usr/lib/sysusers.d/lumio.conf" <<<'u lumio - "Lumio gates" /var/lib/lumio'
    tarball "$stage" "$out/lumio-$version-linux-$architecture.tar.gz" "lumio-$version"
    debian_package "$stage" "$out/lumio_${version}_$architecture.deb" "$version" "$architecture"
    rm -rf "$stage"
    (cd "$out" && sha256sum "lumio-$version-linux-$architecture.tar.gz" "lumio_${version}_$architecture.deb" >SHA256SUMS)
    say "in ${out#"$REPO/"}:"
    ls -1 "$out" >&2
}

tarball() { # STAGE FILE NAME: the same bytes for the same programs
    tar --create --gzip --file "$2" --directory "$1/usr" --transform "s,^\.,$3," --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$(git log -1 --format=%ct 2>/dev/null || echo 0)" .
}

debian_package() { # STAGE FILE VERSION ARCHITECTURE
    install -d "$1/DEBIAN"
    cat >"$1/DEBIAN/control" <<TEXT
Package: lumio
Version: $3
Architecture: $4
Maintainer: The Lumio project <lumio@localhost>
Depends: $(library_packages "$1")
Recommends: ca-certificates
Suggests: nodejs (>= 22), postgresql (>= 15), nats-server
Section: net
Priority: optional
Description: paid runs of AI agents with receipts that anybody can check
 The command line (lumio), the services (runner, oracle-gate, module-gate)
 and a local Stellar network (lumio-localnet). No service is started: each
 has a unit, lumio-NAME.service, which reads /etc/lumio/NAME.env.
TEXT
    # The gates' user, where no systemd makes it. It stays when the package goes: files are its own.
    install -m 755 /dev/stdin "$1/DEBIAN/postinst" <<'TEXT'
#!/bin/sh
set -e
getent passwd lumio >/dev/null ||
    useradd --system --user-group --no-create-home --home-dir /var/lib/lumio --shell /usr/sbin/nologin lumio
TEXT
    # The best compression of unoptimised programs takes longer than all the rest.
    local compression=()
    [ "${LUMIO_PROFILE:-release}" != dev ] || compression=(-Zgzip -z1)
    dpkg-deb --root-owner-group "${compression[@]}" --build "$1" "$2" >/dev/null || die 2 "dpkg-deb failed"
}

# The packages that own the shared libraries which the programs load, with the C library's version
# of this machine.
library_packages() {
    local library owner packages=()
    while read -r library; do
        owner=$(dpkg -S "$(readlink -f "$library")" 2>/dev/null || dpkg -S "$library" 2>/dev/null || dpkg -S "/usr$library" 2>/dev/null) || continue
        owner=${owner%%:*}
        case $owner in
            libc6) packages+=("libc6 (>= $(dpkg-query -W -f '${Version}' libc6 | sed 's/-.*//'))") ;;
            *) packages+=("$owner") ;;
        esac
    done < <(ldd "$1"/usr/bin/* | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | sort -u)
    printf '%s\n' "${packages[@]}" | sort -u | paste -sd, | sed 's/,/, /g'
}

# The gates share a store, so they have one user and one folder. The runner's user is another: module-gate
# runs modules, and the runner has the keys.
systemd_unit() {
    local user=User=lumio state=lumio
    [ "$1" != runner ] || user=DynamicUser=yes state=lumio-runner
    cat <<TEXT
[Unit]
Description=Lumio $1
After=network-online.target
Wants=network-online.target

[Service]
$([ "$1" != runner ] || echo 'Environment=RUNNER_CONSOLE_DIR=/usr/share/lumio/console')
# Its settings, readable by root alone: .env.example in /usr/share/lumio lists them.
EnvironmentFile=/etc/lumio/$1.env
ExecStart=/usr/bin/$1 serve
Restart=on-failure
$user
StateDirectory=$state
StateDirectoryMode=0750
WorkingDirectory=/var/lib/$state
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
TimeoutStopSec=45

[Install]
WantedBy=multi-user.target
TEXT
}
