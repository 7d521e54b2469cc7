import type { Family } from '@weft/net';
import type { Entry, Provenance } from '@weft/plan';
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
  /** Index in `spec.ports`. */
  readonly portIndex: number;
};

/** What few service ports have. */
type Rare = Pick<ServicePort, 'local' | 'draining' | 'hairpin' | 'sourceRanges' | 'healthCheckNodePort' | 'localReady'>;

const NOTHING_RARE: Rare = {
  local: '',
  draining: '',
  hairpin: '',
  sourceRanges: [],
  healthCheckNodePort: 0,
  localReady: 0,
};

function rareOf(init: Rare): Rare {
  const { local, draining, hairpin, sourceRanges, healthCheckNodePort, localReady } = init;
  const none = local === '' && draining === '' && hairpin === '' && sourceRanges.length === 0;
  if (none && healthCheckNodePort === 0 && localReady === 0) return NOTHING_RARE;
  return { local, draining, hairpin, sourceRanges, healthCheckNodePort, localReady };
}

/** A service port, and the plan's entry for it, in a quarter of the memory that their plain form would take. */
export class PackedPort implements ServicePort, Entry<ServicePort> {
  readonly service: string;
  readonly settings: PortSettings;
  /** Per frontend: kind, index of its field, key. */
  readonly packedFrontends: Packed;
  readonly cluster: Packed;
  readonly rare: Rare;
  /** Index in `spec.ports`, twice, and one more where there are endpoints. */
  readonly packedIndex: number;

  constructor(init: PortInit) {
    this.service = init.service;
    this.settings = shared(init.settings);
    this.packedFrontends = flat(
      init.frontends.map((f) => String.fromCharCode(KINDS.indexOf(f.kind), f.index & 0xff) + f.key).join(''),
    );
    this.cluster = init.cluster;
    this.rare = rareOf(init);
    this.packedIndex = init.portIndex * 2 + (init.hasEndpoints ? 1 : 0);
  }

  get value(): this {
    return this;
  }

  get cause(): Provenance {
    const slash = this.service.indexOf('/');
    return {
      kind: 'Service',
      namespace: this.service.slice(0, slash),
      name: this.service.slice(slash + 1),
      field: `spec.ports[${this.packedIndex >> 1}]`,
    };
  }

  get hasEndpoints(): boolean {
    return (this.packedIndex & 1) === 1;
  }

  get local(): Packed {
    return this.rare.local;
  }

  get draining(): Packed {
    return this.rare.draining;
  }

  get hairpin(): Packed {
    return this.rare.hairpin;
  }

  get sourceRanges(): readonly string[] {
    return this.rare.sourceRanges;
  }

  get healthCheckNodePort(): number {
    return this.rare.healthCheckNodePort;
  }

  get localReady(): number {
    return this.rare.localReady;
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
