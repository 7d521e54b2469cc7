import { readFileSync } from 'node:fs';
import { parsingError } from '../../corefile/error.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { Target } from '../../client/channel.ts';
import { targetOf } from '../../client/targets.ts';

/** Servers that one TO of `forward` stands for: one address, or those of a file like resolv.conf. */
export function targetsOf(token: Token): Target[] {
  const scheme = /^([a-z0-9]+):\/\//.exec(token.text);
  const transport = scheme?.[1] ?? 'dns';
  if (transport !== 'dns' && transport !== 'tls') {
    throw parsingError(token, `only dns and tls transports are served: ${token.text}`, 'use tls:// or a plain address');
  }
  const text = token.text.slice(scheme?.[0].length ?? 0);
  const at = transport === 'tls' ? text.lastIndexOf('%') : -1;
  const serverName = at < 0 ? undefined : text.slice(at + 1);
  const address = targetOf(at < 0 ? text : text.slice(0, at), transport === 'tls' ? 853 : 53);
  if (address !== undefined) {
    return [
      transport === 'tls' ? { ...address, tls: serverName === undefined ? {} : { servername: serverName } } : address,
    ];
  }
  return fromFile(token, text).map((server) => (transport === 'tls' ? { ...server, port: 853, tls: {} } : server));
}

function fromFile(token: Token, path: string): Target[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw parsingError(token, `not an IP address or file: "${path}"`);
  }
  const servers: Target[] = [];
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] !== 'nameserver' || words[1] === undefined) continue;
    const target = targetOf(words[1], 53);
    if (target !== undefined) servers.push(target);
  }
  if (servers.length === 0)
    throw parsingError(token, `no nameservers in ${path}`, 'write the upstreams into the Corefile');
  return servers;
}
