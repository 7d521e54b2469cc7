import type { KubeObject } from '../object.ts';
import { resourceType, type ResourceType } from '../resources.ts';

/** An address pool; the fields are those of `crd.projectcalico.org/v1` and of `projectcalico.org/v3`. */
export interface IPPool extends KubeObject {
  spec: {
    cidr: string;
    /** Prefix length of the blocks that nodes get. Default 26, IPv6 122. */
    blockSize?: number;
    /** Selector on labels of nodes; default `all()`. */
    nodeSelector?: string;
    /** Selector on labels of namespaces; default `all()`. */
    namespaceSelector?: string;
    /** No new addresses; those that pods have stay valid. */
    disabled?: boolean;
    /** `Workload`, `Tunnel`, `LoadBalancer`. Default `Workload` and `Tunnel`. */
    allowedUses?: string[];
    /** `Manual`: only pods that ask for it by annotation get addresses. Default `Automatic`. */
    assignmentMode?: string;
    /** What pods send outside of all pools gets the address of their node. */
    natOutgoing?: boolean;
    ipipMode?: string;
    vxlanMode?: string;
    disableBGPExport?: boolean;
    /** Older names of `natOutgoing` and `ipipMode`. */
    'nat-outgoing'?: boolean;
    ipip?: { enabled?: boolean; mode?: string };
  };
}

/** Addresses that no pod gets by itself. */
export interface IPReservation extends KubeObject {
  spec: { reservedCIDRs?: string[] };
}

/** How blocks are given out; the object is named `default`. `projectcalico.org/v3` calls it IPAMConfiguration. */
export interface IPAMConfig extends KubeObject {
  spec: {
    /** Addresses come from the node's own blocks only. Default false: from other nodes' blocks when those are full. */
    strictAffinity?: boolean;
    /** Nodes claim blocks as they need them. Default true. */
    autoAllocateBlocks?: boolean;
    /** Most blocks of one node; 0 for any number. Default 20. */
    maxBlocksPerHost?: number;
  };
}

/** A node's claim to a block. Its name is `NODE-` and the block with dashes. */
export interface BlockAffinity extends KubeObject {
  spec: {
    cidr: string;
    node: string;
    state: 'pending' | 'confirmed' | 'pendingDeletion' | '';
    /** `"true"` or `"false"`. */
    deleted: string;
    type?: string;
  };
}

/** Who an address of a block belongs to. */
export interface IPAMBlockAttribute {
  handle_id?: string;
  secondary?: Record<string, string>;
}

/** A block of addresses. Its name is the block with dashes, so that only one can exist. */
export interface IPAMBlock extends KubeObject {
  spec: {
    cidr: string;
    /** `host:NODE`; absent: nobody's. */
    affinity?: string | null;
    /** One entry per address: null, or the index of its owner in `attributes`. */
    allocations: (number | null)[];
    attributes: IPAMBlockAttribute[];
    /** Positions that are free, in the order in which they will be given out. */
    unallocated: number[];
    strictAffinity: boolean;
    deleted?: boolean;
    sequenceNumber?: number;
    sequenceNumberForAllocation?: Record<string, number>;
  };
}

/** The addresses of one owner: number of addresses by block. */
export interface IPAMHandle extends KubeObject {
  spec: { handleID: string; block: Record<string, number>; deleted?: boolean };
}

/** An address of one node's range that another node may give to a pod. Its name is the address with dashes. */
export interface AddressLoan extends KubeObject {
  spec: {
    address: string;
    /** The node that wants the address. */
    node: string;
    /** The pod it is wanted for, when one asked for this very address. */
    pod?: { namespace: string; name: string; uid?: string };
  };
  status?: {
    phase?: 'Granted' | 'Refused';
    /** The node whose range the address is in. */
    lender?: string;
    message?: string;
  };
}

/** The addresses that a pod gets again whenever it is made anew. Its name is that of the pod. */
export interface StickyAddress extends KubeObject {
  spec: { addresses: string[] };
}

const GROUP = 'crd.projectcalico.org';
const NEW_GROUP = 'projectcalico.org';

function define<T extends KubeObject>(group: string, version: string, kind: string, plural: string): ResourceType<T> {
  return resourceType<T>({ group, version, kind, plural, namespaced: false });
}

/** The custom resources of address management. */
export const addressResources = {
  ippools: define<IPPool>(GROUP, 'v1', 'IPPool', 'ippools'),
  ipreservations: define<IPReservation>(GROUP, 'v1', 'IPReservation', 'ipreservations'),
  ipamconfigs: define<IPAMConfig>(GROUP, 'v1', 'IPAMConfig', 'ipamconfigs'),
  blockaffinities: define<BlockAffinity>(GROUP, 'v1', 'BlockAffinity', 'blockaffinities'),
  ipamblocks: define<IPAMBlock>(GROUP, 'v1', 'IPAMBlock', 'ipamblocks'),
  ipamhandles: define<IPAMHandle>(GROUP, 'v1', 'IPAMHandle', 'ipamhandles'),
  ippoolsV3: define<IPPool>(NEW_GROUP, 'v3', 'IPPool', 'ippools'),
  ipreservationsV3: define<IPReservation>(NEW_GROUP, 'v3', 'IPReservation', 'ipreservations'),
  ipamconfigurationsV3: define<IPAMConfig>(NEW_GROUP, 'v3', 'IPAMConfiguration', 'ipamconfigurations'),
  addressloans: define<AddressLoan>('weft.dev', 'v1', 'AddressLoan', 'addressloans'),
  stickyaddresses: resourceType<StickyAddress>({
    group: 'weft.dev',
    version: 'v1',
    kind: 'StickyAddress',
    plural: 'stickyaddresses',
    namespaced: true,
  }),
} as const;
