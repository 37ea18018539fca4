#!/bin/sh
# Checks the unit, alone and with the CUDA drop-in: `systemd-analyze verify` must print nothing
# (it exits 0 on unknown keys), the exposure must stay within its limit, and the program must run under its filter.
set -eu
cd "$(dirname "$0")"

LIMIT=30 # tenths
CUDA_LIMIT=30

if ! command -v systemd-analyze >/dev/null; then
    echo "check.sh: systemd-analyze is missing: apt install systemd" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Verification wants the programs to exist; the rest of the unit is taken as it is.
unit="$work/hairline@check.service"
sed -e 's|=/usr/bin/hairline |=/bin/true |' -e '/^Documentation=/d' hairline@.service >"$unit"

verify() {
    said=$(systemd-analyze verify --man=no "$unit" 2>&1) || true
    if [ -n "$said" ]; then
        echo "check.sh: systemd-analyze verify ($1) says:" >&2
        echo "$said" >&2
        exit 1
    fi
    echo "verify ($1): nothing to say"
}

exposure() {
    systemd-analyze security --offline=yes --no-pager --threshold="$2" "$unit" >"$work/security" 2>&1 || {
        cat "$work/security" >&2
        exit 1
    }
    echo "$1: $(tail -n 1 "$work/security" | sed 's/^[^O]*//')"
}

# A station of its own, ZeroMQ and all, that is done after some cells.
runs() {
    program=../target/debug/hairline
    [ -x "$program" ] || {
        echo "check.sh: $program is missing: make deploy-checks builds it" >&2
        exit 1
    }
    ./filtered.py "$unit" "$program" demo --out "$work/demo" >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        echo "check.sh: the program does not run with the system calls that the unit allows ($1)" >&2
        exit 1
    }
    echo "the program runs with the system calls that the unit allows ($1)"
}

verify "as shipped"
runs "as shipped"
exposure "as shipped" "$LIMIT"
mkdir "$unit.d"
cp cuda.conf "$unit.d/"
verify "with cuda.conf"
# A drop-in beside a file given by its path is not read for the exposure: append it instead.
sed -e '/^\[Install\]/,$d' "$unit" >"$work/joined"
sed -e '/^#/d' cuda.conf >>"$work/joined"
mv "$work/joined" "$unit"
runs "with cuda.conf"
exposure "with cuda.conf" "$CUDA_LIMIT"
