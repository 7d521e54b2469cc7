import type {
  CustomResourceColumnDefinition,
  CustomResourceDefinition,
  JSONSchemaProps,
} from '../types/apiextensions.ts';
import { groupResource, type ResourceType } from '../resources.ts';
import { bgpResources } from './bgp-types.ts';
import { addressResources } from './types.ts';

type Schema = JSONSchemaProps;
type Properties = Record<string, Schema>;

const text = (description?: string): Schema => ({
  type: 'string',
  ...(description === undefined ? {} : { description }),
});
const flag = (description?: string): Schema => ({
  type: 'boolean',
  ...(description === undefined ? {} : { description }),
});
const list = (items: Schema): Schema => ({ type: 'array', items });
const integer: Schema = { type: 'integer' };
const mode: Schema = { type: 'string', enum: ['Never', 'Always', 'CrossSubnet', ''] };
const open: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } as Schema;

const POOL: Properties = {
  cidr: text('The pool CIDR.'),
  blockSize: { type: 'integer', description: 'Prefix length of the blocks that nodes get: 20 to 32, IPv6 116 to 128.' },
  nodeSelector: text('Nodes whose pods get addresses of this pool.'),
  namespaceSelector: text('Namespaces whose pods get addresses of this pool.'),
  disabled: flag('No new addresses of this pool are given out.'),
  disableBGPExport: flag(),
  allowedUses: list({ type: 'string', enum: ['Workload', 'Tunnel', 'LoadBalancer'] }),
  assignmentMode: {
    type: 'string',
    enum: ['Automatic', 'Manual'],
    description: 'Manual: only pods that name the pool.',
  },
  natOutgoing: flag('What pods send outside of all pools gets the address of their node.'),
  ipipMode: mode,
  vxlanMode: mode,
};
const OLD_POOL: Properties = {
  ...POOL,
  'nat-outgoing': flag(),
  ipip: { type: 'object', properties: { enabled: flag(), mode: text() } },
};
const RESERVATION: Properties = { reservedCIDRs: list(text()) };
const CONFIG: Properties = {
  strictAffinity: flag(),
  autoAllocateBlocks: flag(),
  maxBlocksPerHost: { type: 'integer', minimum: 0 },
  kubeVirtVMAddressPersistence: text(),
};
const AFFINITY: Properties = { cidr: text(), node: text(), state: text(), deleted: text(), type: text() };
const BLOCK: Properties = {
  cidr: text(),
  affinity: { type: 'string', nullable: true },
  affinityClaimTime: { type: 'string', format: 'date-time', nullable: true } as Schema,
  allocations: list({ type: 'integer', nullable: true }),
  attributes: list({
    type: 'object',
    properties: {
      handle_id: text(),
      secondary: { type: 'object', additionalProperties: { type: 'string' } },
    },
  }),
  unallocated: list(integer),
  strictAffinity: flag(),
  deleted: flag(),
  sequenceNumber: { type: 'integer', format: 'int64' },
  sequenceNumberForAllocation: { type: 'object', additionalProperties: { type: 'integer', format: 'int64' } },
};
const HANDLE: Properties = {
  handleID: text(),
  deleted: flag(),
  block: { type: 'object', additionalProperties: integer },
};
const LOAN: Properties = {
  address: text('An address in the range of another node.'),
  node: text('The node that wants the address.'),
  pod: { type: 'object', properties: { namespace: text(), name: text(), uid: text() } },
};

function column(name: string, jsonPath: string, type = 'string'): CustomResourceColumnDefinition {
  return { name, type, jsonPath };
}

const AGE = column('Age', '.metadata.creationTimestamp', 'date');

function definition(
  type: ResourceType,
  properties: Properties,
  options: {
    readonly required: readonly string[];
    readonly columns?: readonly CustomResourceColumnDefinition[];
    readonly status?: true;
  },
): CustomResourceDefinition {
  const { group, plural, singular, kind } = type;
  const spec: Schema = { type: 'object', properties, required: [...options.required] };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: groupResource(type) },
    spec: {
      group,
      names: { kind, listKind: `${kind}List`, plural, singular },
      scope: type.namespaced ? 'Namespaced' : 'Cluster',
      versions: [
        {
          name: type.version,
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                apiVersion: text(),
                kind: text(),
                metadata: { type: 'object' },
                spec,
                ...(options.status === undefined ? {} : { status: open }),
              },
            },
          },
          ...(options.status === undefined ? {} : { subresources: { status: {} } }),
          ...(options.columns === undefined ? {} : { additionalPrinterColumns: [...options.columns, AGE] }),
        },
      ],
    },
  };
}

const POOL_COLUMNS = [
  column('CIDR', '.spec.cidr'),
  column('NAT', '.spec.natOutgoing', 'boolean'),
  column('Disabled', '.spec.disabled', 'boolean'),
  column('Selector', '.spec.nodeSelector'),
];

