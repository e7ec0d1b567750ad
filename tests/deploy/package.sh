#!/usr/bin/env bash
# Installs the packages of ./dev package in a bare Debian root and runs every program there. Needs
# root, debootstrap (./dev test long brings it) and the network.
#   tests/deploy/package.sh FOLDER    the folder that ./dev package filled
# Exit 0: both work. Exit 1: one does not. Exit 4: not tried here, with the reason.
set -euo pipefail
folder=$(cd "${1:?the folder of the packages}" && pwd)
[ "$(id -u)" -eq 0 ] || { echo "package: not tried, a bare Debian root needs root"; exit 4; }
command -v debootstrap >/dev/null || { echo "package: not tried, debootstrap is not here (apt-get install debootstrap)"; exit 4; }
. /etc/os-release
[ "$ID" = debian ] || { echo "package: not tried, it was not built on Debian"; exit 4; }

room=$(mktemp -d)
trap 'rm -rf --one-file-system "$room"' EXIT
(cd "$folder" && sha256sum --check --quiet SHA256SUMS)
# The mirror that this machine itself uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$room/root" "$mirror" \
    >"$room/log" 2>&1 || { tail -n 5 "$room/log" >&2; echo "package: not tried, the bare root could not be made"; exit 4; }
cp "$folder"/*.deb "$room/root/tmp/lumio.deb"
mkdir "$room/root/opt/lumio"
tar --extract --gzip --file "$folder"/*.tar.gz --directory "$room/root/opt/lumio" --strip-components 1
chroot "$room/root" sh -eu <<'TEXT'
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends /tmp/lumio.deb >/dev/null
for bin in /usr/bin /opt/lumio/bin; do
    for program in lumio runner oracle-gate module-gate; do "$bin/$program" --version; done
    "$bin/lumio-localnet" --help >/dev/null
done
# A service without settings names them and ends, rather than failing to load.
if env -i PATH=/usr/bin runner serve 2>/tmp/said; then exit 1; fi
grep -q 'DATABASE_URL' /tmp/said
grep -q '<div id="root"' /usr/share/lumio/console/index.html /opt/lumio/share/lumio/console/index.html
grep -q '^Environment=RUNNER_CONSOLE_DIR=/usr/share/lumio/console$' /usr/lib/systemd/system/lumio-runner.service
# The gates share a store and so a user, which systemd finds; the runner with its keys has another.
getent passwd lumio >/dev/null
for gate in oracle-gate module-gate; do grep -q '^User=lumio$' /usr/lib/systemd/system/lumio-$gate.service; done
if grep -q '^User=' /usr/lib/systemd/system/lumio-runner.service; then exit 1; fi
apt-get remove -y -qq lumio >/dev/null
[ ! -e /usr/bin/lumio ]
TEXT
echo "package: both packages work in a bare Debian root"
