import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isKernelError, type Link, type LinkChange, readSysctl, type Rtnl, writeSysctl } from '@weft/kernel';
import { booleanField, isObject, objectField, stringField } from '../spec/json.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { intField, invalid, mtuField, requirePrev, wantedMac } from './common/conf.ts';
import { differs } from './common/interface.ts';
import { inSandbox, inSandboxIfThere } from './common/sandbox.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

const DATA_DIR = '/run/cni/tuning';
const ALLOWLIST = '/etc/cni/tuning/allowlist.conf';
const IFF_PROMISC = 0x100;
const IFF_ALLMULTI = 0x200;
/** Stands for the interface's name in keys. */
const IFNAME = /\bIFNAME\b/g;

interface TuningConf {
  /** Full keys with slashes: `net/ipv4/conf/eth0/arp_filter`. */
  readonly sysctls: ReadonlyMap<string, string>;
  readonly link: LinkChange;
  readonly dataDir: string;
}

/** What the interface had before, as the reference plugin writes it. */
interface Backup {
  readonly mac?: string;
  readonly promisc?: boolean;
  readonly mtu?: number;
  readonly allmulti?: boolean;
  readonly txQLen?: number;
}

function read(request: PluginRequest): TuningConf {
  const { config, ifname } = request;
  const flag = (name: string): boolean | undefined => booleanField(config, name);
  const mac = wantedMac(request);
  const mtu = mtuField(config);
  const promisc = flag('promisc');
  const allmulti = flag('allmulti');
  const txqlen = intField(config, 'txQLen', { min: 0, max: 0xffffffff });
  return {
    sysctls: readSysctls(request, ifname),
    link: {
      ...(mac === undefined ? {} : { mac }),
      ...(mtu === undefined ? {} : { mtu }),
      ...(promisc === true ? { promisc } : {}),
      ...(allmulti === undefined ? {} : { allmulti }),
      ...(txqlen === undefined ? {} : { txqlen }),
    },
    dataDir: stringField(config, 'dataDir') || DATA_DIR,
  };
}

function readSysctls(request: PluginRequest, ifname: string): Map<string, string> {
  const given = objectField(request.config, 'sysctl') ?? {};
  const allowed = allowlist();
  const out = new Map<string, string>();
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'string') throw invalid(`sysctl: the value of ${name} is not a text`);
    if (allowed !== undefined && !allowed.some((pattern) => pattern.test(name))) {
      throw invalid(`Sysctl ${name} is not allowed. Only the following sysctls are allowed: ${ALLOWLIST}`);
    }
    // Names with dots inside, as of VLANs, are written with slashes.
    const key = (name.includes('/') ? name : name.replaceAll('.', '/')).replaceAll(IFNAME, ifname);
    if (!key.startsWith('net/') || key.split('/').includes('..')) {
      throw invalid(`invalid net sysctl key: ${JSON.stringify(name)}`);
    }
    out.set(key, value);
  }
  return out;
}

/** Patterns of the node's administrator; undefined: everything is allowed. */
function allowlist(): RegExp[] | undefined {
  if (!existsSync(ALLOWLIST)) return undefined;
  const lines = readFileSync(ALLOWLIST, 'utf8')
    .split('\n')
    .map((line) => line.trim());
  return lines.filter((line) => line !== '').map((line) => new RegExp(line));
}

