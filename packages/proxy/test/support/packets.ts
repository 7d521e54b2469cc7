import type { EndpointSlice, Service } from '@weft/kube';
import type { Target, World } from './oracle.ts';
import { type Event, NODE } from './worlds.ts';

export const NODE_ADDRESS = '192.168.0.1';

/** The world that a history leaves. */
export function worldOf(history: readonly Event[]): World {
  const services = new Map<string, Service>();
  const slices = new Map<string, EndpointSlice>();
  for (const event of history) {
    const map = (event.kind === 'service' ? services : slices) as Map<string, unknown>;
    if (event.object === undefined) map.delete(event.name);
    else map.set(event.name, event.object);
  }
  return { services: [...services.values()], slices: [...slices.values()], node: NODE, nodeAddress: NODE_ADDRESS };
}

/** Every frontend of a world, and an address of the Service block that nobody has. */
export function targets(world: World): Target[] {
  const out: Target[] = [{ address: '10.96.0.250', port: 80, protocol: 'TCP' }];
  for (const { spec, status } of world.services) {
    const addresses = [
      spec.clusterIP ?? '',
      ...(spec.externalIPs ?? []),
      ...(status?.loadBalancer?.ingress ?? []).map((i) => i.ip ?? ''),
    ];
    for (const port of spec.ports ?? []) {
      const protocol = (port.protocol ?? 'TCP') as 'TCP';
      for (const address of addresses) out.push({ address, port: port.port, protocol });
      if (port.nodePort !== undefined) out.push({ address: NODE_ADDRESS, port: port.nodePort, protocol });
    }
  }
  return out;
}
