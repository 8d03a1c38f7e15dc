#!/bin/sh
# Installs the Debian packages that are missing: tools/install_packages.sh [build] [test] [cross] [format]
#
# Each word adds one group; without any it is `build`. Nothing is asked and nothing is downloaded
# when all packages are present, so every make target can call it. On a system without dpkg it only
# says so: CMake names what it misses.
set -eu

build="g++ cmake ninja-build pkg-config libfmt-dev libspdlog-dev nlohmann-json3-dev libpcre2-dev
  libcli11-dev libedit-dev libhwloc-dev libboost1.81-dev libssl-dev
  libxxhash-dev"
test="libgtest-dev libgmock-dev libbenchmark-dev libvalijson-dev clang-19 libclang-rt-19-dev
  mold"
cross="g++-aarch64-linux-gnu qemu-user googletest"
format="clang-format"

wanted=
for group in "${@:-build}"; do
  case $group in
    build) wanted="$wanted $build" ;;
    test)
      wanted="$wanted $test"
      # Also without Debian's own package: other builds of Node.js bring npm and exclude that one.
      command -v npm >/dev/null || wanted="$wanted npm"
      ;;
    cross) wanted="$wanted $cross" ;;
    format) wanted="$wanted $format" ;;
    *)
      echo "install_packages.sh: expected build, test, cross or format, found '$group'" >&2
      exit 2
      ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install_packages.sh: not a Debian system; make sure that these are installed:$wanted" >&2
  exit 0
fi

missing=
for package in $wanted; do
  if dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
    continue
  fi
  missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_packages.sh: neither root nor sudo; as root: apt-get install$missing" >&2
    exit 1
  fi
  as_root=sudo
fi

apt() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}
install() {
  # shellcheck disable=SC2086
  apt install --yes --no-install-recommends $missing
}

echo "Installing Debian packages:$missing"
# The package lists of a fresh system are empty, those of an old one may name files that are gone:
# refresh them when a package is unknown, or when the first try fails.
# shellcheck disable=SC2086
if ! apt-cache show --no-all-versions $missing >/dev/null 2>&1; then
  apt update
  install
elif ! install; then
  apt update
  install
fi