/** Changes settings of the interface that earlier plugins made, and puts them back at DEL. A chained plugin. */
class TuningPlugin implements Plugin {
  readonly name = 'tuning';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const conf = read(request);
    const prev = requirePrev(request);
    await inSandbox(this.#context.node, request.netns, async ({ ns, rtnl }) => {
      for (const [key, value] of conf.sysctls) writeSysctl(key, value, ns);
      if (Object.keys(conf.link).length === 0) return;
      const link = await rtnl.links.get(request.ifname);
      if (link === undefined) throw invalid(`interface ${request.ifname} is missing in the sandbox`);
      save(conf.dataDir, request, backupOf(link, conf.link));
      const { mac, ...rest } = conf.link;
      if (mac !== undefined) await setMac(rtnl, link, mac);
      if (Object.keys(rest).length > 0) await rtnl.links.set(link.index, rest);
    });
    const { mac, mtu } = conf.link;
    if (mac === undefined && mtu === undefined) return prev;
    return {
      ...prev,
      interfaces: (prev.interfaces ?? []).map((i) =>
        i.name === request.ifname && i.sandbox === request.netns
          ? {
              ...i,
              ...(mac === undefined ? {} : { mac }),
              ...(mtu === undefined || i.mtu === undefined ? {} : { mtu }),
            }
          : i,
      ),
    };
  }

  async del(request: PluginRequest): Promise<void> {
    const dataDir = stringField(request.config, 'dataDir') || DATA_DIR;
    const backup = load(dataDir, request);
    if (backup === undefined) return;
    await inSandboxIfThere(this.#context.node, request.netns, async ({ rtnl }) => {
      const link = await rtnl.links.get(request.ifname);
      if (link === undefined) return;
      const { mac, txQLen, ...rest } = backup;
      const change = { ...rest, ...(txQLen === undefined ? {} : { txqlen: txQLen }) };
      if (Object.keys(change).length > 0) await rtnl.links.set(link.index, change);
      if (mac !== undefined) await setMac(rtnl, link, mac);
    });
    rmSync(fileOf(dataDir, request), { force: true });
  }

  async check(request: PluginRequest): Promise<void> {
    const conf = read(request);
    await inSandbox(this.#context.node, request.netns, async ({ ns, rtnl }) => {
      for (const [key, value] of conf.sysctls) {
        const now = readSysctl(key, ns);
        if (now !== value) throw differs(`${key} is ${now}, not ${value}`);
      }
      const link = await rtnl.links.get(request.ifname);
      if (link === undefined) throw differs(`interface ${request.ifname} is missing in the sandbox`);
      const { mac, mtu, promisc, allmulti, txqlen } = conf.link;
      const compare = <T extends string | number | boolean>(
        what: string,
        now: T | undefined,
        wanted: T | undefined,
      ): void => {
        if (wanted !== undefined && now !== wanted) throw differs(`${what} of ${link.name} is ${now}, not ${wanted}`);
      };
      compare('MAC address', link.mac, mac);
      compare('MTU', link.mtu, mtu);
      compare('promiscuous mode', (link.flags & IFF_PROMISC) !== 0, promisc);
      compare('all-multicast mode', (link.flags & IFF_ALLMULTI) !== 0, allmulti);
      compare('transmit queue length', link.txqlen, txqlen);
    });
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
  }

  async gc(): Promise<void> {
    // What it changed is in the sandbox and goes with it.
  }
}

/** Gives a link another MAC address; the way down and up, which costs it its IPv6 addresses, only where it must. */
async function setMac(rtnl: Rtnl, link: Link, mac: string): Promise<void> {
  try {
    await rtnl.links.set(link.index, { mac });
  } catch (error) {
    if (!isKernelError(error, 'EBUSY')) throw error;
    await rtnl.links.set(link.index, { up: false });
    await rtnl.links.set(link.index, { mac });
    if (link.up) await rtnl.links.set(link.index, { up: true });
  }
}

function backupOf(link: Link, change: LinkChange): Backup {
  return {
    ...(change.mac === undefined || link.mac === undefined ? {} : { mac: link.mac }),
    ...(change.mtu === undefined ? {} : { mtu: link.mtu }),
    ...(change.promisc === undefined ? {} : { promisc: (link.flags & IFF_PROMISC) !== 0 }),
    ...(change.allmulti === undefined ? {} : { allmulti: (link.flags & IFF_ALLMULTI) !== 0 }),
    ...(change.txqlen === undefined || link.txqlen === undefined ? {} : { txQLen: link.txqlen }),
  };
}

function fileOf(dataDir: string, { containerId, ifname }: PluginRequest): string {
  return join(dataDir, `${containerId}_${ifname}.json`);
}

function save(dataDir: string, request: PluginRequest, backup: Backup): void {
  const file = fileOf(dataDir, request);
  // A second try must not take what the first one changed for what was there before.
  if (existsSync(file)) return;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.new`, JSON.stringify(backup), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw new CniError(CniCode.io, `dataDir: ${(error as Error).message}`, undefined, error);
  }
}

/** Undefined when there is none, or none that can be read: what is lost must not keep the container from going. */
function load(dataDir: string, request: PluginRequest): Backup | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(fileOf(dataDir, request), 'utf8'));
    return isObject(value) ? (value as Backup) : undefined;
  } catch {
    return undefined;
  }
}

export const tuning: MakePlugin = (context) => new TuningPlugin(context);
