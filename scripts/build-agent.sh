#!/usr/bin/env bash
# Builds the agents' program for a cluster whose glibc is older than this machine's, and checks that it needs no newer one.
# Usage: scripts/build-agent.sh [GLIBC]      GLIBC: 2.28 unless given (Rocky Linux 8, as MeluXina has)
#
# Needs python3 with venv, and objdump. Zig, which brings the old libraries, and cargo-zigbuild are Python packages; they are
# put into an environment of their own below target/.
set -euo pipefail
cd "$(dirname "$0")/.."
glibc=${1:-2.28}
[[ $glibc =~ ^2\.[0-9]+$ ]] || { echo "error: GLIBC is a version such as 2.28, not: $glibc" >&2; exit 2; }
for program in python3 objdump cargo; do
  command -v "$program" >/dev/null || { echo "error: \`$program\` is not on PATH (objdump is in the package binutils)" >&2; exit 2; }
done

tools=target/zig
pins=(ziglang==0.15.2 cargo-zigbuild==0.24.1)
if [ "$(cat "$tools/pins" 2>/dev/null)" != "${pins[*]}" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "${pins[@]}"
  echo "${pins[*]}" >"$tools/pins"
fi
target=$(uname -m)-unknown-linux-gnu
rustc --print target-libdir --target "$target" | grep -q . && [ -d "$(rustc --print target-libdir --target "$target")" ] ||
  { echo "error: Rust has no standard library for $target: rustup target add $target" >&2; exit 2; }
PATH=$PWD/$tools/bin:$PATH cargo zigbuild --quiet --package runner --profile dist --target "$target.$glibc"

program=target/$target/dist/runner
needs=$(objdump -T "$program" | grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
if [ "$(printf '%s\n' "GLIBC_$glibc" "$needs" | sort -V | tail -n 1)" != "GLIBC_$glibc" ]; then
  echo "error: $program needs $needs, newer than the glibc $glibc it was built for" >&2
  exit 1
fi
"$program" --version >/dev/null
echo "$program needs ${needs:-no glibc}, $(stat -c %s "$program") bytes: name it as \`agent\` in the target"
