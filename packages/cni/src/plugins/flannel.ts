import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from '@weft/plan';
import { execPlugin, findPlugin } from '../runtime/exec.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, objectField, parseObject, stringField } from '../spec/json.ts';
import { parseResult } from '../spec/result.ts';
import type { CniCommand, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { invalid } from './common/conf.ts';
import { delegateConf, parseSubnetEnv, type SubnetEnv } from './flannel-conf.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

const SUBNET_FILE = '/run/flannel/subnet.env';
const DATA_DIR = '/var/lib/cni/flannel';
/** Longest a delegate may take, milliseconds. */
const TIMEOUT_MS = 50_000;

interface FlannelConf {
  readonly subnetFile: string;
  readonly dataDir: string;
  readonly delegate: JsonObject;
}

function read(config: JsonObject): FlannelConf {
  const delegate = objectField(config, 'delegate') ?? {};
  for (const name of ['name', 'ipam']) {
    if (field(delegate, name) !== undefined) {
      throw invalid(`delegate.${name}: 'delegate' dictionary must not have '${name}' field, it'll be set by flannel`);
    }
  }
  stringField(delegate, 'type', 'delegate.type');
  return {
    subnetFile: stringField(config, 'subnetFile') || SUBNET_FILE,
    dataDir: stringField(config, 'dataDir') || DATA_DIR,
    delegate,
  };
}

function readSubnets(file: string): SubnetEnv {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CniError(
      CniCode.tryAgainLater,
      `subnetFile: ${errorMessage(error)}`,
      "flanneld writes it when it has the node's subnet: see the log of its pod on this node",
    );
  }
  return parseSubnetEnv(text, file);
}

/** Hands on to another plugin (bridge) with what flanneld wrote down of the node's subnet. */
class FlannelPlugin implements Plugin {
  readonly name = 'flannel';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const conf = read(request.config);
    const rendered = delegateConf(request.config, conf.delegate, readSubnets(conf.subnetFile));
    // Written first: whatever becomes of this call, DEL knows what to take down.
    save(conf.dataDir, request.containerId, rendered);
    const result = await this.#delegate(request, rendered, 'ADD');
    if (result === undefined) throw new CniError(CniCode.decode, 'flannel: the delegate printed no result');
    return result;
  }

  async del(request: PluginRequest): Promise<void> {
    const { dataDir } = read(request.config);
    const saved = load(dataDir, request.containerId);
    if (saved === undefined) return;
    // What cannot be read any more must not keep the container from going.
    if (isObject(saved)) await this.#delegate(request, saved, 'DEL');
    rmSync(join(dataDir, request.containerId), { force: true });
  }

  async check(request: PluginRequest): Promise<void> {
    const saved = load(read(request.config).dataDir, request.containerId);
    if (!isObject(saved)) {
      throw new CniError(CniCode.unknownContainer, `flannel: nothing is known of container ${request.containerId}`);
    }
    const prevResult = field(request.config, 'prevResult');
    await this.#delegate(request, { ...saved, ...(prevResult === undefined ? {} : { prevResult }) }, 'CHECK');
  }

  async status(request: PluginRequest): Promise<void> {
    const conf = read(request.config);
    let subnets: SubnetEnv;
    try {
      subnets = readSubnets(conf.subnetFile);
    } catch (error) {
      const details = error instanceof CniError ? error.details : undefined;
      throw new CniError(CniCode.unavailable, errorMessage(error), details, error);
    }
    await this.#delegate(request, delegateConf(request.config, conf.delegate, subnets), 'STATUS');
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments, network } = request;
    if (validAttachments === undefined) return;
    const conf = read(request.config);
    const keys = ['cni.dev/valid-attachments', 'cni.dev/attachments'];
    const lists = keys.map((key) => [key, field(request.config, key)]).filter(([, value]) => value !== undefined);
    const rendered = delegateConf(request.config, conf.delegate, readSubnets(conf.subnetFile));
    await this.#delegate(request, { ...rendered, ...(Object.fromEntries(lists) as JsonObject) }, 'GC');
    const valid = new Set(validAttachments.map((a) => a.containerId));
    for (const id of listed(conf.dataDir)) {
      const saved = valid.has(id) ? undefined : load(conf.dataDir, id);
      if (isObject(saved) && saved['name'] === network) rmSync(join(conf.dataDir, id), { force: true });
    }
  }

  /** Calls the delegate: ours in this process, others by exec. */
  async #delegate(request: PluginRequest, config: JsonObject, command: CniCommand): Promise<CniResult | undefined> {
    const type = stringField(config, 'type') || 'bridge';
    if (type === this.name) throw invalid('delegate.type: flannel cannot delegate to itself');
    const stdin = JSON.stringify(config);
    const env = new Map([...request.raw.env, ['CNI_COMMAND', command]]);
    const plugin = await this.#context.plugin(type);
    if (plugin === undefined) {
      const file = await findPlugin(type, request.path, `network ${request.network}: delegate`);
      const text = await execPlugin(file, { env: Object.fromEntries(env), stdin, timeoutMs: TIMEOUT_MS });
      return command === 'ADD' ? parseResult(parseObject(text, 'delegate result'), request.cniVersion) : undefined;
    }
    const prevResult = command === 'ADD' ? undefined : request.prevResult;
    const call: PluginRequest = { ...request, command, plugin: type, config, prevResult, raw: { env, stdin } };
    switch (command) {
      case 'ADD':
        return plugin.add(call);
      case 'DEL':
        await plugin.del(call);
        break;
      case 'CHECK':
        await plugin.check(call);
        break;
      case 'STATUS':
        await plugin.status(call);
        break;
      case 'GC':
        await plugin.gc(call);
        break;
      case 'VERSION':
    }
    return undefined;
  }
}

function save(dir: string, id: string, config: JsonObject): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const temporary = join(dir, `.${id}.new`);
    writeFileSync(temporary, JSON.stringify(config), { mode: 0o600 });
    renameSync(temporary, join(dir, id));
  } catch (error) {
    throw new CniError(CniCode.io, `dataDir: ${errorMessage(error)}`, undefined, error);
  }
}

/** What was saved of a container: undefined when nothing was, null when it cannot be read. */
function load(dir: string, id: string): JsonObject | null | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(dir, id), 'utf8'));
    return isObject(value) ? value : null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : null;
  }
}

function listed(dir: string): readonly string[] {
  try {
    return readdirSync(dir).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
}

export const flannel: MakePlugin = (context) => new FlannelPlugin(context);
