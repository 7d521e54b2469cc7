import { spawn, type SpawnOptions } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isKernelError, MNT_DETACH, mount, NetNs, spawnInNetNs, umount2, writeSysctl } from '@weft/kernel';
import { type Logger, WeftError } from '@weft/plan';
import { newId, readRecords, writeRecord } from './files.ts';
import type { PodNetwork, PortMapping, SandboxNetworkRequest } from './network.ts';
import { childrenOf, identify, isAlive, type ProcessId, signalProcess } from './process.ts';
import type { Tools } from './tools.ts';

/** What a pod sandbox is made from. */
export interface SandboxSpec {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** How many sandboxes this pod had before. */
  readonly attempt: number;
  readonly hostname: string;
  readonly hostNetwork: boolean;
  readonly hostPID: boolean;
  readonly hostIPC: boolean;
  readonly shareProcessNamespace: boolean;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly portMappings: readonly PortMapping[];
}

/** A pod sandbox as it is kept on disk. */
export interface Sandbox extends SandboxSpec {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** `creating` until the network is there; a sandbox found so after a restart was cut off and is removed. */
  readonly state: 'creating' | 'ready' | 'stopped';
  readonly netnsPath: string;
  readonly pause: ProcessId | undefined;
  readonly ips: readonly string[];
}

const FILE = 'sandbox.json';
// The first line tells that the namespaces are there, so that containers may join them.
const PAUSE = 'hostname "$0"; echo ready; exec -a /pause "$1" -P >/dev/null 2>&1';

/** Makes, finds again and removes pod sandboxes: the namespaces that the containers of a pod share. */
export class Sandboxes {
  readonly #dir: string;
  readonly #netnsDir: string;
  readonly #network: PodNetwork;
  readonly #tools: Tools;
  readonly #log: Logger;
  readonly #all = new Map<string, Sandbox>();
  readonly #onLost: (sandbox: Sandbox) => void;
  readonly #lost = new Set<string>();

