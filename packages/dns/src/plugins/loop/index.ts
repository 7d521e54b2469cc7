import { randomBytes } from 'node:crypto';
import { parsingError } from '../../corefile/error.ts';
import { WeftError } from '@weft/plan';
import { UdpChannel } from '../../client/channel.ts';
import { failure, type Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { encodeQuery, FLAG, keyFromText, nameFromText, RCODE, TYPE } from '../../wire/index.ts';

const ATTEMPT_MS = 1000;
const ATTEMPTS = 5;
/** How long a query may take to come back; after that the answer is that it does not. */
const WATCH_MS = 2000;

/** Sends one query with a random name to the server itself and stops the server when it comes back. */
export const loop: Plugin = {
  name: 'loop',
  once: true,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const extra = directive.args[0] ?? directive.block?.[0]?.name;
    if (extra !== undefined)
      throw parsingError(extra, `Wrong argument count or unexpected line ending after '${extra.text}'`);
    const zone = context.block.zones[0] ?? '.';
    const random = (): string => String(BigInt(`0x${randomBytes(8).toString('hex')}`));
    const name = `${random()}.${random()}.${zone === '.' ? '' : zone}`;
    const key = keyFromText(name);
    const { runtime } = context;
    let seen = 0;
    let watching = true;
    const stop = new AbortController();

    context.onListening(() => void probe());
    context.onStop(() => stop.abort());

    async function probe(): Promise<void> {
      const self = context.selfAddress();
      for (let attempt = 0; self !== undefined && attempt < ATTEMPTS && !stop.signal.aborted; attempt++) {
        const channel = new UdpChannel(self);
        try {
          const query = { id: 0, flags: FLAG.RD, name: nameFromText(name), type: TYPE.HINFO, class: 1 };
          await channel.exchange(encodeQuery(query), ATTEMPT_MS);
          break;
        } catch {
          // An upstream that does not answer is no loop. The next attempt starts counting anew.
          if (watching) seen = 0;
        } finally {
          channel.close();
        }
      }
      if (stop.signal.aborted) return;
      setTimeout(() => {
        watching = false;
      }, WATCH_MS).unref();
    }

    const handler: Handler = {
      name: 'loop',
      transparent: true,
      serve: (request, next) => {
        const { query, context: from } = request;
        if (!watching || query.type !== TYPE.HINFO || query.key !== key) return next(request);
        seen += 1;
        if (seen <= 2) return next(request);
        watching = false;
        const self = context.selfAddress();
        const error = new WeftError({
          code: 'DNS_LOOP',
          message:
            `plugin/loop: Loop (${from.remoteAddress}:${from.remotePort} -> ${self?.host}:${self?.port}) detected for ` +
            `zone "${zone}". Query: "HINFO ${name}"`,
          hint: 'an upstream of `forward` leads back to this server: /etc/resolv.conf of the node names a local stub',
        });
        runtime.fatal(error);
        return failure('loop', RCODE.SERVFAIL, error);
      },
    };
    return handler;
  },
};
