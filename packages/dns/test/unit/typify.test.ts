import { expect, it } from 'vitest';
import { classify, typify } from '../../src/server/typify.ts';
import { OPCODE, rdata, RCODE, record, type Rr, TYPE } from '../../src/wire/index.ts';

const a: Rr = record(undefined, TYPE.A, 60, rdata.a(0x0a000001));
const soa: Rr = { ...a, type: TYPE.SOA };
const ns: Rr = { ...a, type: TYPE.NS };

it.each<[string, number, readonly Rr[], readonly Rr[], number, number, string]>([
  ['an answer', RCODE.NOERROR, [a], [], TYPE.A, OPCODE.QUERY, 'NOERROR success'],
  ['an empty answer', RCODE.NOERROR, [], [], TYPE.A, OPCODE.QUERY, 'NOERROR success'],
  ['no such type', RCODE.NOERROR, [], [soa], TYPE.A, OPCODE.QUERY, 'NODATA denial'],
  ['a referral', RCODE.NOERROR, [], [ns], TYPE.A, OPCODE.QUERY, 'DELEGATION success'],
  ['no such name', RCODE.NXDOMAIN, [], [soa], TYPE.A, OPCODE.QUERY, 'NXDOMAIN denial'],
  ['an alias to no such name', RCODE.NXDOMAIN, [a], [soa], TYPE.A, OPCODE.QUERY, 'OTHERERROR error'],
  ['a failure', RCODE.SERVFAIL, [], [], TYPE.A, OPCODE.QUERY, 'SERVERERROR error'],
  ['a refusal', RCODE.REFUSED, [], [], TYPE.A, OPCODE.QUERY, 'OTHERERROR error'],
  ['a transfer', RCODE.NOERROR, [soa], [], TYPE.AXFR, OPCODE.QUERY, 'META error'],
  ['a notification', RCODE.NOERROR, [], [], TYPE.SOA, OPCODE.NOTIFY, 'META error'],
])('%s', (_, rcode, answers, authority, type, opcode, expected) => {
  const kind = typify({ rcode, answers, authority }, type, opcode);
  expect(`${kind} ${classify(kind)}`).toBe(expected);
});
