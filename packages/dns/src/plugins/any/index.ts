import { argumentError } from '../../corefile/error.ts';
import { bareReply, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { type Query, RCODE, rdata, record, TYPE } from '../../wire/index.ts';

const TTL = 8482;
const RECORD = record(undefined, TYPE.HINFO, TTL, rdata.txt('ANY obsoleted', 'See RFC 8482'));

/** Answers ANY with one small record (RFC 8482 section 4.2): nobody is flooded by way of this server. */
export const any: Plugin = {
  name: 'any',
  once: false,
  setup(directives) {
    const extra = directives[0]?.args[0] ?? directives[0]?.block?.[0]?.name;
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const reply: Reply = { ...bareReply(RCODE.NOERROR, 'any'), answers: [RECORD], own: true };
    const handler: Handler = {
      name: 'any',
      steady: true,
      adjust: (query: Query, later: Reply) => (query.type === TYPE.ANY ? reply : later),
      serve: (request, next) => (request.query.type === TYPE.ANY ? reply : next(request)),
    };
    return handler;
  },
};
