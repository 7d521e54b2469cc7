import { CniRuntime, type NetworkList, parseNetworkList, type RuntimeAttachment } from '@weft/cni';
import { errorMessage } from '@weft/plan';
import type { PodNetwork, SandboxNetworkRequest } from '../runtime/index.ts';

/** Interface name of a pod's first network. */
const POD_INTERFACE = 'eth0';

/** What every runtime calls beside the pod's network, in the same namespace. */
const LOOPBACK = JSON.stringify({ cniVersion: '1.0.0', name: 'cni-loopback', plugins: [{ type: 'loopback' }] });

/** Pods' networks by the CNI protocol: plugins are executed with what a configuration on disk says. */
export class CniPodNetwork implements PodNetwork {
  readonly #runtime: CniRuntime;
  readonly #loopback: NetworkList;
  readonly #problem: () => string | undefined;

  constructor(options: {
    readonly confDir: string;
    readonly binDirs: readonly string[];
    readonly cacheDir: string;
    /** Why the network cannot be used yet, or undefined. */
    readonly problem: () => string | undefined;
  }) {
    this.#runtime = new CniRuntime({ ...options, direct: true });
    this.#loopback = parseNetworkList(LOOPBACK, 'cni-loopback');
    this.#problem = options.problem;
  }

  async setup(sandbox: SandboxNetworkRequest): Promise<{ ips: readonly string[] }> {
    const list = await this.#runtime.load();
    const attachment = attachmentOf(sandbox);
    try {
      const [result] = await Promise.all([
        this.#runtime.add(list, attachment),
        this.#runtime.add(this.#loopback, { ...attachment, ifname: 'lo', capabilityArgs: {} }),
      ]);
      return { ips: (result.ips ?? []).map((ip) => ip.address.replace(/\/\d+$/, '')) };
    } catch (error) {
      // The specification leaves the cleaning up after a failed ADD to the runtime.
      await this.teardown(sandbox).catch(() => {});
      throw error;
    }
  }

  async teardown(sandbox: SandboxNetworkRequest): Promise<void> {
    const list = await this.#runtime.load();
    const attachment = attachmentOf(sandbox);
    await Promise.all([
      this.#runtime.del(list, attachment),
      this.#runtime.del(this.#loopback, { ...attachment, ifname: 'lo', capabilityArgs: {} }),
    ]);
  }

  async check(): Promise<string | undefined> {
    const problem = this.#problem();
    if (problem !== undefined) return problem;
    try {
      await this.#runtime.load();
      return undefined;
    } catch (error) {
      return errorMessage(error);
    }
  }
}

function attachmentOf(sandbox: SandboxNetworkRequest): RuntimeAttachment {
  return {
    containerId: sandbox.id,
    ifname: POD_INTERFACE,
    netns: sandbox.netnsPath,
    args: sandbox.cniArgs,
    capabilityArgs: {
      portMappings: sandbox.portMappings.map((p) => ({ ...p })),
      'io.kubernetes.cri.pod-annotations': { ...sandbox.annotations },
    },
  };
}
