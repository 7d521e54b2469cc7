import { readFileSync } from 'node:fs';
import { formatIp, parseIp } from '@weft/net';
import { keyFromText, type NameKey } from '../../wire/index.ts';

/** Weights by name and address (canonical text). */
export type Weights = ReadonlyMap<NameKey, ReadonlyMap<string, number>>;

/**
 * Reads a weight file: a line with a name, then lines with an address and its weight (1 to 255); `#` starts a comment line.
 * @throws Error with CoreDNS's words for what cannot be read.
 */
export function parseWeights(text: string, file: string): Weights {
  const out = new Map<NameKey, Map<string, number>>();
  let current: Map<string, number> | undefined;
  for (const whole of text.split('\n')) {
    const line = whole.trim();
    if (line === '' || line.startsWith('#')) continue;
    const [first = '', weight, extra] = line.split(/\s+/);
    const ip = parseIp(first);
    if (extra !== undefined) throw new Error(`could not parse weight line:"${line}" in weight file ${file}`);
    if (weight === undefined) {
      if (ip !== undefined)
        throw new Error(`wrong domain name:"${first}" in weight file ${file}. (Maybe a missing weight value?)`);
      const key = keyFromText(first.endsWith('.') ? first : `${first}.`);
      current = out.get(key) ?? new Map<string, number>();
      out.set(key, current);
      continue;
    }
    if (ip === undefined) throw new Error(`wrong IP address:"${first}" in weight file ${file}`);
    const value = /^[0-9]+$/.test(weight) ? Number(weight) : 0;
    if (value < 1 || value > 255) throw new Error(`wrong weight value:"${weight}" in weight file ${file}`);
    if (current === undefined) throw new Error(`missing domain name in weight file ${file}`);
    current.set(formatIp(ip), value);
  }
  return out;
}

/** Index of the item that `at`, between 0 and the sum of the weights, falls on; heavier items come first. */
export function pick(weights: readonly number[], at: number): number {
  const order = weights.map((weight, index) => ({ weight, index })).sort((a, b) => b.weight - a.weight);
  let sum = 0;
  for (const { weight, index } of order) {
    sum += weight;
    if (at < sum) return index;
  }
  return 0;
}

/** A weight file as last read. */
export class WeightFile {
  weights: Weights = new Map();
  readonly #path: string;
  #text: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads the file again; true when it has changed. @throws Error when it cannot be read. */
  look(): boolean {
    const text = readFileSync(this.#path, 'utf8');
    if (text === this.#text) return false;
    this.#text = text;
    this.weights = parseWeights(text, this.#path);
    return true;
  }
}
