import { CniCode, CniError } from '../spec/errors.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { inSandbox } from './common/sandbox.ts';
import type { MakePlugin } from './registry.ts';

const LO = 'lo';

/** Brings `lo` up. Runtimes call it beside the main network, often at the same time. */
class LoopbackPlugin implements Plugin {
  readonly name = 'loopback';
  readonly #node: NodeNetwork;

  constructor(node: NodeNetwork) {
    this.#node = node;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    // As a member of a chain it passes on what others made.
    const addresses = await inSandbox(this.#node, request.netns, async ({ rtnl }) => {
      await rtnl.links.set(LO, { up: true });
      return rtnl.addresses.list({ index: 1 });
    });
    if (request.prevResult !== undefined) return request.prevResult;
    return {
      interfaces: [{ name: LO, mac: '00:00:00:00:00:00', sandbox: request.netns }],
      ips: addresses.map((a) => ({ address: a.address, interface: 0 })),
    };
  }

  async del(): Promise<void> {
    // The kernel takes lo away with its namespace; taking it down earlier would only break what still runs there.
  }

  async check(request: PluginRequest): Promise<void> {
    const up = await inSandbox(this.#node, request.netns, async ({ rtnl }) => (await rtnl.links.get(LO))?.up === true);
    if (!up) throw new CniError(CniCode.checkFailed, 'interface lo is down in the sandbox');
  }

  async status(): Promise<void> {
    // Every kernel can do it.
  }

  async gc(): Promise<void> {
    // It keeps nothing.
  }
}

export const loopback: MakePlugin = ({ node }) => new LoopbackPlugin(node);
