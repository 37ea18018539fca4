#!/bin/sh
# Checks the unit, alone and with the CUDA drop-in: `systemd-analyze verify` must print nothing
# (it exits 0 on unknown keys), and the exposure must stay within its limit.
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

verify "as shipped"
exposure "as shipped" "$LIMIT"
mkdir "$unit.d"
cp cuda.conf "$unit.d/"
verify "with cuda.conf"
# A drop-in beside a file given by its path is not read for the exposure: append it instead.
sed -e '/^\[Install\]/,$d' "$unit" >"$work/joined"
sed -e '/^#/d' cuda.conf >>"$work/joined"
mv "$work/joined" "$unit"
exposure "with cuda.conf" "$CUDA_LIMIT"
