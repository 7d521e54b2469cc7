import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniRuntime, type CniResult, parseNetworkList, type RuntimeAttachment } from '../../src/index.ts';
import { type Bed, ipj, sh } from './bed.ts';

const REFERENCE = '/usr/lib/cni';

/** True when Debian's containernetworking-plugins are here. */
export const haveReference = existsSync(join(REFERENCE, 'bridge'));

type Json = Record<string, unknown>;

/** A list of plugins, ready to run. */
export function network(name: string, plugins: readonly Json[], cniVersion = '1.0.0') {
  return parseNetworkList(JSON.stringify({ cniVersion, name, plugins }), '');
}

/** Our runtime with the reference plugins, each made to run in the node's namespace. */
export function referenceRuntime(bed: Bed, names: readonly string[]): CniRuntime {
  const dir = join(bed.dir, 'reference');
  mkdirSync(dir, { recursive: true });
  for (const name of names) {
    const file = join(dir, name);
    writeFileSync(file, `#!/bin/sh\nexec nsenter --net=${join(bed.dir, 'node')} ${REFERENCE}/${name}\n`);
    chmodSync(file, 0o755);
  }
  return new CniRuntime({
    confDir: join(bed.dir, 'net.d'),
    binDirs: [dir],
    cacheDir: join(bed.dir, 'reference-cache'),
  });
}

/** What ADD left in a sandbox and what it answered, without what differs from run to run. */
export interface Outcome {
  readonly result: CniResult;
  readonly link: Json;
  readonly addresses: readonly unknown[];
  readonly routes: readonly unknown[];
  readonly rules: readonly unknown[];
}

/** Looks at a sandbox after ADD. `mac` stays in the outcome when it was asked for. */
export function look(
  pod: { readonly netns: string; readonly ifname: string },
  result: CniResult,
  mac = false,
): Outcome {
  const { netns, ifname } = pod;
  const [link = {}] = ipj(netns, '-d', 'link', 'show', ifname);
  const [addr = {}] = ipj(netns, 'addr', 'show', ifname);
  const global = ((addr['addr_info'] ?? []) as Json[]).filter((a) => a['scope'] !== 'link');
  const routes = [...ipj(netns, 'route', 'show', 'table', 'all'), ...ipj(netns, '-6', 'route', 'show', 'table', 'all')];
  return {
    result: {
      ...result,
      interfaces: (result.interfaces ?? []).map((i) => ({
        name: i.name,
        ...(i.mac === undefined ? {} : { mac: mac ? i.mac : 'some' }),
        ...(i.sandbox === undefined ? {} : { sandbox: i.sandbox === netns ? 'its own' : 'another' }),
      })),
    },
    link: {
      mtu: link['mtu'],
      flags: link['flags'],
      kind: link['linkinfo'],
      ...(mac ? { mac: link['address'] } : {}),
    },
    addresses: global.map((a) => [a['family'], a['local'], a['prefixlen'], a['scope'], a['broadcast']]),
    routes: routes
      // Link-local and multicast routes come with IPv6 on any interface, now or a little later.
      .filter((r) => !/^(fe80|ff00|multicast)/.test(String(r['dst'])) && r['type'] !== 'multicast')
      .map((r) => [r['type'], r['dst'], r['gateway'], r['dev'], r['table'], r['scope'], r['prefsrc']].join(' '))
      .sort(),
    rules: [...ipj(netns, 'rule'), ...ipj(netns, '-6', 'rule')],
  };
}

/** A sysctl of a sandbox. */
export function sysctl(netns: string, key: string): string {
  return sh(netns, 'sysctl', '-n', key).trim();
}

/** The attachment of a new pod, with capability arguments. */
export function podWith(bed: Bed, capabilityArgs: Json = {}): RuntimeAttachment {
  return { ...bed.pod(), capabilityArgs };
}
