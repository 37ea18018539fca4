#!/bin/sh
# Installs Hairline from a built source tree. Run again to update; configurations, and what was changed of the files that
# came with an earlier version, are never touched.
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
  --uninstall      stop every station and remove what was installed; keeps /etc/hairline, /var/lib/hairline, the user,
                   and what was changed since
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
# What was put under share, as sha256sum tells it: only that is replaced and removed, and only while it is unchanged.
manifest=$share/.installed

live() { [ -z "$destdir" ]; }
systemd_runs() { live && [ -d /run/systemd/system ]; }
if live && [ "$(id -u)" -ne 0 ]; then
    fail "needs root: sudo $0 … (or --destdir DIR to only put the files together)"
fi

unchanged=''
if [ -r "$manifest" ]; then
    unchanged=$(cd "$share" && LC_ALL=C sha256sum --check .installed 2>/dev/null | sed -n 's/: OK$//p')
fi
is_unchanged() { printf '%s\n' "$unchanged" | grep -qxF "$1"; }

if [ "$action" = uninstall ]; then
    if systemd_runs; then systemctl stop 'hairline@*.service'; fi
    # `systemctl disable` takes names only; these links are what it removes.
    rm -f "$units"/*.wants/hairline@*.service
    rm -f "$root/bin/hairline" "$root/bin/hairline-train" "$root/sbin/hairline-station" "$sysusers" \
        "$units/hairline@.service" "$units/hairline@.service.d/cuda.conf" "$manifest"
    printf '%s\n' "$unchanged" | while IFS= read -r file; do
        if [ -n "$file" ]; then rm -f "$share/$file"; fi
    done
    if [ -d "$share" ]; then find "$share" -depth -type d -empty -delete; fi
    rmdir "$units/hairline@.service.d" 2>/dev/null || true
    if systemd_runs; then systemctl daemon-reload; fi
    echo "removed; kept: $destdir/etc/hairline, $destdir/var/lib/hairline and the user hairline"
    if [ -d "$share" ]; then echo "kept as well, changed or added since: $(find "$share" -type f | sort | tr '\n' ' ')"; fi
    exit 0
fi

for program in hairline train; do
    [ -x "$binaries/$program" ] || fail "$binaries/$program is missing: cargo build --release --locked, or give --binaries DIR"
done
for folder in configs models; do
    [ -d "$source/$folder" ] || fail "$source/$folder is missing: run this from a whole source tree"
done

# place MODE FILE TO: all of it or, on a full disk, what was there before; never half.
place() {
    if ! { install -D -m "$1" "$2" "$3.new" && mv -f "$3.new" "$3"; }; then
        rm -f "$3.new"
        fail "$3 could not be written, and is what it was; make room and run this again"
    fi
}

place 755 "$binaries/hairline" "$root/bin/hairline"
place 755 "$binaries/train" "$root/bin/hairline-train"
place 755 "$here/hairline-station" "$root/sbin/hairline-station"

# put FILE AS: a file of the source tree to share/AS, or beside it where that is not the one that was put there.
put() {
    to=$share/$2
    if [ -e "$to" ] && ! is_unchanged "$2" && ! cmp -s "$source/$1" "$to"; then
        echo "install.sh: $to was changed since it was installed, and stays; the new one is $to.shipped" >&2
        to=$to.shipped
    fi
    place 644 "$source/$1" "$to"
    (cd "$share" && sha256sum "${to#"$share/"}") >>"$manifest.new"
}
install -d "$share"
rm -f "$manifest.new"
# `hairline demo` brings its configuration along.
(cd "$source" && find configs models deploy/prometheus -type f ! -name 'demo*' ! -name '*.sh') | sort | while IFS= read -r file; do
    put "$file" "${file#deploy/}"
done
for notice in LICENSE-MIT LICENSE-APACHE target/THIRD-PARTY-NOTICES; do
    if [ -r "$source/$notice" ]; then put "$notice" "$(basename "$notice")"; fi
done
# What an earlier version shipped and this one does not shall not stay behind.
printf '%s\n' "$unchanged" | while IFS= read -r file; do
    if [ -n "$file" ] && ! sed 's/^[^ ]*  //' "$manifest.new" | grep -qxF "$file"; then rm -f "$share/$file"; fi
done
mv "$manifest.new" "$manifest"
chmod 644 "$manifest"

install -d "$units"
sed -e "s|/usr/bin/hairline|$prefix/bin/hairline|" "$source/systemd/hairline@.service" >"$units/hairline@.service"
chmod 644 "$units/hairline@.service"
install -D -m 644 "$source/systemd/hairline.sysusers" "$sysusers"
if [ "$cuda" = yes ]; then
    install -D -m 644 "$source/systemd/cuda.conf" "$units/hairline@.service.d/cuda.conf"
fi
install -d "$destdir/etc/hairline/models"

if live; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$sysusers"
    elif ! getent passwd hairline >/dev/null; then
        useradd --system --home-dir /var/lib/hairline --shell /usr/sbin/nologin hairline
    fi
fi
if systemd_runs; then systemctl daemon-reload; fi
if [ -e "$destdir/usr/lib/systemd/system/hairline@.service" ]; then
    echo "install.sh: the Debian package hairline is installed as well; its unit is not used any more. To be rid of it: apt" \
        "remove hairline, which stops and disables the stations; name models under $prefix/share/hairline in /etc/hairline/*.toml;" \
        "then systemctl enable --now hairline@NAME for each" >&2
fi
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
