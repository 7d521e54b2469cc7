import type { Allocation, Ipam } from '@weft/cni';
import { addressResources, isStatus, type KubeClient, type OwnerReference } from '@weft/kube';
import { type Ip, parseIp } from '@weft/net';
import { errorMessage, type Logger } from '@weft/plan';
import type { AddressCache } from './cache.ts';
import { podHolder } from './lending.ts';

export interface StickyOptions {
  readonly client: KubeClient;
  readonly cache: AddressCache;
  readonly ipam: () => Ipam | undefined;
  /** True for addresses of ranges that this node gives out. */
  readonly isMine: (address: string) => boolean;
  readonly log: Logger;
}

/**
 * Addresses that pods get again when they are made anew under their name. A StickyAddress object in the pod's namespace
 * says which; it belongs to the pod's controller (a StatefulSet), and goes with it. The node whose range an address is
 * in keeps it for the pod, wherever that runs.
 */
export class StickyKeeper {
  readonly #options: StickyOptions;
  /** Pods whose object is being written. */
  readonly #writing = new Set<string>();

  constructor(options: StickyOptions) {
    this.#options = options;
  }

  /** What a pod of this name had before. */
  addressesOf(namespace: string, name: string): readonly Ip[] {
    const texts = this.#options.cache.stickyOf(`${namespace}/${name}`)?.spec.addresses ?? [];
    return texts.map((text) => parseIp(text)).filter((ip): ip is Ip => ip !== undefined);
  }

  /** For which pod an address is kept, if for any. */
  holderOf(address: string): string | undefined {
    for (const { metadata, spec } of this.#options.cache.sticky()) {
      if (spec.addresses.includes(address)) return podHolder(metadata.namespace ?? '', metadata.name);
    }
    // Its object is not written yet.
    const owner = this.#options.ipam()?.ownerOf(address);
    return owner?.sticky === true && owner.pod !== undefined
      ? podHolder(owner.pod.namespace, owner.pod.name)
      : undefined;
  }

  /** Addresses were taken: those of sticky pods are written down. */
  keep(addresses: readonly string[]): void {
    const store = this.#options.ipam();
    const owners = new Set(addresses.map((address) => store?.ownerOf(address)));
    for (const owner of owners) if (owner?.sticky === true && owner.pod !== undefined) this.#keepOf(owner, owner.pod);
  }

  /** Keeps the addresses of all sticky pods that are in this node's ranges; then ends what is kept for nobody. */
  settle(then: () => void): void {
    const { cache, ipam, isMine } = this.#options;
    const store = ipam();
    if (store === undefined || !cache.synced) return;
    for (const { metadata, spec } of cache.sticky()) {
      for (const address of spec.addresses) {
        if (store.heldFor(address) === undefined && isMine(address)) {
          store.hold(address, podHolder(metadata.namespace ?? '', metadata.name));
        }
      }
    }
    for (const allocation of store.list()) {
      if (allocation.sticky === true && allocation.pod !== undefined) this.#keepOf(allocation, allocation.pod);
    }
    then();
  }

  #keepOf(allocation: Allocation, pod: { readonly namespace: string; readonly name: string }): void {
    const { client, cache, ipam, isMine, log } = this.#options;
    const key = `${pod.namespace}/${pod.name}`;
    const { addresses } = allocation;
    for (const address of addresses) {
      if (isMine(address)) ipam()?.hold(address, podHolder(pod.namespace, pod.name));
    }
    const known = cache.stickyOf(key)?.spec.addresses;
    if (this.#writing.has(key) || (known !== undefined && addresses.every((a) => known.includes(a)))) return;
    // Without the pod there is nobody to say whose the object is; one made now would outlive its controller.
    const metadata = cache.pods.get(key)?.metadata;
    if (metadata === undefined || metadata.deletionTimestamp !== undefined) return;
    this.#writing.add(key);
    const owners = metadata.ownerReferences?.filter((ref) => ref.controller === true) ?? [];
    const spec = { addresses: [...addresses] };
    const write = async (): Promise<void> => {
      const meta = { name: pod.name, namespace: pod.namespace, ownerReferences: owners.map(plain) };
      try {
        await client.create(addressResources.stickyaddresses, { metadata: meta, spec });
      } catch (error) {
        if (!isStatus(error, 'AlreadyExists')) throw error;
        await client.patch(addressResources.stickyaddresses, pod.namespace, pod.name, { spec });
      }
    };
    write()
      .catch((error: unknown) => {
        log.warn('cannot write down the addresses that a pod keeps; trying again', {
          pod: key,
          error: errorMessage(error),
        });
      })
      .finally(() => this.#writing.delete(key));
  }
}

function plain(ref: OwnerReference): OwnerReference {
  const { apiVersion, kind, name, uid } = ref;
  return { apiVersion, kind, name, uid };
}
