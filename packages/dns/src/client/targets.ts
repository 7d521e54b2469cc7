import { parseIp } from '@weft/net';
import type { Target } from './channel.ts';

/** A server as `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT` spell it. Undefined when the text is none of them. */
export function targetOf(text: string, defaultPort = 53): Target | undefined {
  const bracketed = /^\[([^\]]+)\](?::([0-9]+))?$/.exec(text);
  const plain = /^([0-9.]+):([0-9]+)$/.exec(text);
  const host = bracketed?.[1] ?? plain?.[1] ?? text;
  const port = Number(bracketed?.[2] ?? plain?.[2] ?? defaultPort);
  if (parseIp(host.split('%')[0] as string) === undefined || port < 1 || port > 65535) return undefined;
  return { host, port };
}
