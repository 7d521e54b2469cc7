import { readFileSync } from 'node:fs';
import { Resolver } from 'node:dns/promises';
import { parsingError } from '../../corefile/error.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { Target } from '../../client/channel.ts';
import { targetOf } from '../../client/targets.ts';

const PORTS: Readonly<Record<string, number>> = { dns: 53, tls: 853, https: 443 };

/** A server known by its name: its addresses are looked up when the server starts. */
export interface NamedTarget {
  readonly hostname: string;
  readonly token: Token;
  /** The servers, once there are addresses. */
  readonly at: (address: string) => Target;
}

function isTarget(target: Target | NamedTarget): target is Target {
  return 'host' in target;
}

/**
 * Servers that one TO of `forward` stands for: one address, those of a file like resolv.conf, or those that a name has.
 * `servername`: the block has a name for all certificates already.
 */
export function targetsOf(
  token: Token,
  method: 'GET' | 'POST' = 'POST',
  servername = false,
): readonly (Target | NamedTarget)[] {
  const scheme = /^([a-z0-9]+):\/\//.exec(token.text);
  const transport = scheme?.[1] ?? 'dns';
  const defaultPort = PORTS[transport];
  if (defaultPort === undefined) {
    throw parsingError(
      token,
      `only dns, tls and https transports are served: ${token.text}`,
      'use tls://, https:// or a plain address',
    );
  }
  const rest = token.text.slice(scheme?.[0].length ?? 0);
  const { address, name } = transport === 'dns' ? { address: rest, name: undefined } : splitName(rest);
  if (name !== undefined && servername) {
    throw parsingError(token, `both forward ('tls_servername') and proxy level servername specified: "${token.text}"`);
  }
  const over = (target: Target): Target => {
    if (transport === 'dns') return target;
    const tls = name === undefined ? {} : { servername: name };
    return transport === 'tls' ? { ...target, tls } : { ...target, tls, doh: { method } };
  };
  const direct = targetOf(address, defaultPort);
  if (direct !== undefined) return [over(direct)];
  const servers = fromFile(token, address);
  if (servers !== undefined) return servers.map((server) => over({ ...server, port: defaultPort }));
  const named =
    /^((?=.*[a-z])[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*\.?)(?::(\d+))?$/i.exec(
      address,
    );
  const port = Number(named?.[2] ?? defaultPort);
  if (named === null || port < 1 || port > 65535) throw parsingError(token, `not an IP address or file: "${address}"`);
  return [{ hostname: named[1] as string, token, at: (host) => over({ host, port }) }];
}

/** `9.9.9.9%dns.quad9.net:10853` names the certificate before the port. */
function splitName(text: string): { address: string; name: string | undefined } {
  const at = text.lastIndexOf('%');
  if (at < 0) return { address: text, name: undefined };
  const [name = '', port] = text.slice(at + 1).split(':');
  const host = text.slice(0, at);
  if (port === undefined) return { address: host, name };
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return { address: `${bare.includes(':') ? `[${bare}]` : bare}:${port}`, name };
}

/** Addresses of servers that are known by name, as these resolvers (`IP` or `IP:PORT`; default the system's) know them. */
export async function resolveTargets(
  targets: readonly (Target | NamedTarget)[],
  resolvers: readonly string[],
): Promise<Target[]> {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  if (resolvers.length > 0) resolver.setServers(resolvers);
  const out: Target[] = [];
  for (const target of targets) {
    if (isTarget(target)) {
      out.push(target);
      continue;
    }
    const found = await Promise.allSettled([resolver.resolve4(target.hostname), resolver.resolve6(target.hostname)]);
    const addresses = found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    if (addresses.length === 0) {
      const [first] = found;
      const why = first.status === 'rejected' ? (first.reason as Error).message : 'no addresses';
      throw parsingError(
        target.token,
        `failed to resolve hostname "${target.hostname}": ${why}`,
        'give its address, or a resolver that knows it',
      );
    }
    out.push(...addresses.map((address) => target.at(address)));
  }
  return out;
}

/** True when all servers are known by address. */
export function allTargets(targets: readonly (Target | NamedTarget)[]): targets is readonly Target[] {
  return targets.every(isTarget);
}

/** Undefined when there is no such file. */
function fromFile(token: Token, path: string): Target[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
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
