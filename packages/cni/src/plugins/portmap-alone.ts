import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { PortmapPlugin, recordOf } from './portmap.ts';
import { PortmapTable } from './portmap-table.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

/** portmap in a process of one call: what it must know is read from the kernel, where every element says whose it is. */
class PortmapAlone implements Plugin {
  readonly name = 'portmap';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  add(request: PluginRequest): Promise<CniResult> {
    return this.#with((plugin) => plugin.add(request));
  }

  del(request: PluginRequest): Promise<void> {
    return this.#with((plugin) => plugin.del(request));
  }

  check(request: PluginRequest): Promise<void> {
    return this.#with((plugin) => plugin.check(request));
  }

  async status(): Promise<void> {
    // An ADD can fail for a port that is taken, but no port is needed.
  }

  gc(request: PluginRequest): Promise<void> {
    return this.#with((plugin) => plugin.gc(request));
  }

  async #with<T>(work: (plugin: PortmapPlugin) => Promise<T>): Promise<T> {
    const { node, log } = this.#context;
    const table = new PortmapTable(node);
    try {
      const found = (await table.load()) ?? new Map<string, never>();
      const records = new Map([...found].map(([comment, one]) => [comment, recordOf(one)]));
      const journal = { put: () => {}, remove: () => {} };
      return await work(new PortmapPlugin({ node, log, journal, records, shared: true }, table));
    } finally {
      table.close();
    }
  }
}

export const portmap: MakePlugin = (context) => new PortmapAlone(context);
