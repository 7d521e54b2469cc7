import { execPlugin, findPlugin } from '../../runtime/exec.ts';
import { isObject, type JsonObject, field, parseObject, stringField } from '../../spec/json.ts';
import { parseResult } from '../../spec/result.ts';
import type { CniCommand, CniResult, Plugin, PluginRequest } from '../../spec/types.ts';
import type { PluginContext } from '../registry.ts';
import { invalid } from './conf.ts';

/** Longest a delegated IPAM plugin may take, milliseconds. */
const TIMEOUT_MS = 50_000;

/** The `ipam` object of a configuration; undefined when there is none, or one without a type: no addresses then. */
export function ipamConfig(request: PluginRequest): JsonObject | undefined {
  const ipam = field(request.config, 'ipam');
  return isObject(ipam) && stringField(ipam, 'type', 'ipam.type') ? ipam : undefined;
}

/**
 * The IPAM plugin that a main plugin delegates to: ours in this process, others by exec from CNI_PATH, with the very
 * call that we got (CNI 1.1, "Plugin delegation").
 */
export interface IpamDelegate {
  readonly type: string;
  add(): Promise<CniResult>;
  del(): Promise<void>;
  check(): Promise<void>;
  status(): Promise<void>;
  gc(): Promise<void>;
}

async function execute(request: PluginRequest, type: string, command: CniCommand): Promise<string> {
  const file = await findPlugin(type, request.path, `network ${request.network}: ipam`);
  const env = { ...Object.fromEntries(request.raw.env), CNI_COMMAND: command };
  return execPlugin(file, { env, stdin: request.raw.stdin, timeoutMs: TIMEOUT_MS });
}

function foreign(request: PluginRequest, type: string): IpamDelegate {
  const run = async (command: CniCommand): Promise<void> => {
    await execute(request, type, command);
  };
  return {
    type,
    add: async () => parseResult(parseObject(await execute(request, type, 'ADD'), 'IPAM result'), request.cniVersion),
    del: () => run('DEL'),
    check: () => run('CHECK'),
    status: () => run('STATUS'),
    gc: () => run('GC'),
  };
}

function own(plugin: Plugin, request: PluginRequest, type: string): IpamDelegate {
  const call = (command: CniCommand): PluginRequest => ({ ...request, command, plugin: type });
  return {
    type,
    add: () => plugin.add(call('ADD')),
    del: () => plugin.del(call('DEL')),
    check: () => plugin.check(call('CHECK')),
    status: () => plugin.status(call('STATUS')),
    gc: () => plugin.gc(call('GC')),
  };
}

/** The delegate that `ipam.type` names; undefined when there is none. */
export async function ipamOf(context: PluginContext, request: PluginRequest): Promise<IpamDelegate | undefined> {
  const ipam = ipamConfig(request);
  const type = ipam === undefined ? undefined : stringField(ipam, 'type', 'ipam.type');
  if (type === undefined) return undefined;
  if (type === 'weft') {
    throw invalid(`ipam.type: "weft" gives addresses to the main plugin weft only, not to ${request.plugin}`);
  }
  const plugin = await context.plugin(type);
  return plugin === undefined ? foreign(request, type) : own(plugin, request, type);
}

/** Addresses by IPAM, and `work` with them; when that fails, the addresses are given back. */
export async function withAddresses<T>(ipam: IpamDelegate, work: (result: CniResult) => Promise<T>): Promise<T> {
  const result = await ipam.add();
  try {
    if ((result.ips ?? []).length === 0) throw invalid('IPAM plugin returned missing IP config');
    return await work(result);
  } catch (error) {
    // What went wrong first is what must be told.
    await ipam.del().catch(() => {});
    throw error;
  }
}
