#!/usr/bin/env bash
# Pictures of the page that `leanbox bench report` makes of the sample reports, in light and dark,
# wide and narrow, and of its SVG: to look at. Fails where Chromium is missing (Debian's package
# chromium), a picture is blank, or a theme has the wrong ground.
#
#   tests/report-screenshots.sh FOLDER [LEANBOX]     LEANBOX: target/release/leanbox
set -euo pipefail

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

[ $# -ge 1 ] || die "name a folder for the pictures"
folder="$1"
here="$(cd "$(dirname "$0")/.." && pwd)"
leanbox="${2:-$here/target/release/leanbox}"
samples="$here/crates/leanbox-cli/tests/report"

command -v chromium >/dev/null || die "chromium is missing: apt-get install chromium"
command -v python3 >/dev/null || die "python3 is missing: apt-get install python3"
[ -x "$leanbox" ] || die "$leanbox is not there: run \"make build\" first"
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
profile="$(mktemp -d)"
trap 'rm -rf "$profile"' EXIT

# shoot FILE NAME THEME WIDTH HEIGHT
shoot() {
    local scheme=1
    [ "$3" = light ] || scheme=0
    rm -f "$folder/$2.png"
    # As root there is no sandbox; the page is ours.
    timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --hide-scrollbars --user-data-dir="$profile" \
        --blink-settings="preferredColorScheme=$scheme" --window-size="$4,$5" \
        --screenshot="$folder/$2.png" "file://$folder/$1" >"$profile/log" 2>&1 ||
        { cat "$profile/log" >&2; die "chromium made no picture of $1"; }
    check "$folder/$2.png" "$3"
    echo "$folder/$2.png"
}

# check PICTURE THEME: something is on it, on a ground of that theme.
check() {
    python3 - "$1" "$2" <<'PYTHON'
import struct, sys, zlib

path, theme = sys.argv[1:]
try:
    data = open(path, "rb").read()
except OSError as error:
    sys.exit(f"error: {path}: {error.strerror}")
at, packed, width, channels = 8, b"", 0, 4
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at : at + 8])
    body = data[at + 8 : at + 8 + size]
    if kind == b"IHDR":
        width, channels = struct.unpack(">I", body[:4])[0], {2: 3, 6: 4}[body[9]]
    elif kind == b"IDAT":
        packed += body
    at += size + 12
raw = zlib.decompress(packed)
stride = width * channels + 1
rows = {raw[start : start + stride] for start in range(0, len(raw), stride)}
# Equal rows stay equal but for the first when they are filtered; a page has hundreds of others.
if len(rows) < 50:
    sys.exit(f"error: {path} is blank")
# No filter changes the first point.
ground = max(raw[1:4]) if theme == "dark" else min(raw[1:4])
if (ground > 80) if theme == "dark" else (ground < 200):
    sys.exit(f"error: {path} is not {theme}: its ground is {tuple(raw[1:4])}")
PYTHON
}

"$leanbox" bench report "$samples"/{start,sweep,growth,pause,compare,cluster}.json \
    --html "$folder/report.html" --svg "$folder/report.svg" >/dev/null
for theme in light dark; do
    shoot report.html "wide-$theme" "$theme" 1100 8000
    shoot report.html "narrow-$theme" "$theme" 420 10500
    shoot report.svg "picture-$theme" "$theme" 752 446
done