  /** `onLost` is called once for a sandbox whose pause process has ended by itself. */
  constructor(options: {
    dir: string;
    netnsDir: string;
    network: PodNetwork;
    tools: Tools;
    log: Logger;
    onLost: (sandbox: Sandbox) => void;
  }) {
    this.#onLost = options.onLost;
    this.#dir = options.dir;
    this.#netnsDir = options.netnsDir;
    this.#network = options.network;
    this.#tools = options.tools;
    this.#log = options.log;
    mkdirSync(this.#dir, { recursive: true });
    mkdirSync(this.#netnsDir, { recursive: true });
    for (const sandbox of readRecords<Sandbox>(this.#dir, FILE).records) this.#all.set(sandbox.id, sandbox);
  }

  list(): Sandbox[] {
    return [...this.#all.values()];
  }

  get(id: string): Sandbox | undefined {
    return this.#all.get(id);
  }

  /** True while the sandbox is complete and its pause process runs. */
  isReady(sandbox: Sandbox): boolean {
    return sandbox.state === 'ready' && sandbox.pause !== undefined && isAlive(sandbox.pause);
  }

  /** Looks for sandboxes whose pause process has ended. */
  checkLost(): void {
    for (const sandbox of this.#all.values()) {
      if (sandbox.state !== 'ready' || this.#lost.has(sandbox.id) || this.isReady(sandbox)) continue;
      this.#lost.add(sandbox.id);
      this.#onLost(sandbox);
    }
  }

  /** Directory for what belongs to one sandbox. */
  dirOf(id: string): string {
    return join(this.#dir, id);
  }

  /** Makes the namespaces, starts the pause process and sets up the network. Nothing is left behind on failure. */
  async create(spec: SandboxSpec): Promise<Sandbox> {
    const id = newId();
    const netnsPath = spec.hostNetwork ? '' : join(this.#netnsDir, id);
    const draft: Sandbox = {
      ...spec,
      id,
      createdAt: Date.now(),
      state: 'creating',
      netnsPath,
      pause: undefined,
      ips: [],
    };
    mkdirSync(join(this.dirOf(id), 'shm'), { recursive: true });
    this.#put(draft);
    try {
      if (!spec.hostIPC) mount('shm', join(this.dirOf(id), 'shm'), 'tmpfs', 2 | 4 | 8, 'mode=1777,size=65536k');
      const ns = spec.hostNetwork ? undefined : NetNs.create(netnsPath);
      let pause: Promise<ProcessId>;
      try {
        if (ns !== undefined) this.#setSysctls(ns, spec.sysctls);
        pause = this.#startPause(spec, ns);
      } finally {
        ns?.close();
      }
      const network = spec.hostNetwork ? Promise.resolve({ ips: [] }) : this.#network.setup(requestOf(draft));
      const [held, connected] = await Promise.allSettled([pause, network]);
      if (held.status === 'fulfilled') this.#put({ ...draft, pause: held.value });
      if (held.status === 'rejected') throw held.reason;
      if (connected.status === 'rejected') throw connected.reason;
      const sandbox: Sandbox = { ...draft, pause: held.value, ips: connected.value.ips, state: 'ready' };
      this.#put(sandbox);
      return sandbox;
    } catch (error) {
      await this.remove(id).catch((cause: unknown) => {
        this.#log.warn('cannot clear a sandbox that failed; it is tried again', { sandbox: id, error: cause });
      });
      throw error;
    }
  }

  /** Takes the network away and ends the pause process. Safe to repeat; when it fails, the record stays for a retry. */
  async stop(id: string): Promise<void> {
    const sandbox = this.#all.get(id);
    if (sandbox === undefined) return;
    if (sandbox.state === 'ready') this.#put({ ...sandbox, state: 'stopped' });
    if (!sandbox.hostNetwork) {
      // After a restart of the machine the file is there and the namespace is not.
      if (!isNamespaceFile(sandbox.netnsPath)) rmSync(sandbox.netnsPath, { force: true });
      await this.#network.teardown(requestOf(sandbox));
      NetNs.remove(sandbox.netnsPath);
    }
    if (sandbox.pause !== undefined) signalProcess(sandbox.pause, 'SIGKILL');
  }

  /** Stops the sandbox and forgets it. */
  async remove(id: string): Promise<void> {
    await this.stop(id);
    try {
      umount2(join(this.dirOf(id), 'shm'), MNT_DETACH);
    } catch (error) {
      if (!isKernelError(error, 'EINVAL') && !isKernelError(error, 'ENOENT')) throw error;
    }
    await rm(this.dirOf(id), { recursive: true, force: true });
    this.#all.delete(id);
    this.#lost.delete(id);
  }

  #put(sandbox: Sandbox): void {
    writeRecord(join(this.dirOf(sandbox.id), FILE), sandbox);
    this.#all.set(sandbox.id, sandbox);
  }

  #setSysctls(ns: NetNs, extra: Readonly<Record<string, string>>): void {
    // containerd's defaults: ping and low ports without privileges. In a user namespace only mapped groups can be named.
    for (const range of ['0 2147483647', '0 65535', '0 0']) {
      try {
        writeSysctl('net.ipv4.ping_group_range', range, ns);
        break;
      } catch {}
    }
    try {
      writeSysctl('net.ipv4.ip_unprivileged_port_start', '0', ns);
    } catch (error) {
      this.#log.debug('low ports need privileges', { error });
    }
    for (const [key, value] of Object.entries(extra)) if (key.startsWith('net.')) writeSysctl(key, value, ns);
  }

  #startPause(spec: SandboxSpec, ns: NetNs | undefined): Promise<ProcessId> {
    const { busybox, catatonit } = this.#tools;
    const ownPid = spec.shareProcessNamespace && !spec.hostPID;
    const flags = ['-u', ...(spec.hostIPC ? [] : ['-i']), ...(ownPid ? ['-p', '-f'] : [])];
    const sh = [busybox, 'sh', '-c', PAUSE, spec.hostname, catatonit];
    const args = ['unshare', ...flags, ...sh];
    const options: SpawnOptions = {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: { PATH: '/bin' },
    };
    const child = ns === undefined ? spawn(busybox, args, options) : spawnInNetNs(ns, busybox, args, options);
    child.unref();
    return new Promise((resolve, reject) => {
      let errors = '';
      const fail = (why: string): void =>
        reject(
          new WeftError({
            code: 'PAUSE_FAILED',
            message: `cannot start the pause process of pod ${spec.namespace}/${spec.name}: ${why}`,
          }),
        );
      child.once('error', (error) => fail(error.message));
      child.once('exit', (code, signal) => fail(errors.trim() || `ended with ${signal ?? `code ${code}`}`));
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        errors += text;
      });
      child.stdout?.once('data', () => {
        const pid = ownPid ? childrenOf(child.pid as number)[0] : child.pid;
        const id = pid === undefined ? undefined : identify(pid);
        child.stdout?.destroy();
        child.stderr?.destroy();
        child.once('exit', () => this.checkLost());
        if (id === undefined) fail('it ended at once');
        else resolve(id);
      });
    });
  }
}

const NSFS_MAGIC = 0x6e736673;

function isNamespaceFile(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

function requestOf(sandbox: Sandbox): SandboxNetworkRequest {
  return {
    id: sandbox.id,
    netnsPath: sandbox.netnsPath,
    namespace: sandbox.namespace,
    name: sandbox.name,
    uid: sandbox.uid,
    annotations: sandbox.annotations,
    portMappings: sandbox.portMappings,
    cniArgs: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAMESPACE', sandbox.namespace],
      ['K8S_POD_NAME', sandbox.name],
      ['K8S_POD_INFRA_CONTAINER_ID', sandbox.id],
      ['K8S_POD_UID', sandbox.uid],
    ],
  };
}
