import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { parseIp } from '@weft/net';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import {
  type AnswerChange,
  type AnswerSource,
  authoritative,
  failure,
  type Handler,
  type Outcome,
} from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { RCODE, type Rr, record, TYPE } from '../../wire/index.ts';
import { reverseAddress } from '../../wire/reverse.ts';
import { type HostsTable, mergeHosts, parseHosts } from './table.ts';

const schema = {
  ttl: option.integer('SECONDS', 'TTL of records. Default 3600.', {
    min: 1,
    max: 65535,
    error: 'ttl provided is invalid',
  }),
  no_reverse: option.flag('No reverse names.'),
  reload: option.duration('DURATION', 'Time between looks at the file; 0 never. Default 5s.'),
  fallthrough: option.zones(
    '[ZONE…]',
    'Names that are not in the file go to the next plugin; in these zones only, or in all.',
  ),
} satisfies OptionSchema;

/** Answers from a hosts file and from lines in the Corefile. */
export const hosts: Plugin = {
  name: 'hosts',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const lines = directive.block ?? [];
    const inlineLines = lines.filter((line) => parseIp(line.name.text) !== undefined);
    const options = parseOptions(
      schema,
      lines.filter((line) => !inlineLines.includes(line)),
      context.warn,
    );
    const [file, ...zoneTokens] = directive.args;
    const path = file === undefined ? '/etc/hosts' : context.path(file.text);
    const zones = zoneTokens.flatMap((token) => zonesFromArgument(token));
    const served = new ZoneSet(zones.length > 0 ? zones : context.block.zones);
    const { fallthrough } = options;
    const through = fallthrough === undefined ? undefined : new ZoneSet(fallthrough.length === 0 ? ['.'] : fallthrough);
    const ttl = options.ttl ?? 3600;
    const inline = parseHosts(
      inlineLines.map((line) => [line.name, ...line.args].map((token) => token.text).join(' ')),
      ttl,
    );
    let table: HostsTable = inline;
    let stamp = '';
    let timer: NodeJS.Timeout | undefined;
    const listeners = new Set<(change: AnswerChange) => void>();
    const { metrics, log } = context.runtime;
    const entries = metrics
      .gauge('coredns_hosts_entries', 'The combined number of entries in hosts and Corefile.', ['hostsfile'])
      .cell(path);
    const reloaded = metrics
      .gauge('coredns_hosts_reload_timestamp_seconds', 'The timestamp of the last reload of hosts file.')
      .cell();
    const use = (text: string): void => {
      table = mergeHosts(inline, parseHosts(text.split('\n'), ttl));
      entries.value = table.a.size + table.aaaa.size;
      for (const listener of listeners) listener({ scopes: undefined, names: [] });
    };
    const look = async (): Promise<void> => {
      try {
        const { mtimeMs, size } = await stat(path);
        if (`${mtimeMs} ${size}` === stamp) return;
        use(await readFile(path, 'utf8'));
        stamp = `${mtimeMs} ${size}`;
        reloaded.value = mtimeMs / 1000;
      } catch {
        // The file may come and go; what was read last stays.
      }
    };
    context.onStart(() => {
      try {
        use(readFileSync(path, 'utf8'));
      } catch (error) {
        if (file !== undefined) log.warn(`plugin/hosts: ${(error as Error).message}`);
        entries.value = table.a.size + table.aaaa.size;
      }
      const seconds = options.reload ?? 5;
      if (seconds > 0) timer = setInterval(() => void look(), seconds * 1000).unref();
    });
    context.onStop(() => clearInterval(timer));

    const answer = (answers: readonly Rr[]): Outcome => authoritative('hosts', { answers, own: true });
    const answers: AnswerSource = {
      // Everything depends on the file as a whole.
      scopeOf({ key, labels, type }) {
        if (type === TYPE.PTR) {
          const ip = options.no_reverse === true ? undefined : reverseAddress(key, labels);
          return ip !== undefined && table.reverse.has(ip) ? '' : undefined;
        }
        if (!served.has(key, labels)) return undefined;
        if (table.a.has(key) || table.aaaa.has(key)) return '';
        return through?.has(key, labels) === true ? undefined : null;
      },
      names: () => [],
      serial: () => 0,
      onChange(listener) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    const handler: Handler = {
      name: 'hosts',
      answers,
      owns(key, labels) {
        if (table.a.has(key) || table.aaaa.has(key)) return served.has(key, labels);
        const ip = options.no_reverse === true ? undefined : reverseAddress(key, labels);
        return ip !== undefined && table.reverse.has(ip);
      },
      serve(request, next) {
        const { query } = request;
        const inZone = served.has(query.key, query.labels);
        if (query.type === TYPE.PTR) {
          const ip = options.no_reverse === true ? undefined : reverseAddress(query.key, query.labels);
          const names = ip === undefined ? undefined : table.reverse.get(ip);
          if (names === undefined) return next(request);
          return answer(names.map((name) => record(undefined, TYPE.PTR, ttl, name)));
        }
        if (!inZone) return next(request);
        const a = table.a.get(query.key);
        const aaaa = table.aaaa.get(query.key);
        const records = query.type === TYPE.A ? a : query.type === TYPE.AAAA ? aaaa : undefined;
        if (records !== undefined) return answer(records);
        if (a !== undefined || aaaa !== undefined) return answer([]);
        if (through?.has(query.key, query.labels) === true) return next(request);
        // A hosts file has no SOA record to say NXDOMAIN with.
        return failure('hosts', RCODE.SERVFAIL);
      },
    };
    return handler;
  },
};
