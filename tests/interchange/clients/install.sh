#!/usr/bin/env bash
# install.sh node|python DIRECTORY: puts the programs of others that the tests run into DIRECTORY of the build tree, in the
# versions pinned beside this script, once. Exit code 77: they cannot be had here.
set -uo pipefail
kind=$1 to=$2 from=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$1
mkdir -p "$to" || exit 1
exec 9>"$to/.lock"
flock 9  # tests run side by side

list=$from/package.json
[ "$kind" = node ] || list=$from/requirements.txt
cmp -s "$list" "$to/.installed" && exit 0
# Whoever asked a moment ago waited for nothing already.
[ -n "$(find "$to/.unreachable" -mmin -10 2>/dev/null)" ] && exit 77

install_node() {
  command -v node >/dev/null && command -v npm >/dev/null || return 1
  cp "$from/package.json" "$to/" &&
    (cd "$to" && timeout 200 npm install --omit=optional --ignore-scripts --no-audit --no-fund --fetch-retries=1 \
      --fetch-timeout=30000)
}

install_python() {
  python3 -m venv "$to" &&
    timeout 200 "$to/bin/pip" install --disable-pip-version-check --no-deps --retries 1 --timeout 30 -r "$list"
}

if ! "install_$kind" >"$to/install.log" 2>&1; then
  touch "$to/.unreachable"
  exit 77
fi
cp "$list" "$to/.installed"
