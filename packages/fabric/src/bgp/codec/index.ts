export { BgpError } from './errors.ts';
export { decodeMessage, encodeMessage, MessageStream } from './message.ts';
export * from './types.ts';
export { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from './update.ts';
