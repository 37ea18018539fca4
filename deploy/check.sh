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
shellcheck ./*.sh hairline-station cuda/nvcc debian/* prometheus/*.sh ../systemd/*.sh

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
cat >"$work/src/configs/station.toml" <<END
[station]
name = "template"
data_dir = "ledger"
[network]
model = "../models/crack.safetensors" # the shipped one
[[lane]]
name = "a"
recipe = "recipe.toml"
END

to=$work/root
install_it() { "$work/src/deploy/install.sh" --destdir "$to" --binaries "$work/bin" "$@" >/dev/null; }
listing() { (cd "$to" && find . -type f -exec sha256sum {} + | sort); }

install_it --station line-1 --cuda
config=$to/etc/hairline/line-1.toml
for line in 'name = "line-1"' 'data_dir = "/var/lib/hairline/line-1"' 'recipe = "recipe.toml"' \
    'model = "/usr/local/share/hairline/models/crack.safetensors" # the shipped one'; do
    grep -qxF "$line" "$config" || fail "$config lacks: $line"
done
[ "$(grep -c data_dir "$config")" = 1 ] || fail "$config has two data_dir"
[ -r "$to/etc/hairline/recipe.toml" ] || fail "the recipe was not made"
grep -q '^ExecStart=/usr/local/bin/hairline run' "$to/etc/systemd/system/hairline@.service" || fail "the unit does not follow --prefix"

listing >"$work/first"
install_it --station line-1 --cuda
listing | cmp -s - "$work/first" || fail "a second installation changed something"

echo '# edited' >>"$config"
echo '# edited' >>"$to/etc/hairline/recipe.toml"
install_it --station line-1
grep -q '# edited' "$config" || fail "an edited configuration was overwritten"
grep -q '# edited' "$to/etc/hairline/recipe.toml" || fail "an edited recipe was overwritten"

"$work/src/deploy/install.sh" --destdir "$to" --uninstall >/dev/null
left=$(cd "$to" && find . -type f | sort | tr '\n' ' ')
[ "$left" = "./etc/hairline/line-1.toml ./etc/hairline/recipe.toml " ] || fail "left behind: $left"
if "$work/src/deploy/hairline-station" 'Bad/Name' >/dev/null 2>&1; then fail "a bad station name was taken"; fi
echo "install: files, second run, edited configuration, removal: right"

./notices.py
prometheus/check.sh
../systemd/check.sh
