import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { mount, NetNs } from '@weft/kernel';
import { errorMessage, type Logger } from '@weft/plan';
import type { ImageStore, StoredImage } from '../images/index.ts';
import { attachStdin, resizeTerminal } from './attach.ts';
import { type Container, Containers, type ContainerSpec } from './container.ts';
import {
  execInContainer,
  type ExecContext,
  type ExecOptions,
  type ExecResult,
  type ExecSession,
  execSync,
} from './exec.ts';
import type { PodNetwork } from './network.ts';
import { type Sandbox, Sandboxes, type SandboxSpec } from './sandbox.ts';
import { rotateLog } from './rotate.ts';
import { findTools, type Tools } from './tools.ts';

export interface RuntimeOptions {
  /** Kept across restarts of the node: records, writable layers. */
  readonly dataDir: string;
  /** Sockets and mounts. */
  readonly runDir: string;
  readonly images: ImageStore;
  readonly network: PodNetwork;
  readonly log: Logger;
  /** True in a mount namespace of the cluster's own, where the runtime may cover /sys/fs/cgroup. */
  readonly ownMounts: boolean;
  /** Called once for every container that ends, also for those that ended while the node was down. */
  readonly onExit?: (container: Container) => void;
  /** Called once for a sandbox that is not usable any more, because its pause process has ended by itself. */
  readonly onSandboxLost?: (sandbox: Sandbox) => void;
}

/** Time between looks for containers and sandboxes that ended without a word, in milliseconds. */
const LOST_CHECK_MS = 5000;

/**
 * Pods on this node, as Kubernetes' CRI has them: sandboxes with containers in them. Everything survives the end of
 * this process; `open` finds it again.
 */
