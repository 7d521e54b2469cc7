import { address, attribute, bpf, CMD } from './call.ts';

const MAGIC = 0xeb9f;
const HEADER = 24;
const KIND = { int: 1, array: 3 } as const;
/** `kind` and number of members of a type, as `btf_type.info` has them. */
const info = (kind: keyof typeof KIND): number => KIND[kind] << 24;

/**
 * Loads type information (BTF, Documentation/bpf/btf.rst) of a map whose keys are ints and whose values are arrays of
 * words. The caller closes `fd`; `key` and `value` are numbers of types in it.
 *
 * @param valueSize bytes, a multiple of 4
 */
export function keyAndValueTypes(valueSize: number): { readonly fd: number; readonly key: 1; readonly value: 2 } {
  const strings = Buffer.from('\0int\0', 'latin1');
  const types = Buffer.alloc(16 + 24);
  const words = [1, info('int'), 4, (1 << 24) | 32, 0, info('array'), 0, 1, 1, valueSize / 4];
  words.forEach((word, i) => types.writeUInt32LE(word, i * 4));
  const header = Buffer.alloc(HEADER);
  header.writeUInt16LE(MAGIC, 0);
  header.writeUInt8(1, 2);
  [HEADER, 0, types.length, types.length, strings.length].forEach((word, i) => header.writeUInt32LE(word, 4 + i * 4));
  const btf = Buffer.concat([header, types, strings]);
  const attr = attribute(32, [
    [0, 8, address(btf)],
    [16, 4, btf.length],
  ]);
  return { fd: bpf(CMD.BTF_LOAD, attr, 'load types of', 'BPF map'), key: 1, value: 2 };
}
