import { hostname } from 'node:os';
import { andThen, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { concat, type Query } from '../../wire/index.ts';

const NSID = 3;
/** Options that an answer repeats besides: EXPIRE, COOKIE, TCP-KEEPALIVE, PADDING. */
const ECHOED = new Set([9, 10, 11, 12]);

/** Options of a query as code and whole text. */
function* optionsOf(options: Uint8Array): Generator<{ code: number; bytes: Uint8Array }> {
  for (let at = 0; at + 4 <= options.length; ) {
    const end = at + 4 + (((options[at + 2] as number) << 8) | (options[at + 3] as number));
    yield { code: ((options[at] as number) << 8) | (options[at + 1] as number), bytes: options.subarray(at, end) };
    at = end;
  }
}

/** Says which server answers, to clients that ask for it (RFC 5001). */
export const nsid: Plugin = {
  name: 'nsid',
  once: true,
  setup(directives) {
    const [directive] = directives;
    const text = (directive?.args ?? []).map((token) => token.text).join(' ');
    const id = Buffer.from(text === '' ? hostname() : text, 'utf8');
    const own = concat([Uint8Array.of(0, NSID, id.length >> 8, id.length & 0xff), id]);
    const say = ({ edns }: Query, reply: Reply): Reply => {
      if (edns === undefined || edns.options.length === 0) return reply;
      const asked = [...optionsOf(edns.options)];
      if (!asked.some(({ code }) => code === NSID)) return reply;
      const rest = asked.filter(({ code }) => ECHOED.has(code)).map(({ bytes }) => bytes);
      return { ...reply, options: concat([own, ...rest]) };
    };
    const handler: Handler = {
      name: 'nsid',
      adjust: say,
      serve: (request, next) =>
        andThen(next(request), (outcome) => (outcome.kind === 'reply' ? say(request.query, outcome) : outcome)),
    };
    return handler;
  },
};
