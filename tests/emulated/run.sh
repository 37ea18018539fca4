#!/bin/sh
# The library's tests on an emulated processor that has AVX-512 and AMX (Bochs's Sapphire Rapids), for machines that have not.
#   tests/emulated/run.sh [ARGUMENT…]   of the tests' program; without any, those of the engine's kernels
# It needs Bochs 3.0's source, the archive target/emulated/bochs*3.0*.tar.*, and a Linux of 5.16 or newer: KERNEL=vmlinuz, else the newest in /boot, else Debian's for the cloud.
# Some hundred times slower than the machine itself: give the names of a few tests.
set -eu

kernel=${KERNEL:+$(realpath "$KERNEL")}
cd "$(dirname "$0")/../.."
here="$PWD/tests/emulated"
mkdir -p target/emulated
cd target/emulated

fail() {
    echo "emulated: $1" >&2
    exit 1
}
for tool in g++ make xorriso cpio busybox; do
    command -v $tool >/dev/null || fail "$tool is missing: apt install g++ make xorriso cpio busybox-static"
done
bios=/usr/share/seabios isolinux=/usr/lib/ISOLINUX/isolinux.bin module=/usr/lib/syslinux/modules/bios/ldlinux.c32
for file in $bios/bios.bin $isolinux $module; do
    [ -e "$file" ] || fail "$file is missing: apt install seabios isolinux syslinux-common"
done

if [ ! -x bochs ]; then
    archive=$(find . -maxdepth 1 -name 'bochs*3.0*.tar.*' ! -name '*debian.tar*' ! -name '*.asc' | head -1)
    [ -n "$archive" ] || fail "Bochs's source is missing: put the archive of version 3.0 (from https://bochs.sourceforge.io, or \
Debian's source package) into $PWD"
    # Anew, in case an earlier attempt left it half amended.
    rm -rf bochs-3.0
    tar xf "$archive"
    echo "emulated: building Bochs"
    "$here/amend.sh" bochs-3.0
    (cd bochs-3.0 && ./configure --with-nogui --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-amx \
        --enable-all-optimizations --enable-pci --enable-cdrom --disable-docbook CXXFLAGS='-O3 -march=native' &&
        make -j"$(nproc)") >bochs.log 2>&1 || fail "Bochs was not built: $PWD/bochs.log tells why"
    cp bochs-3.0/bochs bochs
fi

[ -n "$kernel" ] || kernel=$(find /boot -name 'vmlinuz-*' 2>/dev/null | sort -V | tail -1)
if [ -z "$kernel" ]; then
    if [ ! -e vmlinuz ]; then
        package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
        [ -n "$package" ] || fail "there is no Linux in /boot, and Debian's is not known here: tell one with KERNEL=vmlinuz"
        apt-get download -qq "$package"
        dpkg -x linux-image-*.deb linux
        cp linux/boot/vmlinuz-* vmlinuz
    fi
    kernel=vmlinuz
fi

echo "emulated: building the tests"
program=$(cargo test --release --lib --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
[ -n "$program" ] || fail "the tests were not built"
[ $# -gt 0 ] || set -- nn::kernels nn::engine --skip on_cuda --skip on_host

# A system of one program with its libraries, which the kernel unpacks into memory.
rm -rf system disc
mkdir -p system/bin system/lib64 system/proc system/sys system/dev system/tmp disc/isolinux
cp "$(command -v busybox)" system/bin/busybox
cp "$program" system/tests
strip system/tests
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do cp -L "$library" system/lib64/; done
cat >system/init <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
export LD_LIBRARY_PATH=/lib64 HOME=/tmp PROPTEST_RNG_SEED=1
/bin/busybox grep -m 1 'model name' /proc/cpuinfo
/tests --test-threads=1 $*
echo "the tests ended with \$?"
# What was printed goes out at the pace of a serial line.
/bin/busybox sleep 5
/bin/busybox poweroff -f
INIT
chmod +x system/init
(cd system && find . | cpio -o -H newc 2>/dev/null | gzip -1) >disc/initrd.gz
cp "$kernel" disc/vmlinuz
cp $isolinux $module disc/isolinux/
# FSRM is hidden, because Linux copies memory wrongly where it is told of that, but not of ERMS, as here.
cat >disc/isolinux/isolinux.cfg <<CFG
default tests
label tests
  kernel /vmlinuz
  append initrd=/initrd.gz console=ttyS0 quiet noapic mitigations=off tsc=reliable lpj=1000000 clearcpuid=580
CFG
xorriso -as mkisofs -quiet -o disc.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table disc 2>/dev/null
cat >bochsrc <<RC
megs: 2048
cpu: model=sapphire_rapids, ips=100000000, reset_on_triple_fault=0
romimage: file=$bios/bios.bin
vgaromimage: file=$bios/vgabios-stdvga.bin
vga: extension=vbe
pci: enabled=1, chipset=i440fx
ata0-master: type=cdrom, path=disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=console.txt
clock: sync=none
log: bochs.out
display_library: nogui
panic: action=fatal
RC
rm -f console.txt
: >console.txt
tail -f console.txt &
shown=$!
trap 'kill $shown 2>/dev/null' EXIT
./bochs -q -f bochsrc >run.log 2>&1 || true
sleep 1
grep -q '^the tests ended with 0' console.txt || fail "the tests did not pass; console.txt and bochs.out in $PWD tell more"
