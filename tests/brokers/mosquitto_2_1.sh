#!/usr/bin/env bash
# Put a Mosquitto 2.1 beside the installed one, which stays as it is: into FOLDER, or a new one under /tmp.
#
#     export COMMONWATT_MOSQUITTO_2_1=$(tests/brokers/mosquitto_2_1.sh [FOLDER])
#
# Prints the path of a program that runs it. Debian stable has 2.0 still, so 2.1 and all libraries below it come from
# testing: 24 MB, checked by apt against Debian's signature. Needs Debian's apt and keys, but not root.
set -euo pipefail

suite=forky
# The archive that this machine fetches Debian from.
archive=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
    awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }')
[[ -n $archive ]] || { echo "apt knows no Debian archive here: run apt-get update first" >&2 && exit 1; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
folder=$(realpath -m "${1:-$(mktemp -d /tmp/commonwatt-mosquitto-2.1.XXXXXX)}")
root=$folder/root apt=$folder/apt

mkdir -p "$apt"/{none,state/lists/partial,cache/archives/partial} "$root"
: >"$apt/status" # nothing is installed as far as this apt knows, so it fetches libc and all
echo "deb [signed-by=$keys] $archive $suite main" >"$apt/sources.list"
private_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none" \
        -o Dir::Etc::preferencesparts="$apt/none" -o Dir::Etc::preferences="$apt/none/none" \
        -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any -o Acquire::Languages=none \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 "$@" >&2
}
private_apt update
# The second one stands for systemd, which is not needed to run a program.
private_apt install --yes --download-only --no-install-recommends mosquitto systemd-standalone-sysusers
for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb --extract "$package" "$root"
done

# What dpkg would have run after unpacking, and the machine's own loader replaced by the one that was fetched.
libraries=("$root"/usr/lib/*-linux-gnu*)
loaders=("$root"/usr/lib*/ld-linux-*.so.*)
PATH=$PATH:/usr/sbin:/sbin ldconfig -n "${libraries[0]}"
mkdir -p "$root/usr/libexec"
mv -f "$root/usr/sbin/mosquitto" "$root/usr/libexec/"
cat >"$root/usr/sbin/mosquitto" <<END
#!/bin/sh
exec "${loaders[0]}" --library-path "${libraries[0]}" "$root/usr/libexec/mosquitto" "\$@"
END
chmod -R a+rX "$folder" # Mosquitto runs as a user of its own
chmod a+x "$root/usr/sbin/mosquitto"

version=$("$root/usr/sbin/mosquitto" -h 2>/dev/null | head -n 1) || true
case $version in
"mosquitto version 2.1."*) echo "$version, from Debian $suite" >&2 ;;
*) echo "Debian $suite has no Mosquitto 2.1 any more: $version" >&2 && exit 1 ;;
esac
echo "$root/usr/sbin/mosquitto"
