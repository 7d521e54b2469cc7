import { formatIp } from '@weft/net';
import fc from 'fast-check';

const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n });

export const ip4 = bytes(4).map(formatIp);
export const ip6 = bytes(16).map(formatIp);
export const mac = bytes(6).map((b) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join(':'));
export const u8 = fc.nat(0xff);
export const u16 = fc.nat(0xffff);
export const u32 = fc.nat(0xffffffff);
export const index = fc.integer({ min: 1, max: 0x7fffffff });
export const name = fc
  .array(fc.constantFrom(...'abcdefghijklmnopqrstuvwxyzABC0123456789-_.@%'.split('')), { minLength: 1, maxLength: 15 })
  .map((chars) => chars.join(''))
  .filter((s) => s !== '.' && s !== '..');
export const text = fc.string({ minLength: 1, maxLength: 60 }).filter((s) => !s.includes('\0'));
export const data = (max = 16): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 1, maxLength: max });

/** Records whose keys may be missing. */
export function some<T extends Record<string, unknown>>(
  model: { [K in keyof T]: fc.Arbitrary<T[K]> },
): fc.Arbitrary<Partial<T>> {
  return fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
}
