import { formatIp, parseIp } from '@weft/net';
import type { Target } from '../../client/channel.ts';
import { targetOf } from '../../client/targets.ts';
import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Line } from '../../corefile/directive.ts';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { authoritative, failure, type Handler, NO_ANSWER } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { keyFromText, type NameKey, OPCODE } from '../../wire/index.ts';
import { SecondaryZone } from '../../zone/secondary.ts';
import { ServedZones, zoneHandler } from '../../zone/served.ts';

const schema = {
  transfer: {
    syntax: 'from ADDRESS…',
    doc: 'Primaries to take the zones from, with port where it is not 53; the first that answers is used.',
    parse: (line: Line): Target[] => {
      const [from, ...addresses] = line.args;
      if (from?.text !== 'from' || addresses.length === 0) throw argumentError(from ?? line.name, 'transfer');
      return addresses.map((token) => {
        const target = targetOf(token.text);
        if (target === undefined) throw parsingError(token, `not an IP address: "${token.text}"`);
        return target;
      });
    },
    join: (before: Target[], after: Target[]) => [...before, ...after],
  },
  fallthrough: option.zones(
    '[ZONE…]',
    'Names that do not exist go to the next plugin; in these zones only, or in all.',
  ),
} satisfies OptionSchema;

interface Wanted {
  readonly origin: NameKey;
  readonly primaries: readonly Target[];
}

/** Answers from zones that are taken from their primaries. */
export const secondary: Plugin = {
  name: 'secondary',
  once: false,
  options: schema,
  setup(directives, context) {
    const { log, shared, clock } = context.runtime;
    const zones = new ServedZones();
    const wanted: Wanted[] = [];
    const through: string[] = [];
    for (const directive of directives) {
      const options = parseOptions(schema, directive.block, context.warn);
      const primaries = options.transfer;
      if (primaries === undefined) throw parsingError(directive.name, "'transfer from' is required");
      const named = directive.args.flatMap((token) => zonesFromArgument(token));
      const origins = named.length > 0 ? named : context.block.zones;
      for (const text of origins) {
        const origin = keyFromText(text);
        zones.expect(origin);
        wanted.push({ origin, primaries });
      }
      if (options.fallthrough !== undefined) {
        through.push(...(options.fallthrough.length > 0 ? options.fallthrough : origins));
      }
    }
    const running = new Map<NameKey, SecondaryZone>();
    const stopping: (() => void)[] = [];
    context.onStart(() => {
      for (const { origin, primaries } of wanted) {
        // A zone outlives reloads of the Corefile: it is not fetched again, and stays served.
        const { value, release } = shared.acquire(`secondary ${JSON.stringify([origin, primaries])}`, () => {
          const zone = new SecondaryZone({ origin, primaries, log, now: () => clock.now() });
          void zone.check();
          return { value: zone, close: () => zone.close() };
        });
        running.set(origin, value);
        stopping.push(
          value.follow((zone) => zones.put(origin, zone)),
          release,
        );
      }
    });
    context.onStop(() => stopping.forEach((stop) => stop()));
    const handler = zoneHandler(
      'secondary',
      zones,
      context.lookup,
      through.length === 0 ? undefined : new ZoneSet(through),
    );
    return {
      ...handler,
      serve(request, next) {
        const { query } = request;
        const zone = ((query.flags >> 11) & 15) === OPCODE.NOTIFY ? running.get(query.key) : undefined;
        if (zone === undefined) return handler.serve(request, next);
        const from = request.context.remoteAddress;
        const primaries = wanted.find(({ origin }) => origin === query.key)?.primaries ?? [];
        if (!primaries.some(({ host }) => sameAddress(host, from))) {
          log.warn(`plugin/secondary: notification of ${request.name} from ${from}, which is no primary of it`);
          return failure('secondary', NO_ANSWER);
        }
        void zone.check();
        return authoritative('secondary', {});
      },
    } satisfies Handler;
  },
};

function sameAddress(a: string, b: string): boolean {
  const [x, y] = [parseIp(a), parseIp(b)];
  return x !== undefined && y !== undefined && formatIp(x) === formatIp(y);
}
