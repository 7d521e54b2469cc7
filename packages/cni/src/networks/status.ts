import type { CniResult } from '../spec/types.ts';

/** One entry of annotation `k8s.v1.cni.cncf.io/network-status` (Multi-network specification, 5.1). */
export interface NetworkStatus {
  /** `NAMESPACE/NAME` of the definition, or the network's own name. */
  readonly name: string;
  readonly interface?: string;
  /** Without prefix length. */
  readonly ips?: readonly string[];
  readonly mac?: string;
  readonly mtu?: number;
  readonly default?: true;
  readonly dns: {
    readonly nameservers?: readonly string[];
    readonly domain?: string;
    readonly search?: readonly string[];
  };
  /** Gateways of the pod's default routes that go through this network. */
  readonly gateway?: readonly string[];
  readonly 'device-info'?: {
    readonly type: 'pci';
    readonly version: string;
    readonly pci: { readonly 'pci-address': string };
  };
}

const PCI = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
const ANYWHERE: ReadonlySet<string> = new Set(['0.0.0.0/0', '::/0']);

/** Gateways of the default routes of a result. A route without one has that of an address of its family. */
function defaultGateways(result: CniResult): readonly string[] {
  return (result.routes ?? []).flatMap((route) => {
    if (!ANYWHERE.has(route.dst)) return [];
    const v6 = route.dst.includes(':');
    const gateway = route.gw ?? result.ips?.find((ip) => ip.address.includes(':') === v6)?.gateway;
    return gateway === undefined ? [] : [gateway];
  });
}

/** What the pod's annotation says of one of its networks (pure). */
export function networkStatus(
  name: string,
  result: CniResult,
  about: { readonly primary: boolean; readonly deviceId?: string | undefined },
): NetworkStatus {
  // The last one is the one that the container uses: plugins append.
  const device = result.interfaces?.filter((i) => (i.sandbox ?? '') !== '').at(-1);
  const ips = (result.ips ?? []).map((ip) => ip.address.replace(/\/\d+$/, ''));
  const gateway = defaultGateways(result);
  const { deviceId } = about;
  return {
    name,
    ...(device === undefined ? {} : { interface: device.name }),
    ...(ips.length === 0 ? {} : { ips }),
    ...(device?.mac === undefined ? {} : { mac: device.mac }),
    ...(device?.mtu === undefined ? {} : { mtu: device.mtu }),
    ...(about.primary ? { default: true as const } : {}),
    dns: result.dns ?? {},
    ...(gateway.length === 0 ? {} : { gateway }),
    ...(deviceId !== undefined && PCI.test(deviceId)
      ? { 'device-info': { type: 'pci' as const, version: '1.1.0', pci: { 'pci-address': deviceId } } }
      : {}),
  };
}
