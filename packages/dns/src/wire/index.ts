export * from './constants.ts';
export { copyReply, encodeReply, type Limits, type ReplyContent, replyBytes, writeReply } from './encode.ts';
export { decodeMessage, encodeQuery, type Message } from './message.ts';
export {
  keyFromText,
  keyToText,
  labelKey,
  labelOffsets,
  type NameKey,
  nameFromText,
  nameKey,
  nameToText,
  readName,
  WireError,
} from './name.ts';
export { EDNS_DO, isRejected, parseQuery, type Query } from './query.ts';
export { concat, nameShape, rdata, record, type Rr, type Soa, soaOf } from './rdata.ts';
export {
  nameOf,
  recordFromText,
  recordFromWords,
  type RecordWord,
  recordWords,
  ttlOf,
} from './text.ts';
