import type { JsonObject } from './json.ts';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC' | 'VERSION';

/** An interface of a result. `sandbox` is the netns path exactly as CNI_NETNS gave it; absent means the node. */
export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface CniIp {
  /** Address with prefix length, `10.244.1.5/32`. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into `interfaces`. */
  readonly interface?: number;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw?: string;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** A result in the shape of CNI 1.1.0; see `formatResult` for the older shapes. */
export interface CniResult {
  readonly interfaces?: readonly CniInterface[];
  readonly ips?: readonly CniIp[];
  readonly routes?: readonly CniRoute[];
  readonly dns?: CniDns;
}

/** One container attachment: what a runtime calls ADD for once and DEL for at least once. */
export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

/** What a plugin receives, decoded and checked. */
export interface PluginRequest extends Attachment {
  readonly command: CniCommand;
  /** Name the plugin was called by. */
  readonly plugin: string;
  /** Network name. */
  readonly network: string;
  /** Version the answer must have. */
  readonly cniVersion: string;
  /** Path of the sandbox's network namespace; '' when the runtime no longer has one (DEL). */
  readonly netns: string;
  /** CNI_ARGS as pairs. */
  readonly args: ReadonlyMap<string, string>;
  /** CNI_PATH, split. */
  readonly path: readonly string[];
  /** The plugin's whole configuration; read it with `field` and friends. */
  readonly config: JsonObject;
  readonly prevResult: CniResult | undefined;
  /** GC: the attachments that are valid. Undefined: the runtime sent no list, so nothing may be removed. */
  readonly validAttachments: readonly Attachment[] | undefined;
  /** The environment and input as they came, for plugins that delegate. */
  readonly raw: { readonly env: ReadonlyMap<string, string>; readonly stdin: string };
}

/** A plugin's verbs; VERSION is answered for all plugins by the server. Failures are thrown as CniError. */
export interface Plugin {
  readonly name: string;
  add(request: PluginRequest): Promise<CniResult>;
  del(request: PluginRequest): Promise<void>;
  check(request: PluginRequest): Promise<void>;
  status(request: PluginRequest): Promise<void>;
  gc(request: PluginRequest): Promise<void>;
}
