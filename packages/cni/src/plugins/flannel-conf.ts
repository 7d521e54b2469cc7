import { formatPrefix, parseInterfaceAddress, parsePrefix, prefixOf } from '@weft/net';
import { field, isObject, type JsonObject, objectField, stringField } from '../spec/json.ts';
import { invalid } from './common/conf.ts';

/** What flanneld writes down of the node (`subnet.env`). */
export interface SubnetEnv {
  /** The networks of all nodes, one or more per family. */
  readonly networks: readonly string[];
  /** This node's subnets, IPv4 first. */
  readonly subnets: readonly string[];
  readonly mtu: number;
  /** flanneld masquerades by itself. */
  readonly ipMasq: boolean;
}

/** Reads `subnet.env`; `file` names it in errors. A missing variable is one error with all that are missing. */
export function parseSubnetEnv(text: string, file: string): SubnetEnv {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) values.set(line.slice(0, at).trim(), line.slice(at + 1).trim());
  }
  const prefixes = (key: string): readonly string[] => {
    const list = (values.get(key) ?? '').split(',').filter((item) => item !== '');
    return [...new Set(list.map((item) => network(item, `${file}: ${key}`)))];
  };
  const networks = [...prefixes('FLANNEL_NETWORK'), ...prefixes('FLANNEL_IPV6_NETWORK')];
  const subnets = [...prefixes('FLANNEL_SUBNET'), ...prefixes('FLANNEL_IPV6_SUBNET')];
  const missing: string[] = [];
  if (networks.length === 0) missing.push('FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK');
  if (subnets.length === 0) missing.push('FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET');
  for (const key of ['FLANNEL_MTU', 'FLANNEL_IPMASQ']) if (!values.has(key)) missing.push(key);
  if (missing.length > 0) throw invalid(`${file} is missing ${missing.join(', ')}`);
  const mtu = Number(values.get('FLANNEL_MTU'));
  if (!Number.isInteger(mtu) || mtu < 0 || mtu > 65_535) {
    throw invalid(`${file}: FLANNEL_MTU: not an MTU: ${values.get('FLANNEL_MTU')}`);
  }
  return { networks, subnets, mtu, ipMasq: values.get('FLANNEL_IPMASQ') === 'true' };
}

/** The network of `10.1.1.1/24`: flanneld writes the gateway's address there. */
function network(text: string, where: string): string {
  const parsed = parseInterfaceAddress(text) ?? undefined;
  if (parsed !== undefined) return formatPrefix(prefixOf(parsed.ip, parsed.length));
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw invalid(`${where}: not a subnet: ${JSON.stringify(text)}`);
  return formatPrefix(prefix);
}

/**
 * The configuration that the delegate gets. What `delegate` says stays; `type`, `ipMasq`, `mtu` and a bridge's
 * `isGateway` are filled in, name, version and addresses are set. Pure.
 */
export function delegateConf(config: JsonObject, delegate: JsonObject, env: SubnetEnv): JsonObject {
  const has = (name: string): boolean => field(delegate, name) !== undefined;
  const type = stringField(delegate, 'type', 'delegate.type') || 'bridge';
  const runtimeConfig = objectField(config, 'runtimeConfig');
  const version = stringField(config, 'cniVersion');
  const ipam = objectField(config, 'ipam') ?? {};
  const routes = field(ipam, 'routes');
  return {
    ...delegate,
    type,
    name: stringField(config, 'name'),
    ...(version ? { cniVersion: version } : {}),
    ...(has('ipMasq') ? {} : { ipMasq: !env.ipMasq }),
    ...(has('mtu') ? {} : { mtu: env.mtu }),
    ...(type === 'bridge' && !has('isGateway') ? { isGateway: true } : {}),
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ipam: {
      ...Object.fromEntries(Object.entries(ipam).filter(([key]) => !['ranges', 'routes'].includes(key.toLowerCase()))),
      ...(field(ipam, 'type') === undefined ? { type: 'host-local' } : {}),
      ranges: env.subnets.map((subnet) => [{ subnet }]),
      routes: [...(Array.isArray(routes) ? routes.filter(isObject) : []), ...env.networks.map((dst) => ({ dst }))],
    },
  };
}
