#!/bin/sh
# Starts a station as it is installed, under a systemd of its own: in namespaces, over this machine's files, of which nothing is changed.
#   systemd/booted.sh [FOLDER]   a folder with hairline and train; otherwise target/release
# It must come up within its sandbox, read its recipes again, come back when it is killed or hangs, and drain when it is stopped.
# Needs root, systemd and curl.
set -eu
here=$(dirname "$(realpath "$0")")

fail() {
    echo "booted.sh: $1" >&2
    exit 1
}

# Within the namespaces: makes the files, then becomes systemd.
boot() {
    work=$1 root=$1/root
    mount -t tmpfs tmpfs "$work"
    mkdir "$work/upper" "$work/scratch" "$root"
    mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do cp -a "/dev/$node" "$root/dev/"; done
    mkdir "$root/dev/pts" "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for place in run tmp var/lib/hairline; do
        mkdir -p "$root/$place"
        mount -t tmpfs tmpfs "$root/$place"
    done
    rm -f "$root"/etc/systemd/system/*.wants/*
    mkdir -p "$root/opt/tried" "$root/oldroot"
    mkdir "$root/opt/tried/bin" "$root/opt/tried/source"
    (cd "$here/.." && cp -R ./*.md LICENSE* configs deploy docs models systemd "$root/opt/tried/source/")
    ip link set lo up
    cp "$2/hairline" "$2/train" "$root/opt/tried/bin/"
    mkdir "$root/opt/tried/told"
    mount --bind "$3" "$root/opt/tried/told"
    cat >"$root/etc/systemd/system/tried.service" <<END
[Service]
Type=oneshot
ExecStart=/opt/tried/source/systemd/booted.sh --inside
StandardOutput=file:/opt/tried/told/log
StandardError=file:/opt/tried/told/log
END
    cd "$root"
    pivot_root . oldroot
    exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=tried.service --log-target=null --show-status=no
}

unit=hairline@tried

show() { systemctl show -P "$1" "$unit"; }
is_ready() { [ "$(show ActiveState)" = active ] && [ "$(curl -s http://127.0.0.1:9464/ready)" = ready ]; }
# Waits up to a minute and a half for a condition.
until_() {
    what=$1
    shift
    for _ in $(seq 90); do
        if "$@"; then
            echo "$what"
            return
        fi
        sleep 1
    done
    journalctl --no-pager -u "$unit" | tail -n 40
    systemctl status --no-pager "$unit" || true
    echo "not so within 90 s: $what"
    end
}
end() { systemctl exit 0 || systemctl poweroff -ff; exit 1; }
restarted() { [ "$(show NRestarts)" -gt "$before" ] && is_ready; }

inside() {
    cd /opt/tried/source
    deploy/install.sh --binaries /opt/tried/bin --station tried >/dev/null
    config=/etc/hairline/tried.toml
    sed -i -e 's/^kind = "gige"/kind = "simulated"/' -e '/^\(id\|buffers\|reconnect_[a-z_]*\|packet_socket\) = /d' $config
    systemctl daemon-reload
    systemctl start $unit || true
    until_ "it starts within its sandbox, and is ready" is_ready
    systemctl reload $unit && until_ "it reads its recipes again" is_ready
    before=$(show NRestarts)
    kill -KILL "$(show MainPID)"
    until_ "it comes back when it is killed" restarted
    before=$(show NRestarts)
    kill -STOP "$(show MainPID)"
    until_ "it comes back when it hangs" restarted
    systemctl stop $unit
    [ "$(show Result)" = success ] && echo "it drains when it is stopped" && echo "all right"
    end
}

case ${1:-} in
    --boot) boot "$2" "$3" "$4" ;;
    --inside) inside ;;
    *)
        [ "$(id -u)" = 0 ] || fail "only root can make namespaces"
        for tool in unshare ip curl /lib/systemd/systemd; do
            command -v "$tool" >/dev/null || fail "$tool is missing: apt install util-linux iproute2 curl systemd"
        done
        programs=$(realpath "${1:-$here/../target/release}")
        [ -x "$programs/hairline" ] || fail "$programs/hairline is missing: make build"
        work=$(mktemp -d) told=$(mktemp -d)
        trap 'rm -rf "$work" "$told"' EXIT
        timeout 300 unshare --fork --mount --pid --uts --ipc --cgroup --net --propagation private "$0" --boot "$work" "$programs" "$told" ||
            fail "systemd could not be started in namespaces here"
        cat "$told/log"
        grep -qx "all right" "$told/log" || fail "the service does not do what it should"
        ;;
esac
