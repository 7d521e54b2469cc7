import type { Logger } from '@weft/plan';
import type { Plugin } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';

/** What a plugin is given: the same in the agent, which keeps it for many calls, and alone, where it lives for one. */
export interface PluginContext {
  readonly node: NodeNetwork;
  readonly log: Logger;
  /** The plugin of ours with this name, for delegation; undefined when the name is somebody else's. */
  plugin(name: string): Promise<Plugin | undefined>;
}

export type MakePlugin = (context: PluginContext) => Plugin;

/**
 * The plugins under the usual names that keep nothing in the agent: what they must know again is in the kernel or in
 * files. They are loaded when they are first called. A new plugin is one line here.
 */
const TABLE: Readonly<Record<string, () => Promise<MakePlugin>>> = {
  bandwidth: async () => (await import('./bandwidth.ts')).bandwidth,
  bridge: async () => (await import('./bridge.ts')).bridge,
  dhcp: async () => (await import('./dhcp.ts')).dhcp,
  dummy: async () => (await import('./dummy.ts')).dummy,
  firewall: async () => (await import('./firewall.ts')).firewall,
  flannel: async () => (await import('./flannel.ts')).flannel,
  'host-device': async () => (await import('./host-device.ts')).hostDevice,
  'host-local': async () => (await import('./host-local.ts')).hostLocal,
  ipvlan: async () => (await import('./ipvlan.ts')).ipvlan,
  loopback: async () => (await import('./loopback.ts')).loopback,
  macvlan: async () => (await import('./macvlan.ts')).macvlan,
  portmap: async () => (await import('./portmap-alone.ts')).portmap,
  ptp: async () => (await import('./ptp.ts')).ptp,
  sbr: async () => (await import('./sbr.ts')).sbr,
  static: async () => (await import('./static.ts')).staticIpam,
  tap: async () => (await import('./tap.ts')).tap,
  tuning: async () => (await import('./tuning.ts')).tuning,
  vlan: async () => (await import('./vlan.ts')).vlan,
  vrf: async () => (await import('./vrf.ts')).vrf,
};

/** Names of the plugins in the table. */
export const STANDALONE_PLUGINS: readonly string[] = Object.keys(TABLE);

/** Names that only the agent answers to. */
const AGENT_PLUGINS: readonly string[] = ['weft', 'weft-networks', 'multus'];

/** Every name we answer to. */
export const PLUGIN_NAMES: readonly string[] = [...new Set([...AGENT_PLUGINS, ...STANDALONE_PLUGINS])];

/** Where a call's plugin is looked up by its name. */
export interface PluginSource {
  /** For messages. */
  readonly names: readonly string[];
  find(name: string): Promise<Plugin | undefined>;
}

/** Plugins by name: those handed in, then those of the table, each made once. */
export class PluginRegistry implements PluginSource {
  readonly #context: PluginContext;
  readonly #made: Map<string, Promise<Plugin>>;

  /** `own` are plugins that are made elsewhere, by the name they are called by. */
  constructor(node: NodeNetwork, log: Logger, own: ReadonlyMap<string, Plugin> = new Map()) {
    this.#made = new Map([...own].map(([name, plugin]) => [name, Promise.resolve(plugin)]));
    this.#context = { node, log, plugin: (name) => this.find(name) };
  }

  get names(): readonly string[] {
    return [...new Set([...this.#made.keys(), ...STANDALONE_PLUGINS])];
  }

  async find(name: string): Promise<Plugin | undefined> {
    const made = this.#made.get(name);
    if (made !== undefined) return made;
    const load = Object.hasOwn(TABLE, name) ? TABLE[name] : undefined;
    if (load === undefined) return undefined;
    const plugin = load().then((make) => make(this.#context));
    this.#made.set(name, plugin);
    return plugin;
  }
}
