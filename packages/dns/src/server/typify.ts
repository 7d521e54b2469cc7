import { OPCODE, RCODE, type Rr, TYPE } from '../wire/index.ts';

/** What kind of answer it is, in CoreDNS's words (plugin/pkg/response). */
export type AnswerType = 'NOERROR' | 'NXDOMAIN' | 'NODATA' | 'DELEGATION' | 'META' | 'SERVERERROR' | 'OTHERERROR';

/** Kinds of answers as `log` tells them apart. */
export type AnswerClass = 'success' | 'denial' | 'error';

interface AnyAnswer {
  readonly rcode: number;
  readonly answers: readonly Rr[];
  readonly authority: readonly Rr[];
}

/** The kind of an answer to a query of this type and opcode. Signatures are not looked at. */
export function typify({ rcode, answers, authority }: AnyAnswer, type: number, opcode: number): AnswerType {
  if (opcode === OPCODE.NOTIFY || type === TYPE.AXFR || type === TYPE.IXFR) return 'META';
  if (answers.length > 0 && rcode === RCODE.NOERROR) return 'NOERROR';
  if (answers.length > 0 && rcode === RCODE.NXDOMAIN) return 'OTHERERROR';
  const has = (wanted: number): boolean => authority.some((rr) => rr.type === wanted);
  if (rcode === RCODE.NOERROR) return has(TYPE.SOA) ? 'NODATA' : has(TYPE.NS) ? 'DELEGATION' : 'NOERROR';
  if (rcode === RCODE.NXDOMAIN) return 'NXDOMAIN';
  return rcode === RCODE.SERVFAIL || rcode === RCODE.NOTIMP ? 'SERVERERROR' : 'OTHERERROR';
}

export function classify(type: AnswerType): AnswerClass {
  if (type === 'NOERROR' || type === 'DELEGATION') return 'success';
  return type === 'NXDOMAIN' || type === 'NODATA' ? 'denial' : 'error';
}
