import { IP_ADDRESS_POOL_CRD } from '@weft/controllers';
import {
  type CustomResourceDefinition,
  isStatus,
  type KubeClient,
  type KubeObject,
  type ResourceType,
  resources,
} from '@weft/kube';
import { addressAt, formatIp, type Prefix } from '@weft/net';
import { underlayAddresses } from '../topology/addresses.ts';
import type { ClusterConfig } from './config.ts';

/** Addresses of the nodes' first network that no node gets: those of Services of type LoadBalancer. */
const FIRST_OFFSET = 200;
const LAST_OFFSET = 249;

const POOLS: ResourceType = {
  group: 'metallb.io',
  version: 'v1beta1',
  plural: 'ipaddresspools',
  singular: 'ipaddresspool',
  kind: 'IPAddressPool',
  namespaced: true,
  shortNames: [],
};

/** Milliseconds that a kind may take to be served once it is defined. */
const SERVED_MS = 5000;

/** The pool that `weft up` starts a cluster with. */
function defaultPool(config: ClusterConfig): KubeObject & { readonly spec: { readonly addresses: readonly string[] } } {
  const [subnet] = underlayAddresses(config).subnets as [Prefix];
  const at = (offset: number): string => formatIp(addressAt(subnet, offset));
  return {
    apiVersion: 'metallb.io/v1beta1',
    kind: 'IPAddressPool',
    metadata: { name: 'lab', namespace: 'kube-system' },
    spec: { addresses: [`${at(FIRST_OFFSET)}-${at(LAST_OFFSET)}`] },
  };
}

/** Defines the kind IPAddressPool and makes the first pool. A cluster that has the kind keeps the pools it has. */
export async function ensureBalancerPool(client: KubeClient, config: ClusterConfig): Promise<void> {
  try {
    await client.create(
      resources.customresourcedefinitions,
      IP_ADDRESS_POOL_CRD as unknown as CustomResourceDefinition,
    );
  } catch (error) {
    if (isStatus(error, 'AlreadyExists')) return;
    throw error;
  }
  for (const until = Date.now() + SERVED_MS; ; ) {
    try {
      await client.create(POOLS, defaultPool(config));
      return;
    } catch (error) {
      if (isStatus(error, 'AlreadyExists')) return;
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
