#!/bin/sh
# Installs Hairline from a built source tree. Run again to update; configurations are never touched.
set -eu
here=$(dirname "$(realpath "$0")")
source=$(dirname "$here")

usage() {
    cat <<END
usage: deploy/install.sh [--prefix DIR] [--destdir DIR] [--binaries DIR] [--station NAME] [--cuda] [--uninstall]

Installs the programs hairline and hairline-train, models, templates of configurations, the service
hairline@.service and its user «hairline». As root, unless --destdir says otherwise.

  --prefix DIR     where programs and data go (default /usr/local)
  --destdir DIR    put everything under DIR, for packaging; makes no user, touches no service
  --binaries DIR   where the built programs are (default target/release)
  --station NAME   also make /etc/hairline/NAME.toml where it does not exist
  --cuda           also relax the service as a CUDA build needs it
  --uninstall      remove what was installed; keeps /etc/hairline, /var/lib/hairline and the user
END
}

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

prefix=/usr/local destdir='' binaries=$source/target/release station='' cuda=no action=install
while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --destdir | --binaries | --station)
            [ $# -ge 2 ] || fail "$1 needs a value" 64
            case $1 in
                --prefix) prefix=${2%/} ;;
                --destdir) destdir=${2%/} ;;
                --binaries) binaries=$2 ;;
                --station) station=$2 ;;
            esac
            shift
            ;;
        --cuda) cuda=yes ;;
        --uninstall) action=uninstall ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "what is \"$1\"?" 64 ;;
    esac
    shift
done
case $prefix in /*) ;; *) fail "--prefix $prefix: give an absolute path" 64 ;; esac

root=$destdir$prefix
share=$root/share/hairline
units=$destdir/etc/systemd/system
sysusers=$destdir/etc/sysusers.d/hairline.conf

live() { [ -z "$destdir" ]; }
systemd_runs() { live && [ -d /run/systemd/system ]; }
if live && [ "$(id -u)" -ne 0 ]; then
    fail "needs root: sudo $0 … (or --destdir DIR to only put the files together)"
fi

if [ "$action" = uninstall ]; then
    if systemd_runs; then
        systemctl disable --now 'hairline@*.service' 2>/dev/null || systemctl stop 'hairline@*.service'
    fi
    rm -f "$root/bin/hairline" "$root/bin/hairline-train" "$root/sbin/hairline-station" "$sysusers" \
        "$units/hairline@.service" "$units/hairline@.service.d/cuda.conf"
    rm -rf "$share"
    rmdir "$units/hairline@.service.d" 2>/dev/null || true
    if systemd_runs; then systemctl daemon-reload; fi
    echo "removed; kept: $destdir/etc/hairline, $destdir/var/lib/hairline and the user hairline"
    exit 0
fi

for program in hairline train; do
    [ -x "$binaries/$program" ] || fail "$binaries/$program is missing: cargo build --release --locked, or give --binaries DIR"
done
for folder in configs models; do
    [ -d "$source/$folder" ] || fail "$source/$folder is missing: run this from a whole source tree"
done

install -D -m 755 "$binaries/hairline" "$root/bin/hairline"
install -D -m 755 "$binaries/train" "$root/bin/hairline-train"
install -D -m 755 "$here/hairline-station" "$root/sbin/hairline-station"
for folder in configs models deploy/prometheus; do
    to=$share/$(basename "$folder")
    # What an earlier version shipped and this one does not shall not stay behind.
    rm -rf "$to"
    install -d "$to"
    cp -R "$source/$folder/." "$to/"
done
for notice in LICENSE-MIT LICENSE-APACHE target/THIRD-PARTY-NOTICES; do
    if [ -r "$source/$notice" ]; then cp "$source/$notice" "$share/"; fi
done
chmod -R u=rwX,go=rX "$share"

install -d "$units"
sed -e "s|/usr/bin/hairline|$prefix/bin/hairline|" "$source/systemd/hairline@.service" >"$units/hairline@.service"
chmod 644 "$units/hairline@.service"
install -D -m 644 "$source/systemd/hairline.sysusers" "$sysusers"
if [ "$cuda" = yes ]; then
    install -D -m 644 "$source/systemd/cuda.conf" "$units/hairline@.service.d/cuda.conf"
fi
install -d "$destdir/etc/hairline"

if live; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$sysusers"
    elif ! getent passwd hairline >/dev/null; then
        useradd --system --home-dir /var/lib/hairline --shell /usr/sbin/nologin hairline
    fi
fi
if systemd_runs; then systemctl daemon-reload; fi
if [ -n "$station" ]; then
    DESTDIR=$destdir "$root/sbin/hairline-station" "$station"
fi
echo "installed under $root"
live || exit 0
cat <<END
Next:
  hairline-station line-1                      makes /etc/hairline/line-1.toml
  hairline check /etc/hairline/line-1.toml     names every mistake in it
  systemctl enable --now hairline@line-1       starts it, now and at every boot
Stations that run keep the old program until: systemctl restart 'hairline@*'
END
