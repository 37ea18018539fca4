#!/bin/sh
# Checks everything here: scripts, licences, installation into a scratch folder, Prometheus rules, the unit.
set -eu
cd "$(dirname "$0")"

for tool in shellcheck promtool systemd-analyze; do
    command -v "$tool" >/dev/null || {
        echo "check.sh: $tool is missing: apt install shellcheck prometheus systemd" >&2
        exit 1
    }
done
shellcheck ./*.sh hairline-station cuda/nvcc debian/* prometheus/*.sh ../systemd/*.sh ../tests/emulated/*.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "check.sh: $1" >&2
    exit 1
}

# A source tree with stand-ins for what is built or made elsewhere.
mkdir -p "$work/src/models" "$work/src/configs" "$work/bin"
cp -R . "$work/src/deploy"
cp -R ../systemd "$work/src/systemd"
printf '#!/bin/sh\n' | tee "$work/bin/hairline" >"$work/bin/train"
chmod +x "$work/bin/hairline" "$work/bin/train"
echo weights >"$work/src/models/crack.safetensors"
echo 'longest_crack_mm = 2' >"$work/src/configs/recipe.toml"
printf '[network]\nmodel = "embedded"\n' >"$work/src/configs/demo.toml"
cat >"$work/src/configs/station.toml" <<END
[station]
name = "template"
data_dir = "ledger"
[network]
model = "../models/crack.safetensors" # the shipped one
[publish]
feed = "tcp://127.0.0.1:5556"
requests = "tcp://127.0.0.1:*"
[http]
listen = "127.0.0.1:9464"
[album]
# dir = "/var/lib/hairline/NAME/album"  # none without it
[[lane]]
name = "a"
recipe = "recipe.toml"
END

to=$work/root
install_it() { "$work/src/deploy/install.sh" --destdir "$to" --binaries "$work/bin" "$@" >/dev/null 2>"$work/said" || fail "$(cat "$work/said")"; }
station() { DESTDIR=$to "$to/usr/local/sbin/hairline-station" "$@" >/dev/null 2>"$work/said"; }
has() { grep -qxF "$2" "$1" || fail "$1 lacks: $2"; }
listing() { (cd "$to" && find . -type f -exec sha256sum {} + | sort); }

install_it --station line-1 --cuda
config=$to/etc/hairline/line-1.toml
for line in 'name = "line-1"' 'data_dir = "/var/lib/hairline/line-1"' 'recipe = "line-1-recipe.toml"' 'feed = "tcp://127.0.0.1:5556"' \
    'model = "/usr/local/share/hairline/models/crack.safetensors" # the shipped one' \
    '# dir = "/var/lib/hairline/line-1/album"  # none without it'; do
    has "$config" "$line"
done
[ "$(grep -c data_dir "$config")" = 1 ] || fail "$config has two data_dir"
[ -r "$to/etc/hairline/line-1-recipe.toml" ] || fail "the recipe was not made"
grep -q '^ExecStart=/usr/local/bin/hairline run' "$to/etc/systemd/system/hairline@.service" || fail "the unit does not follow --prefix"

# Of what install.sh puts under /etc and what the package brings, systemd takes the first alone: each tells of the other.
mkdir "$work/stubs"
printf '#!/bin/sh\n' | tee "$work/stubs/systemd-sysusers" "$work/stubs/mkdir" >"$work/stubs/systemctl"
chmod +x "$work"/stubs/*
configured() { DPKG_ROOT=$1 PATH="$work/stubs:$PATH" debian/postinst configure 2>&1; }
[ -x debian/postinst ] || fail "debian/postinst cannot be run"
configured "$to" | grep -q -- 'install.sh --uninstall' || fail "the package does not tell of the unit that goes before its own"
[ -z "$(configured "$work")" ] || fail "the package tells of a unit that is not there"
install -D "$work/bin/hairline" "$to/usr/lib/systemd/system/hairline@.service"
install_it
grep -q 'apt remove hairline' "$work/said" || fail "install.sh does not tell of the package"
rm -r "$to/usr/lib"
listing >"$work/first"
install_it --station line-1 --cuda
listing | cmp -s - "$work/first" || fail "a second installation changed something"

echo '# edited' >>"$config"
echo '# edited' >>"$to/etc/hairline/line-1-recipe.toml"
install_it --station line-1
grep -q '# edited' "$config" || fail "an edited configuration was overwritten"
grep -q '# edited' "$to/etc/hairline/line-1-recipe.toml" || fail "an edited recipe was overwritten"

station line-2 || fail "$(cat "$work/said")"
for line in 'recipe = "line-2-recipe.toml"' 'feed = "tcp://127.0.0.1:5566"' 'requests = "tcp://127.0.0.1:*"' 'listen = "127.0.0.1:9474"'; do
    has "$to/etc/hairline/line-2.toml" "$line"
done
# What a configuration leaves to the defaults is another station's as well.
sed -E '/^\[(publish|http|station)\]/d; /^(feed|requests|listen|name = "line|data_dir)/d' "$to/etc/hairline/line-2.toml" >"$to/etc/hairline/short.toml"
station line-4 "$to/etc/hairline/short.toml" || fail "$(cat "$work/said")"
for line in 'name = "line-4"' 'data_dir = "/var/lib/hairline/line-4"' 'feed = "tcp://127.0.0.1:5576"' 'requests = "tcp://127.0.0.1:5577"' 'listen = "127.0.0.1:9484"'; do
    has "$to/etc/hairline/line-4.toml" "$line"
done
rm "$to"/etc/hairline/short.toml "$to"/etc/hairline/line-4*.toml
# Single quotes say the same as double ones, in the template and in the configuration of a station that has ports already.
sed "s/\"/'/g" "$to/etc/hairline/line-2.toml" >"$to/etc/hairline/line-5.toml"
rm "$to/etc/hairline/line-2.toml"
station line-6 "$to/etc/hairline/line-5.toml" || fail "$(cat "$work/said")"
for line in 'name = "line-6"' 'data_dir = "/var/lib/hairline/line-6"' 'recipe = "line-6-line-2-recipe.toml"' 'feed = "tcp://127.0.0.1:5576"' \
    'listen = "127.0.0.1:9484"'; do
    has "$to/etc/hairline/line-6.toml" "$line"
done
[ -r "$to/etc/hairline/line-6-line-2-recipe.toml" ] || fail "the recipe was not made"
sed "s/'/\"/g" "$to/etc/hairline/line-5.toml" >"$to/etc/hairline/line-2.toml"
# What else TOML takes is refused, not passed over.
for odd in 'publish.feed = "tcp://127.0.0.1:5556"' 'publish = { feed = "tcp://127.0.0.1:5556" }' '[ publish ]' '[http] # here
"listen" = "127.0.0.1:9464"' '[http]
listen = """127.0.0.1:9464"""' '[["lane"]]' '  [publish]'; do
    { echo "$odd"; cat "$work/src/configs/station.toml"; } >"$work/src/configs/odd.toml"
    if station line-7 "$work/src/configs/odd.toml"; then fail "a template was taken with: $odd"; fi
    grep -q 'no station can be made' "$work/said" || fail "$(cat "$work/said")"
done
{ echo 'publish.feed = "tcp://127.0.0.1:5576"'; cat "$to/etc/hairline/line-2.toml"; } >"$to/etc/hairline/odd.toml"
if station line-7; then fail "a station was made beside one whose ports were not told"; fi
grep -q 'odd.toml has these lines, so that its ports cannot be told' "$work/said" || fail "$(cat "$work/said")"
rm "$to/etc/hairline/odd.toml"
rm "$to"/etc/hairline/line-[56]*.toml "$work/src/configs/odd.toml"
if station line-3 "$work/src/configs/demo.toml"; then fail "a station was made that cannot start"; fi

# An update replaces and removes what came with the version before, and nothing that was changed or added since.
share=$to/usr/local/share/hairline
[ ! -e "$share/configs/demo.toml" ] || fail "a template was installed from which no station can start"
echo promoted >"$share/models/crack.safetensors"
echo promoted >"$share/models/ours.safetensors"
echo 'expr: 1 # yours' >>"$share/prometheus/rules.yml"
rm "$work/src/deploy/prometheus/scrape.yml"
echo 'longest_crack_mm = 3' >"$work/src/configs/recipe.toml"
echo 'new weights' >"$work/src/models/crack.safetensors"
install_it
has "$share/models/crack.safetensors" promoted
has "$share/models/crack.safetensors.shipped" 'new weights'
has "$share/models/ours.safetensors" promoted
has "$share/prometheus/rules.yml" 'expr: 1 # yours'
has "$share/configs/recipe.toml" 'longest_crack_mm = 3'
[ ! -e "$share/prometheus/scrape.yml" ] || fail "what is not shipped any more stayed behind"
grep -q 'models/crack.safetensors was changed' "$work/said" || fail "that a changed model stays was not told"
rm "$share/prometheus/rules.yml" "$share/models/crack.safetensors"
install_it
has "$share/models/crack.safetensors" 'new weights'
[ ! -e "$share/models/crack.safetensors.shipped" ] || fail "a file was left beside the one that it stood in for"

wants=$to/etc/systemd/system/multi-user.target.wants
mkdir "$wants"
ln -s ../hairline@.service "$wants/hairline@line-1.service"
install_it --uninstall
left=$(cd "$to" && find . ! -type d | sort | tr '\n' ' ')
kept="./etc/hairline/line-1-recipe.toml ./etc/hairline/line-1.toml ./etc/hairline/line-2-recipe.toml ./etc/hairline/line-2.toml "
[ "$left" = "$kept./usr/local/share/hairline/models/ours.safetensors " ] || fail "left behind: $left"
if "$work/src/deploy/hairline-station" 'Bad/Name' >/dev/null 2>&1; then fail "a bad station name was taken"; fi
echo "install: files, second run, second station, update of what was changed, removal: right"

# The package has other folders than the source tree: links between its texts lead to what it brings beside them.
python3 - <<'END' || fail "links in the package lead nowhere"
import glob, os, re, sys, tomllib

os.chdir("..")
brought = {}
for source, target, _ in tomllib.load(open("Cargo.toml", "rb"))["package"]["metadata"]["deb"]["assets"]:
    for file in glob.glob(source):
        brought[os.path.join(target, os.path.basename(file)) if target.endswith("/") else target] = file
texts = [(target, file) for target, file in brought.items() if file.endswith(".md") and "/doc/" in target]
lost = [
    f"{file}: {link}"
    for target, file in texts
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", open(file).read())
    if not any(path.startswith(os.path.normpath(os.path.join(os.path.dirname(target), link))) for path in brought)
]
print("\n".join(lost), end="\n" if lost else "", file=sys.stderr)
sys.exit(not texts or bool(lost))
END

./notices.py
prometheus/check.sh
../systemd/check.sh
