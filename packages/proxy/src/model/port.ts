import type { Family } from '@weft/net';
import { addressWidth, flat, type Packed } from './packed.ts';
import type { Frontend, FrontendKind, Protocol, ServicePort, TrafficPolicy } from './types.ts';

/** What many service ports of a cluster have in common; equal ones are one object. */
export interface PortSettings {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly portName: string;
  readonly internal: TrafficPolicy;
  readonly external: TrafficPolicy;
  readonly affinitySeconds: number;
}

/** A frontend before it is packed; `index` is that of its field in the Service. */
export interface FrontendInit {
  readonly kind: FrontendKind;
  readonly key: Packed;
  readonly index: number;
}

const KINDS: readonly FrontendKind[] = ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancerIP'];
const settings = new Map<string, PortSettings>();

function shared(init: PortSettings): PortSettings {
  const key = `${init.family}${init.protocol}${init.internal}${init.external}${init.affinitySeconds} ${init.portName}`;
  const known = settings.get(key);
  if (known !== undefined) return known;
  if (settings.size < 1024) settings.set(key, init);
  return init;
}

function fieldOf(kind: FrontendKind, index: number): string {
  switch (kind) {
    case 'ClusterIP':
      return `spec.clusterIPs[${index}]`;
    case 'NodePort':
      return `spec.ports[${index}].nodePort`;
    case 'ExternalIP':
      return `spec.externalIPs[${index}]`;
    case 'LoadBalancerIP':
      return `status.loadBalancer.ingress[${index}].ip`;
  }
}

export type PortInit = Omit<ServicePort, 'type' | 'frontends' | 'portName' | 'protocol' | keyof PortSettings> & {
  readonly settings: PortSettings;
  readonly frontends: readonly FrontendInit[];
};

/** A service port in a third of the memory that its plain form would take. */
export class PackedPort implements ServicePort {
  readonly service: string;
  readonly settings: PortSettings;
  /** Per frontend: kind, index of its field, key. */
  readonly packedFrontends: Packed;
  readonly hasEndpoints: boolean;
  readonly cluster: Packed;
  readonly local: Packed;
  readonly draining: Packed;
  readonly hairpin: Packed;
  readonly sourceRanges: readonly string[];
  readonly healthCheckNodePort: number;
  readonly localReady: number;

  constructor(init: PortInit) {
    this.service = init.service;
    this.settings = shared(init.settings);
    this.packedFrontends = flat(
      init.frontends.map((f) => String.fromCharCode(KINDS.indexOf(f.kind), f.index & 0xff) + f.key).join(''),
    );
    this.hasEndpoints = init.hasEndpoints;
    this.cluster = init.cluster;
    this.local = init.local;
    this.draining = init.draining;
    this.hairpin = init.hairpin;
    this.sourceRanges = init.sourceRanges;
    this.healthCheckNodePort = init.healthCheckNodePort;
    this.localReady = init.localReady;
  }

  get type(): 'ServicePort' {
    return 'ServicePort';
  }

  get family(): Family {
    return this.settings.family;
  }

  get protocol(): Protocol {
    return this.settings.protocol;
  }

  get portName(): string {
    return this.settings.portName;
  }

  get internal(): TrafficPolicy {
    return this.settings.internal;
  }

  get external(): TrafficPolicy {
    return this.settings.external;
  }

  get affinitySeconds(): number {
    return this.settings.affinitySeconds;
  }

  get frontends(): readonly Frontend[] {
    const out: Frontend[] = [];
    const packed = this.packedFrontends;
    const full = addressWidth(this.settings.family) + 3;
    for (let at = 0; at < packed.length; ) {
      const kind = KINDS[packed.charCodeAt(at)] as FrontendKind;
      const index = packed.charCodeAt(at + 1);
      const end = at + 2 + (kind === 'NodePort' ? 3 : full);
      out.push({ kind, key: packed.slice(at + 2, end), field: fieldOf(kind, index) });
      at = end;
    }
    return out;
  }
}