export class Runtime {
  readonly sandboxes: Sandboxes;
  readonly containers: Containers;
  readonly images: ImageStore;
  readonly tools: Tools;
  readonly #exec: ExecContext;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: RuntimeOptions) {
    this.tools = findTools();
    this.images = options.images;
    this.#log = options.log;
    const state = join(options.dataDir, 'runtime');
    const runcRoot = join(options.runDir, 'runc');
    this.#exec = {
      tools: this.tools,
      runcRoot,
      tmpDir: join(options.runDir, 'exec'),
      bundleOf: (id) => this.containers.bundleOf(id),
    };
    this.sandboxes = new Sandboxes({
      dir: join(state, 'sandboxes'),
      netnsDir: join(options.runDir, 'netns'),
      network: options.network,
      tools: this.tools,
      log: options.log,
      onLost: (sandbox) => options.onSandboxLost?.(sandbox),
    });
    this.containers = new Containers({
      dir: join(state, 'containers'),
      exitDir: join(state, 'exits'),
      runcRoot,
      tools: this.tools,
      log: options.log,
      sandboxDir: (id) => this.sandboxes.dirOf(id),
      onExit: (container) => options.onExit?.(container),
    });
  }

  /** Opens the runtime and clears what an earlier process left half made. */
  static async open(options: RuntimeOptions): Promise<Runtime> {
    if (options.ownMounts) hideCgroups(options.log);
    const runtime = new Runtime(options);
    await runtime.#clearHalfMade(options.runDir);
    runtime.containers.start();
    runtime.#timer = setInterval(() => {
      runtime.containers.checkLost();
      runtime.sandboxes.checkLost();
    }, LOST_CHECK_MS);
    runtime.#timer.unref();
    return runtime;
  }

  /** Stops watching. Pods go on. */
  close(): void {
    clearInterval(this.#timer);
    this.containers.stopWatching();
  }

  runSandbox(spec: SandboxSpec): Promise<Sandbox> {
    return this.sandboxes.create(spec);
  }

  async createContainer(sandbox: Sandbox, image: StoredImage, spec: ContainerSpec): Promise<Container> {
    return this.containers.create(sandbox, image, await this.images.rootfs(image), spec);
  }

  startContainer(id: string): Promise<Container> {
    return this.containers.run(id);
  }

  exec(id: string, options: ExecOptions): ExecSession {
    return execInContainer(this.#exec, id, options);
  }

  /** Input for a container's own process. Throws when it was not made with `stdin` or has ended. */
  attachStdin(id: string): Writable {
    return attachStdin(this.containers.bundleOf(id));
  }

  /** Sets the size of a container's own terminal. */
  resize(id: string, columns: number, rows: number): void {
    resizeTerminal(this.containers.bundleOf(id), columns, rows);
  }

  /** Begins a new log file for every running container whose log has grown beyond `maxBytes`. */
  async rotateLogs(maxBytes: number): Promise<void> {
    for (const { id, state, logPath } of this.containers.list()) {
      if (state !== 'running') continue;
      await rotateLog(this.containers.bundleOf(id), logPath, maxBytes).catch((error: unknown) => {
        this.#log.warn('cannot rotate a log', { container: id, error: errorMessage(error) });
      });
    }
  }

  execSync(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    return execSync(this.#exec, id, command, timeoutMs);
  }

  /** Ends a sandbox with everything in it. Its containers stay known, as ended ones, for their logs and exit codes. */
  async retireSandbox(id: string): Promise<void> {
    await Promise.all(this.containers.list(id).map((container) => this.containers.stop(container.id, 0)));
    await this.sandboxes.remove(id);
  }

  /** Ends a sandbox with everything in it, and forgets it. */
  async removeSandbox(id: string): Promise<void> {
    await Promise.all(this.containers.list(id).map((container) => this.containers.remove(container.id)));
    await this.sandboxes.remove(id);
  }

  /** Ends everything. For the end of a node that will not come back. */
  async removeAll(): Promise<void> {
    await Promise.all(this.sandboxes.list().map((sandbox) => this.removeSandbox(sandbox.id)));
    await Promise.all(this.containers.list().map((container) => this.containers.remove(container.id)));
  }

  async #clearHalfMade(runDir: string): Promise<void> {
    rmSync(this.#exec.tmpDir, { recursive: true, force: true });
    for (const container of this.containers.list()) {
      if (container.state === 'exited') continue;
      const orphan = this.sandboxes.get(container.sandboxId) === undefined;
      if (container.state !== 'created' && !orphan) continue;
      // Its monitor may be there with a first process that waits for a start nobody will give.
      const pid = Number(readTextOr(join(this.containers.bundleOf(container.id), 'pid')) || '0');
      if (pid > 1 && container.state === 'created' && isWaitingInit(pid)) process.kill(pid, 'SIGKILL');
      await this.containers.remove(container.id);
    }
    for (const sandbox of this.sandboxes.list()) {
      if (sandbox.state === 'ready') continue;
      this.#log.info('removing a sandbox that was left half made', { sandbox: sandbox.id, pod: sandbox.name });
      await this.removeSandbox(sandbox.id).catch((error: unknown) => {
        this.#log.warn('cannot remove a sandbox', { sandbox: sandbox.id, error: errorMessage(error) });
      });
    }
    const netnsDir = join(runDir, 'netns');
    for (const name of readdirSync(netnsDir)) {
      if (this.sandboxes.get(name) === undefined && /^[0-9a-f]{64}$/.test(name)) NetNs.remove(join(netnsDir, name));
    }
  }
}

function readTextOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Between create and start a container's first process is still runc's own. */
function isWaitingInit(pid: number): boolean {
  return readTextOr(`/proc/${pid}/cmdline`).split('\0').at(1) === 'init';
}

/**
 * Puts a read-only cgroup2 over /sys/fs/cgroup so that runc makes no cgroups: the lab limits no resources, a container
 * starts 8 ms sooner, and nothing is left behind. In a user namespace the mount is refused, and so are cgroups.
 */
function hideCgroups(log: Logger): void {
  try {
    const mounts = readFileSync('/proc/self/mounts', 'utf8');
    if (/^\S+ \/sys\/fs\/cgroup cgroup2 ro/m.test(mounts)) return;
    mount('cgroup2', '/sys/fs/cgroup', 'cgroup2', 1);
  } catch (error) {
    log.debug('cgroups stay in view', { error: errorMessage(error) });
  }
}
