import { messages, type NlMessage, NlWriter } from '../src/netlink/wire.ts';

/** The message that `body` writes, as a receiver sees it. */
export function message(body: (w: NlWriter) => void, type = 1, flags = 0): NlMessage {
  const w = new NlWriter(64);
  w.begin(type, flags);
  body(w);
  w.end();
  const [m, ...more] = [...messages(w.bytes, w.pos)];
  if (m === undefined || more.length > 0) throw new Error('expected one message');
  return m;
}
