import { readFileSync } from 'node:fs';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { andThen, type Handler, type Outcome, type Reply, type Serve } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { Request } from '../../server/request.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { CLASS, concat, labelOffsets, nameFromText, nameKey, RCODE, type Rr, TYPE } from '../../wire/index.ts';

/** The search path of a client in wire form, the root last. */
type SearchPath = (request: Request) => readonly Uint8Array[] | undefined;

const ROOT = Uint8Array.of(0);

function pathOf(domains: readonly string[]): Uint8Array[] {
  return [...domains.filter((domain) => domain !== '.').map(nameFromText), ROOT];
}

/** Walks a client's search path for it: one query instead of one for every domain. */
export const autopath: Plugin = {
  name: 'autopath',
  once: true,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const source = directive.args.at(-1);
    if (source === undefined) throw argumentError(directive.name, 'autopath');
    const named = directive.args.slice(0, -1).flatMap((token) => zonesFromArgument(token));
    const zones = new ZoneSet(named.length > 0 ? named : context.block.zones);
    const done = context.runtime.metrics.counter(
      'coredns_autopath_success_total',
      'Counter of requests that did autopath.',
      ['server'],
    );
    let pathFor: SearchPath = () => undefined;
    if (!source.text.startsWith('@')) {
      let text: string;
      try {
        text = readFileSync(source.text, 'utf8');
      } catch (error) {
        throw parsingError(source, `failed to parse "${source.text}": ${(error as Error).message}`);
      }
      const search = /^search\s+(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/) ?? [];
      const path = pathOf(search);
      pathFor = () => path;
    }
    const handler: Handler = {
      name: 'autopath',
      linked(later) {
        if (!source.text.startsWith('@')) return;
        const provider = later.find(({ name }) => name === source.text.slice(1));
        if (provider?.searchPath === undefined) {
          throw parsingError(source, `no plugin of this block gives search paths: ${source.text}`, 'use @kubernetes');
        }
        pathFor = (request) => {
          const domains = provider.searchPath?.(request);
          return domains === undefined ? undefined : pathOf(domains);
        };
      },
      serve(request, next) {
        const { key, labels } = request.query;
        if (!zones.has(key, labels)) return next(request);
        const path = pathFor(request);
        const first = path?.[0];
        if (path === undefined || first === undefined || first.length === 1) return next(request);
        // Only a name that the client has made with the first domain of its path is to be looked for in the others.
        const at = key.length - first.length;
        if (at <= 0 || !labels.includes(at) || !key.endsWith(nameKey(first))) return next(request);
        const base = request.query.qname.subarray(0, at);
        return walk(request, next, base, path, () => {
          done.cell(request.served.server).value += 1;
        });
      },
    };
    return handler;
  },
};

function walk(
  request: Request,
  next: Serve,
  base: Uint8Array,
  path: readonly Uint8Array[],
  found: () => void,
): Outcome | Promise<Outcome> {
  let first: Outcome | undefined;
  const at = (i: number): Outcome | Promise<Outcome> => {
    const domain = path[i];
    if (domain === undefined) return first as Outcome;
    const name = concat([base, domain]);
    if (name.length > 255) return at(i + 1);
    const key = nameKey(name);
    const query = { ...request.query, qname: name, key, labels: labelOffsets(key) };
    return andThen(next(i === 0 ? request : request.asking(query)), (outcome) => {
      first ??= outcome;
      if (outcome.kind === 'failure' || outcome.rcode === RCODE.NXDOMAIN) return at(i + 1);
      found();
      return i === 0 ? outcome : aliased(outcome, name);
    });
  };
  return at(0);
}

/** The answer for another name, reached by an alias from the name that was asked. */
function aliased(reply: Reply, name: Uint8Array): Reply {
  const own = (rr: Rr): Rr => (rr.name === undefined ? { ...rr, name } : rr);
  const rest = { authority: reply.authority.map(own), additional: reply.additional.map(own) };
  const [first] = reply.answers;
  if (first === undefined) return { ...reply, ...rest };
  const alias: Rr = {
    name: undefined,
    type: TYPE.CNAME,
    class: CLASS.IN,
    ttl: first.ttl,
    rdata: first.name ?? name,
  };
  return { ...reply, ...rest, answers: [alias, ...reply.answers.map(own)] };
}
