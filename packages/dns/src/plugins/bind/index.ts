import { networkInterfaces } from 'node:os';
import { parseIp } from '@weft/net';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import type { Plugin } from '../../server/plugin.ts';

const schema = {
  except: {
    syntax: 'ADDRESS|INTERFACE…',
    doc: 'Not these addresses, nor those of these interfaces.',
    parse: (line) => args(line, 1, Number.POSITIVE_INFINITY),
    join: (before: string[], after: string[]) => [...before, ...after],
  },
} satisfies OptionSchema;

function addressesOf(name: string): string[] | undefined {
  return networkInterfaces()[name]?.map(({ address, family, scopeid }) =>
    family === 'IPv6' && scopeid ? `${address}%${name}` : address,
  );
}

/** Listens on some addresses or interfaces instead of on all. */
export const bind: Plugin = {
  name: 'bind',
  once: false,
  options: schema,
  setup(directives, context) {
    const hosts: string[] = [];
    const except = new Set<string>();
    const resolve = (text: string): string[] | undefined => (parseIp(text) !== undefined ? [text] : addressesOf(text));
    for (const directive of directives) {
      if (directive.args.length === 0) throw argumentError(directive.name, 'bind');
      for (const token of directive.args) {
        const found = resolve(token.text);
        if (found === undefined) throw parsingError(token, `not a valid IP address or interface name: "${token.text}"`);
        hosts.push(...found);
      }
      for (const text of parseOptions(schema, directive.block, context.warn).except ?? []) {
        for (const address of resolve(text) ?? []) except.add(address);
      }
    }
    context.listenOn([...new Set(hosts)].filter((host) => !except.has(host)));
    return undefined;
  },
};
