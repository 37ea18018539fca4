#!/bin/sh
# Installs the system packages that Hairline needs and this machine lacks.
#   deploy/setup.sh build   what building and running need
#   deploy/setup.sh test    and what the tests and deploy checks need
set -eu

build="gcc pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-plugins-base gstreamer1.0-plugins-good libaravis-dev libusb-1.0-0-dev libzmq3-dev"
tests="prometheus python3-zmq iproute2 util-linux systemd python3-seccomp shellcheck valgrind"

case "${1:-}" in
    build) wanted="$build" ;;
    test) wanted="$build $tests" ;;
    *) echo "usage: $0 build|test" >&2; exit 64 ;;
esac

command -v apt-get >/dev/null || {
    echo "setup: this is no Debian or Ubuntu; install the equivalents of: $wanted" >&2
    exit 1
}
command -v cargo >/dev/null || {
    echo "setup: cargo is missing; install Rust 1.95 or newer first (rustup, https://rustup.rs)" >&2
    exit 1
}

missing=""
for package in $wanted; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=""
[ "$(id -u)" = 0 ] || {
    command -v sudo >/dev/null || {
        echo "setup: run this as root, or install by hand:$missing" >&2
        exit 1
    }
    root="sudo"
}
echo "setup: installing these system packages with apt-get${root:+ through sudo}:$missing"
# The tests start Prometheus's tools and systemd's checks, never their services: Debian's package would start Prometheus at once and
# at every boot, on all addresses.
unit=/etc/systemd/system/prometheus.service
case " $missing " in
    *" prometheus "*)
        if [ ! -e "$unit" ] && [ ! -L "$unit" ]; then
            $root mkdir -p "${unit%/*}"
            $root ln -s /dev/null "$unit"
            echo "setup: the service of Prometheus is masked, only promtool is used; to have it run: systemctl unmask prometheus"
        fi
        ;;
esac
$root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
