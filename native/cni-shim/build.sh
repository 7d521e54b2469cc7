#!/bin/sh
# Builds the CNI shim: build.sh OUT. The result is static, so that it runs in any mount namespace.
# Exit status 3: no C compiler that can do it.
set -eu
out=${1:?usage: build.sh OUT}
source=$(dirname "$0")/shim.c
mkdir -p "$(dirname "$out")"
for cc in "${CC:-}" musl-gcc gcc cc; do
  [ -n "$cc" ] && command -v "$cc" >/dev/null 2>&1 || continue
  # Renamed into place: a plugin that is being executed cannot be overwritten (ETXTBSY).
  if "$cc" -static -Os -Wall -Wextra -o "$out.tmp.$$" "$source" 2>"$out.log"; then
    strip "$out.tmp.$$" 2>/dev/null || true
    mv "$out.tmp.$$" "$out"
    rm -f "$out.log"
    exit 0
  fi
  rm -f "$out.tmp.$$"
done
[ -s "$out.log" ] && cat "$out.log" >&2
rm -f "$out.log"
echo "no C compiler can build a static executable here (tried musl-gcc, gcc, cc)" >&2
exit 3
