import { mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Logger, WeftError } from '@weft/plan';
import type { StoredImage } from '../images/index.ts';
import { ownCapabilities } from './capabilities.ts';
import { createWithConmon, isMonitorAlive, releaseContainer, startError } from './conmon.ts';
import { type Exit, Exits } from './exits.ts';
import { mountOverlay, unmountOverlay } from './overlay.ts';
import { newId, readRecords, writeRecord } from './files.ts';
import { identify, isAlive, namespaceOf, type ProcessId, processesInMountNs, signalProcess } from './process.ts';
import type { Sandbox } from './sandbox.ts';
import { type ContainerMount, runtimeSpec } from './spec.ts';
import type { Tools } from './tools.ts';
import { resolveUser, type UserRequest } from './user.ts';

/** What a container is made from. */
export interface ContainerSpec {
  readonly name: string;
  /** How often this container of the pod was started before. */
  readonly attempt: number;
  /** Empty where the image's own entry point holds. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  /** `NAME=value`; comes after the image's own. */
  readonly env: readonly string[];
  readonly workingDir?: string;
  readonly user: Omit<UserRequest, 'imageUser'>;
  readonly mounts: readonly ContainerMount[];
  /** Id of a running container of the same sandbox whose process namespace it joins. */
  readonly processesOf?: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly privileged: boolean;
  readonly readOnlyRootfs: boolean;
  readonly noNewPrivileges: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly unmasked?: boolean;
  readonly oomScoreAdj?: number;
  readonly logPath: string;
  /** Kept with the container for its owner, who finds it again after a restart. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A container as it is kept on disk. Times are milliseconds since the epoch. */
export interface Container {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: 'created' | 'running' | 'exited';
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly finishedAt?: number;
  readonly exitCode?: number;
  /** Why it ended when the exit code does not say: `StartError`, `Unknown`. */
  readonly reason?: string;
  readonly message?: string;
  readonly process?: ProcessId;
  readonly mountNs?: string;
  readonly sharedPid: boolean;
  readonly image: string;
  readonly imageId: string;
  readonly stopSignal: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly logPath: string;
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] };
  readonly labels: Readonly<Record<string, string>>;
}

const FILE = 'container.json';
const LOST_MS = 3000;

export interface ContainersOptions {
  readonly dir: string;
  readonly exitDir: string;
  readonly runcRoot: string;
  readonly tools: Tools;
  readonly log: Logger;
  /** Where the sandbox keeps its own things, such as `shm`. */
  readonly sandboxDir: (id: string) => string;
  readonly onExit: (container: Container) => void;
}

/** Makes, starts, finds again, stops and removes containers. */
export class Containers {
  readonly #options: ContainersOptions;
  readonly #all = new Map<string, Container>();
  readonly #exits: Exits;
  readonly #waiters = new Map<string, ((container: Container) => void)[]>();
  readonly #missing = new Map<string, number>();
  readonly #capabilities = ownCapabilities();

  constructor(options: ContainersOptions) {
    this.#options = options;
    mkdirSync(options.dir, { recursive: true });
    mkdirSync(options.runcRoot, { recursive: true, mode: 0o711 });
    for (const container of readRecords<Container>(options.dir, FILE).records) this.#all.set(container.id, container);
    this.#exits = new Exits(options.exitDir, (id, exit) => this.#ended(id, exit));
  }

  /** Begins to watch for exits; those that happened meanwhile are reported at once. */
  start(): void {
    this.#exits.start();
    this.checkLost();
  }

  stopWatching(): void {
    this.#exits.stop();
  }

