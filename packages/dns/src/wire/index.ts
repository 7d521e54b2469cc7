export * from './constants.ts';
export { copyReply, encodeReply, type Limits, type ReplyContent, replyBytes, writeReply } from './encode.ts';
export { decodeMessage, encodeQuery, type Message, type QuerySpec } from './message.ts';
export {
  keyFromText,
  keyToName,
  keyToText,
  labelKey,
  labelOffsets,
  type NameKey,
  nameFromText,
  nameKey,
  nameToText,
  ROOT,
  readName,
  WireError,
} from './name.ts';
export { type Edns, EDNS_DO, isRejected, parseQuery, type Query, type Rejected } from './query.ts';
export { concat, nameShape, type Rr, rdata, record, type Soa } from './rdata.ts';
