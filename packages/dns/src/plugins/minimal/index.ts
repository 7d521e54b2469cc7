import { argumentError } from '../../corefile/error.ts';
import { andThen, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { RCODE } from '../../wire/index.ts';

/** Leaves out what a client has not asked for: authority and additional records of answers that hold what was asked. */
export const minimal: Plugin = {
  name: 'minimal',
  once: true,
  setup(directives) {
    const extra = directives[0]?.args[0] ?? directives[0]?.block?.[0]?.name;
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const strip = (reply: Reply): Reply =>
      reply.rcode === RCODE.NOERROR && reply.answers.length > 0 && reply.authority.length + reply.additional.length > 0
        ? { ...reply, authority: [], additional: [] }
        : reply;
    const handler: Handler = {
      name: 'minimal',
      steady: true,
      adjust: (_query, reply) => strip(reply),
      serve: (request, next) =>
        andThen(next(request), (outcome) => (outcome.kind === 'reply' ? strip(outcome) : outcome)),
    };
    return handler;
  },
};
