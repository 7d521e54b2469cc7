#!/bin/sh
# Builds the CNI shim: build.sh OUT. The result is static, so that it runs in any mount namespace.
# Exit status 3: no C compiler that can do it.
set -eu
out=${1:?usage: build.sh OUT}
source=$(dirname "$0")/shim.c
mkdir -p "$(dirname "$out")"
# Nodes of one lab build at once, and their pids are equal: each has a pid namespace of its own.
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
for cc in "${CC:-}" musl-gcc gcc cc; do
  [ -n "$cc" ] && command -v "$cc" >/dev/null 2>&1 || continue
  # Renamed into place: a plugin that is being executed cannot be overwritten (ETXTBSY).
  if "$cc" -static -Os -Wall -Wextra -o "$work/shim" "$source" 2>"$work/log"; then
    strip "$work/shim" 2>/dev/null || true
    mv "$work/shim" "$out"
    exit 0
  fi
done
[ -s "$work/log" ] && cat "$work/log" >&2
echo "no C compiler can build a static executable here (tried musl-gcc, gcc, cc)" >&2
exit 3
