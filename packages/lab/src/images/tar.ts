/** One member of a tar archive to be written. */
export type TarEntry =
  | {
      readonly path: string;
      readonly type: 'dir';
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    }
  | {
      readonly path: string;
      readonly type: 'file';
      readonly data: Uint8Array;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string }
  | { readonly path: string; readonly type: 'link'; readonly target: string };

const BLOCK = 512;
const encoder = new TextEncoder();

function put(header: Uint8Array, at: number, size: number, text: string): void {
  const bytes = encoder.encode(text);
  if (bytes.length > size) throw new RangeError(`tar: "${text}" does not fit in ${size} bytes`);
  header.set(bytes, at);
}

function header(entry: TarEntry): Uint8Array {
  const out = new Uint8Array(BLOCK);
  const plain = entry.type === 'dir' || entry.type === 'file' ? entry : undefined;
  const octal = (value: number, size: number): string => `${value.toString(8).padStart(size - 1, '0')}\0`;
  let name = entry.path.replace(/^\/+/, '');
  if (entry.type === 'dir' && !name.endsWith('/')) name += '/';
  let prefix = '';
  if (encoder.encode(name).length > 100) {
    const cut = name.lastIndexOf('/', name.length - 2 > 155 ? 155 : name.length - 2);
    prefix = name.slice(0, cut);
    name = name.slice(cut + 1);
  }
  put(out, 0, 100, name);
  put(out, 100, 8, octal(plain?.mode ?? (entry.type === 'dir' ? 0o755 : entry.type === 'file' ? 0o644 : 0o777), 8));
  put(out, 108, 8, octal(plain?.uid ?? 0, 8));
  put(out, 116, 8, octal(plain?.gid ?? 0, 8));
  put(out, 124, 12, octal(entry.type === 'file' ? entry.data.length : 0, 12));
  // No time of its own: the same content must always have the same digest.
  put(out, 136, 12, octal(0, 12));
  put(out, 148, 8, '        ');
  put(out, 156, 1, { file: '0', link: '1', symlink: '2', dir: '5' }[entry.type]);
  if (entry.type === 'symlink' || entry.type === 'link') put(out, 157, 100, entry.target);
  put(out, 257, 8, 'ustar\x0000');
  put(out, 265, 32, 'root');
  put(out, 297, 32, 'root');
  put(out, 345, 155, prefix);
  let sum = 0;
  for (const byte of out) sum += byte;
  put(out, 148, 8, `${sum.toString(8).padStart(6, '0')}\0 `);
  return out;
}

/** A POSIX ustar archive (IEEE Std 1003.1 pax), byte for byte the same for the same entries. */
export function writeTar(entries: readonly TarEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(header(entry));
    if (entry.type !== 'file' || entry.data.length === 0) continue;
    parts.push(entry.data);
    const over = entry.data.length % BLOCK;
    if (over !== 0) parts.push(new Uint8Array(BLOCK - over));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return Buffer.concat(parts);
}
