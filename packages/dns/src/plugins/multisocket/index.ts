import { availableParallelism } from 'node:os';
import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Plugin } from '../../server/plugin.ts';

const MAX = 1024;

/** Several sockets at each address of a block, among which the kernel spreads clients. */
export const multisocket: Plugin = {
  name: 'multisocket',
  once: false,
  setup(directives, { listen }) {
    const directive = directives[0] as (typeof directives)[number];
    const [count, extra] = directive.args;
    if (extra !== undefined || directives.length > 1) throw argumentError(directive.name, 'multisocket');
    if (count === undefined) {
      listen.sockets = availableParallelism();
      return undefined;
    }
    if (!/^[+-]?[0-9]+$/.test(count.text))
      throw parsingError(count, `invalid num sockets: strconv.Atoi: parsing "${count.text}": invalid syntax`);
    const value = Number(count.text);
    if (value < 1) throw parsingError(count, `num sockets can not be zero or negative: ${value}`);
    if (value > MAX) throw parsingError(count, `num sockets exceeds maximum (${MAX}): ${value}`);
    listen.sockets = value;
    return undefined;
  },
};