/** Definitions of the custom resources of address management, for clusters that do not have Calico's own. */
export function addressDefinitions(): readonly CustomResourceDefinition[] {
  const r = addressResources;
  return [
    definition(r.ippools, OLD_POOL, { required: ['cidr'], columns: POOL_COLUMNS }),
    definition(r.ipreservations, RESERVATION, { required: [] }),
    definition(r.ipamconfigs, CONFIG, { required: [] }),
    definition(r.blockaffinities, AFFINITY, {
      required: ['cidr', 'node', 'state', 'deleted'],
      columns: [column('CIDR', '.spec.cidr'), column('Node', '.spec.node'), column('State', '.spec.state')],
    }),
    definition(r.ipamblocks, BLOCK, {
      required: ['cidr', 'allocations', 'attributes', 'unallocated', 'strictAffinity'],
      columns: [column('CIDR', '.spec.cidr'), column('Affinity', '.spec.affinity')],
    }),
    definition(r.ipamhandles, HANDLE, { required: ['handleID', 'block'] }),
    definition(r.ippoolsV3, POOL, { required: ['cidr'], columns: POOL_COLUMNS }),
    definition(r.ipreservationsV3, RESERVATION, { required: [] }),
    definition(r.ipamconfigurationsV3, CONFIG, { required: [] }),
    definition(r.addressloans, LOAN, {
      required: ['address', 'node'],
      status: true,
      columns: [
        column('Address', '.spec.address'),
        column('Node', '.spec.node'),
        column('Lender', '.status.lender'),
        column('Phase', '.status.phase'),
      ],
    }),
    definition(
      r.stickyaddresses,
      { addresses: list(text()) },
      {
        required: ['addresses'],
        columns: [column('Addresses', '.spec.addresses')],
      },
    ),
  ];
}

const asNumber: Schema = { 'x-kubernetes-int-or-string': true } as Schema;
const blocks = list({ type: 'object', properties: { cidr: text() } });
const secret: Schema = {
  type: 'object',
  properties: {
    secretKeyRef: { type: 'object', properties: { name: text(), key: text(), optional: flag() }, required: ['key'] },
  },
};

const BGP_CONFIGURATION: Properties = {
  nodeToNodeMeshEnabled: flag('Every node is a peer of every other.'),
  asNumber,
  listenPort: { type: 'integer', minimum: 1, maximum: 65535 },
  bindMode: { type: 'string', enum: ['None', 'NodeIP'] },
  serviceClusterIPs: blocks,
  serviceExternalIPs: blocks,
  serviceLoadBalancerIPs: blocks,
  serviceLoadBalancerAggregation: { type: 'string', enum: ['Enabled', 'Disabled'] },
  communities: list({ type: 'object', properties: { name: text(), value: text() } }),
  prefixAdvertisements: list({ type: 'object', properties: { cidr: text(), communities: list(text()) } }),
  nodeMeshPassword: secret,
  nodeMeshMaxRestartTime: text(),
};

const BGP_PEER: Properties = {
  node: text('The one node that has this peer.'),
  nodeSelector: text('Nodes that have this peer.'),
  peerIP: text('Address of the peer, with a port where it is not 179.'),
  asNumber,
  peerSelector: text('Nodes that are the peers.'),
  keepOriginalNextHop: flag(),
  nextHopMode: { type: 'string', enum: ['Auto', 'Self', 'Keep'] },
  password: secret,
  sourceAddress: text(),
  maxRestartTime: text(),
  numAllowedLocalASNumbers: integer,
  ttlSecurity: integer,
  filters: list(text()),
  localASNumber: asNumber,
  reversePeering: { type: 'string', enum: ['Auto', 'Manual'] },
};

const RULE: Schema = {
  type: 'object',
  properties: {
    cidr: text(),
    matchOperator: { type: 'string', enum: ['Equal', 'NotEqual', 'In', 'NotIn'] },
    prefixLength: { type: 'object', properties: { min: integer, max: integer } },
    source: { type: 'string', enum: ['RemotePeers'] },
    interface: text(),
    peerType: { type: 'string', enum: ['eBGP', 'iBGP'] },
    communities: { type: 'object', properties: { values: list(text()) } },
    asPathPrefix: list(integer),
    priority: integer,
    operations: list({
      type: 'object',
      properties: {
        addCommunity: { type: 'object', properties: { value: text() } },
        prependASPath: { type: 'object', properties: { prefix: list(integer) } },
        setPriority: { type: 'object', properties: { value: integer } },
      },
    }),
    action: { type: 'string', enum: ['Accept', 'Reject'] },
  },
  required: ['action'],
};

const BGP_FILTER: Properties = {
  importV4: list(RULE),
  importV6: list(RULE),
  exportV4: list(RULE),
  exportV6: list(RULE),
};

/** Definitions of the custom resources of routing, for clusters that do not have Calico's own. */
export function bgpDefinitions(): readonly CustomResourceDefinition[] {
  const r = bgpResources;
  const configuration = [column('Mesh', '.spec.nodeToNodeMeshEnabled', 'boolean'), column('AS', '.spec.asNumber')];
  const peer = [
    column('Peer', '.spec.peerIP'),
    column('AS', '.spec.asNumber'),
    column('Selector', '.spec.peerSelector'),
  ];
  return [
    definition(r.bgpconfigurations, BGP_CONFIGURATION, { required: [], columns: configuration }),
    definition(r.bgppeers, BGP_PEER, { required: [], columns: peer }),
    definition(r.bgpfilters, BGP_FILTER, { required: [] }),
    definition(r.bgpconfigurationsV3, BGP_CONFIGURATION, { required: [], columns: configuration }),
    definition(r.bgppeersV3, BGP_PEER, { required: [], columns: peer }),
    definition(r.bgpfiltersV3, BGP_FILTER, { required: [] }),
  ];
}
