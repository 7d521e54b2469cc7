/** A table as it is in the kernel, or as it should be: rules by chain, each in one form however it was written. */
export type Chains = ReadonlyMap<string, readonly string[]>;

/** Words that stand alone or say what the kernel assumes anyway. */
const ASSUMED = new Set(['--rsource', '--mask', '--reject-with']);
const LONG: Readonly<Record<string, string>> = {
  '--source': '-s',
  '--destination': '-d',
  '--protocol': '-p',
  '--in-interface': '-i',
  '--out-interface': '-o',
  '--jump': '-j',
  '--goto': '-g',
};

/** Splits a line as iptables-restore does: blanks part words, quotes hold them together. */
export function words(line: string): string[] {
  const out: string[] = [];
  for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    out.push(match[1] === undefined ? (match[2] as string) : match[1].replace(/\\(.)/g, '$1'));
  }
  return out;
}

function hex(text: string): number {
  return Number.parseInt(text, text.startsWith('0x') ? 16 : 10) >>> 0;
}

/**
 * One form for a rule, whether it comes from us or from iptables-save, which moves addresses to the front, adds prefix
 * lengths and defaults, and writes marks and probabilities its own way. Options are sorted; a `!` stays with its option.
 */
export function canonical(rule: string): string {
  const list = words(rule);
  const options: string[] = [];
  for (let i = 0; i < list.length; i++) {
    let word = list[i] as string;
    let not = '';
    if (word === '!') {
      not = '! ';
      i += 1;
      word = list[i] as string;
    }
    const option = LONG[word] ?? word;
    const values: string[] = [];
    while (i + 1 < list.length && !/^(--?[a-z]|!$)/.test(list[i + 1] as string)) {
      i += 1;
      values.push(list[i] as string);
    }
    // Loading a match leaves no trace but its options.
    if (option === '-m' || option === '-A' || option === '-I' || ASSUMED.has(option)) continue;
    options.push(not + form(option, values));
  }
  return options.sort().join(' ');
}

function form(option: string, values: readonly string[]): string {
  const [value = ''] = values;
  switch (option) {
    case '-s':
    case '-d':
      return `${option} ${value.replace(value.includes(':') ? /\/128$/ : /\/32$/, '')}`;
    case '--probability':
      // The kernel keeps 31 bits.
      return `${option} ${Math.round(Number(value) * 2 ** 31) / 2 ** 31 < 1e-9 ? 0 : Number(value).toFixed(7)}`;
    case '--xor-mark':
      return `--set-xmark ${hex(value)}/0`;
    case '--or-mark':
      return `--set-xmark ${hex(value)}/${hex(value)}`;
    case '--set-xmark':
    case '--mark': {
      const [bits = '0', mask = '0xffffffff'] = value.split('/');
      return `${option} ${hex(bits)}/${hex(mask)}`;
    }
    case '--ctstate':
      return `${option} ${value.split(',').sort().join(',')}`;
    default:
      return [option, ...values].join(' ');
  }
}

/** Reads one table out of the text of iptables-save or of what is given to iptables-restore. */
export function parseTable(text: string, table: string): Map<string, string[]> {
  const chains = new Map<string, string[]>();
  let inside = false;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) inside = line.slice(1).trim() === table;
    if (!inside) continue;
    if (line.startsWith(':')) {
      const name = line.slice(1).split(' ')[0] as string;
      if (!chains.has(name)) chains.set(name, []);
      continue;
    }
    // With counters in front: `[12:3456] -A CHAIN …`.
    const rule = line.replace(/^\[\d+:\d+\] /, '');
    if (!rule.startsWith('-A ')) continue;
    const chain = rule.slice(3).split(' ')[0] as string;
    const rules = chains.get(chain);
    if (rules === undefined) chains.set(chain, [rule]);
    else rules.push(rule);
  }
  return chains;
}
