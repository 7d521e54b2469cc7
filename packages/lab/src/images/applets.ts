// Debian builds its BusyBox without some of what the image of the same name has, and what tutorials type. Each script
// here does the missing part with the applets that are there.

/** `printenv`: Debian's has no such applet. */
export const PRINTENV = `#!/bin/sh
[ $# = 0 ] && exec env
exec awk 'BEGIN { for (i = 1; i < ARGC; i++) if (ARGV[i] in ENVIRON) print ENVIRON[ARGV[i]]; else s = 1; exit s }' "$@"
`;

/**
 * `wget`: Debian's knows no `--timeout` and crashes at `-T`. Here the limit is one for the whole transfer, while the
 * original's is one for silence. Everything else is passed on as it is.
 *
 * @param real where the program itself is
 */
export const wgetScript = (real: string): string => `#!/bin/sh
limit=
count=$#
while [ "$count" -gt 0 ]; do
  arg=$1
  shift
  count=$((count - 1))
  case $arg in
    --timeout=*) limit=\${arg#*=} ;;
    --timeout) limit=\${1-}; [ "$count" = 0 ] || { shift; count=$((count - 1)); } ;;
    --tries=*) ;;
    --*) set -- "$@" "$arg" ;;
    -?*)
      # A cluster of letters; one that takes a value takes the rest, or the next word.
      rest=\${arg#-} kept=
      while [ -n "$rest" ]; do
        letter=\${rest%"\${rest#?}"} rest=\${rest#?}
        case $letter in
          [TtOoPUY])
            value=$rest rest=
            [ -n "$value" ] || [ "$count" = 0 ] || { value=$1; shift; count=$((count - 1)); }
            case $letter in
              T) limit=$value ;;
              t) ;;
              *) set -- "$@" \${kept:+"-$kept"} "-$letter" "$value"; kept= ;;
            esac
            ;;
          *) kept=$kept$letter ;;
        esac
      done
      [ -z "$kept" ] || set -- "$@" "-$kept"
      ;;
    *) set -- "$@" "$arg" ;;
  esac
done
[ -n "$limit" ] && [ "$limit" != 0 ] || exec ${real} "$@"
# Of a program that SIGPIPE ends the shell says nothing; the same may come from a reader that has seen enough.
began=$(date +%s)
busybox timeout -s PIPE "$limit" ${real} "$@"
code=$?
[ "$code" = 141 ] && [ $(($(date +%s) - began)) -ge "$limit" ] || exit "$code"
echo 'wget: download timed out' >&2
exit 1
`;

/**
 * BusyBox as Debian builds it has its shell run applets before it looks at the PATH, so that a script in the place of an
 * applet is passed over. This gives the applet another name: the last letter becomes a capital, which keeps the table of
 * names in order. Undefined when the table is not where it is expected; then nothing was changed.
 *
 * @param binary the program
 * @param list its applets in the order of its table (`busybox --list`)
 */
export function hideApplet(binary: Buffer, list: readonly string[], name: string): Buffer | undefined {
  const at = list.indexOf(name);
  const [before, after] = [list[at - 1], list[at + 1]];
  const hidden = `${name.slice(0, -1)}${name.slice(-1).toUpperCase()}`;
  if (at < 1 || before === undefined || after === undefined || hidden <= before || hidden >= after) return undefined;
  const found = binary.indexOf(`\0${before}\0${name}\0${after}\0`, 0, 'latin1');
  if (found < 0) return undefined;
  const out = Buffer.from(binary);
  out.write(hidden, found + before.length + 2, 'latin1');
  return out;
}
