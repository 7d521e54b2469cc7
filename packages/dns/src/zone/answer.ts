import { andThen, authoritative, failure, type Outcome, type Reply } from '../server/handler.ts';
import type { Request } from '../server/request.ts';
import { labelOffsets, nameKey, RCODE, type Rr, TYPE } from '../wire/index.ts';
import type { Zone } from './zone.ts';

/** How many aliases of a chain are followed. */
const MAX_ALIASES = 8;

type Lookup = (name: Uint8Array, type: number, request: Request) => Outcome | Promise<Outcome>;

/**
 * The answer of a zone to a request whose name is in it. Aliases are followed in the zone, and outside of it by asking
 * the server itself.
 */
export function answerFromZone(by: string, zone: Zone, request: Request, lookup: Lookup): Outcome | Promise<Outcome> {
  const { query } = request;
  const { type } = query;
  if (type === TYPE.AXFR || type === TYPE.IXFR) return failure(by, RCODE.REFUSED);
  const answers: Rr[] = [];
  let name = query.qname;
  for (let aliases = 0; ; aliases++) {
    const found = zone.lookup(name, type, request.do);
    const owner = name;
    answers.push(...found.answers.map((rr) => (aliases === 0 || rr.name !== undefined ? rr : { ...rr, name: owner })));
    const { target } = found;
    if (found.tooLong === true) return reply(by, 6, answers, found.authority, []);
    if (found.kind === 'delegation') {
      const referral = reply(by, RCODE.NOERROR, answers, found.authority, found.additional);
      return aliases === 0 ? { ...referral, flags: 0 } : referral;
    }
    if (target === undefined || aliases >= MAX_ALIASES) {
      const rcode = found.kind === 'nxdomain' ? RCODE.NXDOMAIN : RCODE.NOERROR;
      return reply(by, rcode, answers, found.authority, found.additional);
    }
    if (!inZone(zone, target)) {
      return andThen(lookup(target, type, request), (outcome) => {
        const more = outcome.kind === 'reply' ? outcome.answers.map((rr) => ({ ...rr, name: rr.name ?? target })) : [];
        const rcode = outcome.kind === 'reply' && outcome.rcode === RCODE.NXDOMAIN ? RCODE.NXDOMAIN : RCODE.NOERROR;
        return reply(by, rcode, [...answers, ...more], found.authority, []);
      });
    }
    name = target;
  }
}

function reply(
  by: string,
  rcode: number,
  answers: readonly Rr[],
  authority: readonly Rr[],
  additional: readonly Rr[],
): Reply {
  return authoritative(by, { rcode, answers, authority, additional, own: true });
}

function inZone(zone: Zone, name: Uint8Array): boolean {
  const key = nameKey(name);
  const at = key.length - zone.origin.length;
  return key.endsWith(zone.origin) && (at === key.length - 1 || labelOffsets(key).includes(at));
}
