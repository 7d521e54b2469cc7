import { andThen, failure, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { nameFromText, nameKey, nameToText, type Query, RCODE, type Rr, TYPE } from '../../wire/index.ts';
import { changeRecord, readRule, type ResponseChange } from './rules.ts';

function changed(reply: Reply, changes: readonly ResponseChange[], asked: Query, original: Query): Reply {
  let { rcode } = reply;
  const section = (records: readonly Rr[]): readonly Rr[] =>
    records.map((rr) => {
      // An absent owner is the name of the question, which is the client's own again.
      let out = rr.name === undefined && asked.key !== original.key ? { ...rr, name: asked.qname } : rr;
      for (const change of changes) out = changeRecord(out, change, asked.qname);
      // The client's own name is written as the client has written it.
      return out.name !== undefined && nameKey(out.name) === original.key ? { ...out, name: undefined } : out;
    });
  for (const { rcode: change } of changes) if (change !== undefined && change.from === rcode) rcode = change.to;
  return {
    ...reply,
    rcode,
    ...(reply.ttl === undefined || !changes.some((c) => c.ttl !== undefined) ? {} : { ttl: undefined }),
    answers: section(reply.ttl === undefined ? reply.answers : aged(reply.answers, reply.ttl)),
    authority: section(reply.ttl === undefined ? reply.authority : aged(reply.authority, reply.ttl)),
    additional: section(reply.ttl === undefined ? reply.additional : aged(reply.additional, reply.ttl)),
  };
}

function answersOf({ answers, ttl }: Reply): readonly Rr[] {
  return ttl === undefined ? answers : aged(answers, ttl);
}

/**
 * An answer in which the first alias with such a target leads elsewhere: what the server itself says about the new target is in
 * the place of all records behind it.
 */
function retargeted(
  reply: Reply,
  alias: (target: string) => string | undefined,
  request: Request,
  lookup: SetupContext['lookup'],
): Reply | Promise<Reply> {
  const before: Rr[] = [];
  for (const rr of answersOf(reply)) {
    if (rr.type !== TYPE.CNAME) continue;
    const to = alias(nameToText(rr.rdata).toLowerCase());
    if (to === undefined) {
      before.push(rr);
      continue;
    }
    let target: Uint8Array;
    try {
      target = nameFromText(to.endsWith('.') ? to : `${to}.`);
    } catch {
      return reply;
    }
    return Promise.resolve(lookup(target, request.query.type, request)).then((outcome) => {
      const found = outcome.kind === 'reply' ? outcome.answers : [];
      const more = found.map((record) => ({ ...record, name: record.name ?? target }));
      return { ...reply, ttl: undefined, answers: [...before, { ...rr, rdata: target }, ...more] };
    });
  }
  return reply;
}

const aged = (records: readonly Rr[], ttl: number): readonly Rr[] => records.map((rr) => ({ ...rr, ttl }));

/** Changes questions before the other plugins see them, and their answers on the way back. */
export const rewrite: Plugin = {
  name: 'rewrite',
  once: false,
  setup(directives, { lookup }) {
    // A rule is a line, or every line of a block.
    const rules = directives.flatMap((directive) =>
      directive.block === undefined
        ? [readRule(directive.args)]
        : directive.block.map((line) => readRule([...directive.args, line.name, ...line.args])),
    );
    const handler: Handler = {
      name: 'rewrite',
      serve(request, next) {
        let { query } = request;
        const responses: ResponseChange[][] = [];
        for (const rule of rules) {
          let result: ReturnType<typeof rule.apply>;
          try {
            result = rule.apply(request, query);
          } catch (error) {
            return failure(
              'rewrite',
              RCODE.SERVFAIL,
              new Error(`invalid name after rewrite: ${(error as Error).message}`),
            );
          }
          if (result === undefined) continue;
          query = result.query;
          responses.push([...(result.response ?? [])]);
          if (rule.mode === 'stop') break;
        }
        if (responses.length === 0) return next(request);
        const inner = query === request.query ? request : request.asking(query);
        // What was changed last is changed back first.
        const changes = responses.reverse().flat();
        return andThen(next(inner), (outcome) => {
          if (outcome.kind !== 'reply') return outcome;
          const reply = changed(outcome, changes, query, request.query);
          const alias = changes.find((change) => change.alias !== undefined)?.alias;
          return alias === undefined ? reply : retargeted(reply, alias, request, lookup);
        });
      },
    };
    return handler;
  },
};
