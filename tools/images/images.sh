#!/usr/bin/env bash
# Takes the README's pictures, of a run that it makes: images.sh CONNPROF DIRECTORY. SUDO becomes root where that is needed;
# the browser runs as whoever calls.
set -euo pipefail
connprof=$(realpath "$1")
images=$(realpath "$2")
lines=25
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A terminal of 100 columns, so that the program colours its output; what it says of its progress is left out.
(cd "$work" && script -qec "stty cols 100; ${SUDO:-} '$connprof' run --ips 20 --conns 20k 2>progress" /dev/null >terminal) ||
    { cat "$work/progress" >&2; exit 1; }
go run ./tools/images -command "sudo connprof run --ips 20 --conns 20k" -from "Client endpoints" -lines "$lines" <"$work/terminal" >"$work/terminal.html"
"$connprof" report "$work/connprof.json" --html "$work/page.html"

# picture HTML NAME WIDTH HEIGHT
picture() {
    local root=()
    [ "$(id -u)" != 0 ] || root=(--no-sandbox)
    chromium "${root[@]}" --headless --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
        --screenshot="$work/$2" --window-size="$3,$4" "file://$work/$1" 2>"$work/chromium.log" ||
        { cat "$work/chromium.log" >&2; return 1; }
    pngquant --force --strip --output "$images/$2" 64 -- "$work/$2"
}
picture terminal.html terminal.png 900 $((lines * 20 + 60))
picture page.html page.png 1200 1090
ls -l "$images"/*.png