  list(sandboxId?: string): Container[] {
    const all = [...this.#all.values()];
    return sandboxId === undefined ? all : all.filter((c) => c.sandboxId === sandboxId);
  }

  get(id: string): Container | undefined {
    return this.#all.get(id);
  }

  bundleOf(id: string): string {
    return join(this.#options.dir, id);
  }

  /** The container's root as the node sees it. */
  rootfsOf(id: string): string {
    return join(this.bundleOf(id), 'rootfs');
  }

  /** Prepares root file system and configuration. Nothing runs yet. */
  async create(sandbox: Sandbox, image: StoredImage, lower: string, spec: ContainerSpec): Promise<Container> {
    const config = image.config.config ?? {};
    const own = spec.command !== undefined && spec.command.length > 0;
    const args = own
      ? [...(spec.command ?? []), ...(spec.args ?? [])]
      : [
          ...(config.Entrypoint ?? []),
          ...(spec.args !== undefined && spec.args.length > 0 ? spec.args : (config.Cmd ?? [])),
        ];
    if (args.length === 0) throw new WeftError({ code: 'NO_COMMAND', message: 'no command specified' });
    const user = await resolveUser(lower, {
      ...spec.user,
      ...(config.User === undefined ? {} : { imageUser: config.User }),
    });
    const id = newId();
    const bundle = this.bundleOf(id);
    for (const name of ['upper', 'work', 'rootfs']) mkdirSync(join(bundle, name), { recursive: true });
    mkdirSync(dirname(spec.logPath), { recursive: true });
    const pidOf = sandbox.pause?.pid;
    if (pidOf === undefined)
      throw new WeftError({ code: 'SANDBOX_GONE', message: `sandbox ${sandbox.id} has no pause process` });
    const shared = sandbox.shareProcessNamespace && !sandbox.hostPID;
    const joined = shared ? pidOf : this.#processOf(spec.processesOf);
    const shm: ContainerMount = {
      source: sandbox.hostIPC ? '/dev/shm' : join(this.#options.sandboxDir(sandbox.id), 'shm'),
      destination: '/dev/shm',
    };
    const container: Container = {
      id,
      sandboxId: sandbox.id,
      name: spec.name,
      attempt: spec.attempt,
      state: 'created',
      createdAt: Date.now(),
      sharedPid: joined !== undefined || sandbox.hostPID,
      image: image.ref,
      imageId: image.imageId,
      stopSignal: config.StopSignal ?? 'SIGTERM',
      tty: spec.tty,
      stdin: spec.stdin,
      stdinOnce: spec.stdinOnce,
      logPath: spec.logPath,
      user,
      labels: spec.labels,
    };
    this.#put(container);
    try {
      mountOverlay(bundle, lower);
      const json = runtimeSpec({
        args,
        env: [...(config.Env ?? []), ...(spec.tty ? ['TERM=xterm'] : []), `HOSTNAME=${sandbox.hostname}`, ...spec.env],
        cwd: spec.workingDir ?? (config.WorkingDir || '/'),
        user,
        tty: spec.tty,
        privileged: spec.privileged,
        readOnlyRootfs: spec.readOnlyRootfs,
        noNewPrivileges: spec.noNewPrivileges,
        ...(spec.capabilities === undefined ? {} : { capabilities: spec.capabilities }),
        availableCapabilities: this.#capabilities,
        ...(spec.unmasked === undefined ? {} : { unmasked: spec.unmasked }),
        ...(spec.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.oomScoreAdj }),
        mounts: [...(spec.mounts.some((m) => m.destination === '/dev/shm') ? [] : [shm]), ...spec.mounts],
        rootfs: join(bundle, 'rootfs'),
        join: {
          ...(sandbox.hostNetwork ? {} : { network: sandbox.netnsPath }),
          uts: `/proc/${pidOf}/ns/uts`,
          ...(sandbox.hostIPC ? {} : { ipc: `/proc/${pidOf}/ns/ipc` }),
          ...(sandbox.hostPID ? { pid: false } : joined === undefined ? {} : { pid: `/proc/${joined}/ns/pid` }),
        },
      });
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(json));
    } catch (error) {
      await this.remove(id);
      throw error;
    }
    return container;
  }

  /**
   * Runs a created container. When the runtime refuses, the container becomes an exited one with code 128 and reason
   * StartError as containerd has it, and the runtime's words are thrown.
   */
  async run(id: string): Promise<Container> {
    const container = this.#must(id);
    const { tools, runcRoot, exitDir } = this.#options;
    try {
      const pid = await createWithConmon({
        tools,
        runcRoot,
        exitDir,
        id,
        bundle: this.bundleOf(id),
        logPath: container.logPath,
        tty: container.tty,
        stdin: container.stdin,
        stdinOnce: container.stdinOnce,
      });
      const process = identify(pid);
      const mountNs = namespaceOf(pid, 'mnt');
      if (process === undefined)
        throw new WeftError({ code: 'START_FAILED', message: 'the container ended before it was started' });
      const running: Container = {
        ...container,
        state: 'running',
        startedAt: Date.now(),
        process,
        ...(mountNs === undefined ? {} : { mountNs }),
      };
      this.#put(running);
      await releaseContainer(runcRoot, id, () => isAlive(process));
      // It may have ended already; then the record says so.
      return this.#must(id);
    } catch (error) {
      const message = startError(error);
      if (this.#must(id).state !== 'exited') {
        this.#finish(this.#must(id), {
          exitCode: 128,
          reason: 'StartError',
          message,
          finishedAt: Date.now(),
          startedAt: 0,
        });
      }
      throw new WeftError({ code: 'START_FAILED', message, cause: error });
    }
  }

  /** Resolves when the container has ended. */
  wait(id: string): Promise<Container> {
    const container = this.#must(id);
    if (container.state === 'exited') return Promise.resolve(container);
    return new Promise((resolve) => {
      const list = this.#waiters.get(id) ?? [];
      list.push(resolve);
      this.#waiters.set(id, list);
    });
  }

  /** Sends a signal to the first process. False when it is gone. */
  signal(id: string, signal: NodeJS.Signals | number): boolean {
    const container = this.#all.get(id);
    return (
      container?.state === 'running' && container.process !== undefined && signalProcess(container.process, signal)
    );
  }

  /** Asks the container to end, and kills it when it has not after `graceMs`. Resolves when it has ended. */
  async stop(id: string, graceMs: number, signal?: string): Promise<Container> {
    const container = this.#must(id);
    if (container.state !== 'running') {
      return container.state === 'exited'
        ? container
        : this.#finish(container, { exitCode: 0, finishedAt: Date.now() });
    }
    const ended = this.wait(id);
    let timer: NodeJS.Timeout | undefined;
    if (graceMs > 0) {
      this.signal(id, signalNumber(signal ?? container.stopSignal));
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(resolve, graceMs, 'late');
      });
      const first = await Promise.race([ended, late]);
      clearTimeout(timer);
      if (first !== 'late') return first;
    }
    if (!this.signal(id, 'SIGKILL')) this.#exits.scan();
    const sweep = setInterval(() => this.checkLost(), 500);
    try {
      return await ended;
    } finally {
      clearInterval(sweep);
    }
  }

  /** Removes an ended container and everything it had on disk except its log. */
  async remove(id: string): Promise<void> {
    const container = this.#all.get(id);
    if (container === undefined) return;
    if (container.state === 'running') await this.stop(id, 0);
    unmountOverlay(this.bundleOf(id));
    await rm(this.bundleOf(id), { recursive: true, force: true });
    await rm(join(this.#options.runcRoot, id), { recursive: true, force: true });
    this.#exits.forget(id);
    this.#all.delete(id);
  }

  /**
   * Finds containers that ended without their monitor's word: it was killed, or the machine was restarted. They count
   * as ended with code 255 and reason Unknown, as containerd has it. A monitor that still runs gets time to speak.
   */
  checkLost(): void {
    this.#exits.scan();
    const now = Date.now();
    for (const container of this.#all.values()) {
      if (container.state !== 'running' || container.process === undefined || isAlive(container.process)) {
        this.#missing.delete(container.id);
        continue;
      }
      const since = this.#missing.get(container.id) ?? now;
      this.#missing.set(container.id, since);
      if (isMonitorAlive(this.bundleOf(container.id)) && now - since < LOST_MS) continue;
      this.#missing.delete(container.id);
      // The last thing it did may have been to write the exit code.
      const exit = this.#exits.read(container.id);
      if (exit !== undefined) this.#ended(container.id, exit);
      else this.#finish(container, { exitCode: 255, finishedAt: now, reason: 'Unknown' });
    }
  }

  #ended(id: string, exit: Exit): void {
    const container = this.#all.get(id);
    if (container === undefined || container.state === 'exited') return;
    this.#finish(container, { exitCode: exit.code, finishedAt: exit.at });
  }

  #finish(container: Container, change: Partial<Container>): Container {
    if (container.sharedPid && container.mountNs !== undefined) {
      // In a shared process namespace the end of the first process does not take the others with it.
      for (const pid of processesInMountNs(container.mountNs)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {}
      }
    }
    const ended: Container = { ...container, ...change, state: 'exited' };
    this.#put(ended);
    this.#release(container.id);
    for (const resolve of this.#waiters.get(container.id) ?? []) resolve(ended);
    this.#waiters.delete(container.id);
    this.#options.onExit(ended);
    return ended;
  }

  /** Gives back the root file system and the runtime's state of an ended container; what it wrote is gone. */
  #release(id: string): void {
    const bundle = this.bundleOf(id);
    try {
      unmountOverlay(bundle);
    } catch (error) {
      this.#options.log.warn('cannot unmount the root of an ended container', { container: id, error });
      return;
    }
    const dirs = [...['upper', 'work', 'rootfs'].map((name) => join(bundle, name)), join(this.#options.runcRoot, id)];
    for (const dir of dirs) {
      rm(dir, { recursive: true, force: true }).catch((error: unknown) => {
        this.#options.log.debug('left behind by an ended container', { dir, error });
      });
    }
  }

  #put(container: Container): void {
    writeRecord(join(this.bundleOf(container.id), FILE), container);
    this.#all.set(container.id, container);
  }

  #processOf(id: string | undefined): number | undefined {
    if (id === undefined) return undefined;
    const { process, state } = this.#must(id);
    if (state !== 'running' || process === undefined)
      throw new WeftError({ code: 'CONTAINER_GONE', message: `container ${id} does not run` });
    return process.pid;
  }

  #must(id: string): Container {
    const container = this.#all.get(id);
    if (container === undefined)
      throw new WeftError({ code: 'NO_SUCH_CONTAINER', message: `no such container: ${id}` });
    return container;
  }
}

/** A signal's number from the forms images use: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`. */
export function signalNumber(name: string): NodeJS.Signals | number {
  if (/^\d+$/.test(name)) return Number(name);
  const full = name.toUpperCase().startsWith('SIG') ? name.toUpperCase() : `SIG${name.toUpperCase()}`;
  const realTime = /^SIGRTMIN(?:\+(\d+))?$/.exec(full);
  if (realTime !== null) return 34 + Number(realTime[1] ?? 0);
  return full as NodeJS.Signals;
}
