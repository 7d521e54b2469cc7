export { asPathLength, prependAs } from './as-path.ts';
export { BgpError, CEASE, describeNotification, NOTIFY } from './errors.ts';
export { decodeMessage, encodeMessage, MessageStream, type SimpleMessage } from './message.ts';
export * from './types.ts';
export { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from './update.ts';
