#!/usr/bin/env bash
# Makes the pictures of the README: of a comparison's report and of the dashboard that shows it.
#   scripts/screenshots.sh [DIRECTORY OF RUNS]        default runs/demo, as ./run demo leaves it
# Wants chromium (apt-get install chromium) and a built program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=${1:-runs/demo}
rubato=build/release/rubato
[ -f "$runs/report.html" ] || { printf 'screenshots: got no %s, want what ./run demo leaves\n' "$runs/report.html" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
mkdir -p images

# shot URL NAME WIDTH HEIGHT
shot() {
  chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$scratch/profile" \
    --virtual-time-budget=8000 --window-size="$3,$4" --screenshot="images/$2.png" "$1" >/dev/null 2>&1
  printf 'images/%s.png\n' "$2"
}

shot "file://$(realpath "$runs")/report.html" report 1180 945

"$rubato" dashboard "$runs" --listen 0 >"$scratch/log" &
server=$!
for _ in $(seq 100); do
  grep -q http "$scratch/log" && break
  sleep 0.1
done
sleep 2 # until it has read the runs
shot "$(grep -o 'http://[^ ]*' "$scratch/log")" dashboard 1280 1062
