import type { Reader, Writer } from './bytes.ts';
import { AS_TRANS, type AsSegment } from './types.ts';

const SET = 1;
const SEQUENCE = 2;

/** Reads an AS path. Throws RangeError when it is malformed (RFC 7606 §7.2). */
export function readAsPath(r: Reader, as4: boolean): AsSegment[] {
  const path: AsSegment[] = [];
  while (r.left > 0) {
    const type = r.u8();
    const count = r.u8();
    // Confederation segments have no place in a session with a speaker that is in none of ours (RFC 5065 §5).
    if ((type !== SET && type !== SEQUENCE) || count === 0) throw new RangeError(`segment type ${type}, ${count} ASes`);
    const ases: number[] = [];
    for (let i = 0; i < count; i++) ases.push(as4 ? r.u32() : r.u16());
    path.push({ kind: type === SET ? 'set' : 'sequence', ases });
  }
  return path;
}

/** Writes an AS path; sequences longer than a segment holds are split. */
export function writeAsPath(w: Writer, path: readonly AsSegment[], as4: boolean): void {
  for (const { kind, ases } of path) {
    for (let from = 0; from < ases.length; from += 255) {
      const part = ases.slice(from, from + 255);
      w.u8(kind === 'set' ? SET : SEQUENCE);
      w.u8(part.length);
      for (const as of part) {
        if (as4) w.u32(as);
        else w.u16(as > 0xffff ? AS_TRANS : as);
      }
    }
  }
}

/** Length of a path for comparisons: a set counts as one AS (RFC 4271 §9.1.2.2). */
export function asPathLength(path: readonly AsSegment[]): number {
  return path.reduce((sum, { kind, ases }) => sum + (kind === 'set' ? 1 : ases.length), 0);
}

/** A path with an AS before it. */
export function prependAs(path: readonly AsSegment[], as: number): readonly AsSegment[] {
  const [first, ...rest] = path;
  if (first?.kind === 'sequence' && first.ases.length < 255)
    return [{ kind: 'sequence', ases: [as, ...first.ases] }, ...rest];
  return [{ kind: 'sequence', ases: [as] }, ...path];
}

/** True when an AS needs four octets. */
export function needsFourOctets(path: readonly AsSegment[]): boolean {
  return path.some(({ ases }) => ases.some((as) => as > 0xffff));
}

/**
 * The real path behind one that a two-octet speaker passed on: its own ASes, then those of AS4_PATH, which it could not
 * read (RFC 6793 §4.2.3).
 */
export function mergeAs4Path(path: readonly AsSegment[], as4Path: readonly AsSegment[]): readonly AsSegment[] {
  let extra = asPathLength(path) - asPathLength(as4Path);
  if (extra < 0) return path;
  const head: AsSegment[] = [];
  for (const segment of path) {
    if (extra <= 0) break;
    if (segment.kind === 'set') {
      head.push(segment);
      extra -= 1;
    } else {
      head.push({ kind: 'sequence', ases: segment.ases.slice(0, extra) });
      extra -= segment.ases.length;
    }
  }
  const last = head.at(-1);
  const [first, ...rest] = as4Path;
  if (last?.kind !== 'sequence' || first?.kind !== 'sequence' || last.ases.length + first.ases.length > 255)
    return [...head, ...as4Path];
  return [...head.slice(0, -1), { kind: 'sequence', ases: [...last.ases, ...first.ases] }, ...rest];
}
