import type { Pod } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Sandbox } from '../runtime/index.ts';
import { type NodeContext, podEvent } from './context.ts';
import type { PodFiles } from './mounts.ts';
import { uidOf } from './pod.ts';
import { sandboxSpec } from './sandbox-spec.ts';
import { writePodFiles } from './starter.ts';

/** Milliseconds between looks at a network that is not ready. */
const NETWORK_POLL_MS = 100;
/** A network that is ready within this time is not worth an event, in milliseconds. */
const NETWORK_PATIENCE_MS = 1000;
const RETRY_MS = [1000, 2000, 4000, 8000, 15_000];

export interface PodSandboxOptions {
  readonly context: NodeContext;
  readonly podDir: string;
  readonly pod: () => Pod;
  /** True once the pod is to have nothing new. */
  readonly stopping: () => boolean;
  /** Resolves when the volumes are set up; started together with the sandbox. */
  readonly volumes: () => Promise<void>;
  readonly onChange: () => void;
}

/** The sandbox of one pod: made, found again after a restart, and made anew when it was lost. */
export class PodSandbox {
  readonly #options: PodSandboxOptions;
  readonly #acceptedAt = Date.now();
  #id: string | undefined;
  #files: PodFiles | undefined;
  #creating: Promise<void> | undefined;
  #failures = 0;
  #retryAt = 0;

  constructor(options: PodSandboxOptions) {
    this.#options = options;
  }

  get id(): string | undefined {
    return this.#id;
  }

  get current(): Sandbox | undefined {
    return this.#id === undefined ? undefined : this.#options.context.runtime.sandboxes.get(this.#id);
  }

  get ready(): boolean {
    const sandbox = this.current;
    return sandbox !== undefined && this.#options.context.runtime.sandboxes.isReady(sandbox);
  }

  /** What containers see of their pod's network; undefined until there is a sandbox. */
  get files(): PodFiles | undefined {
    return this.#files;
  }

  /** Address of the pod; empty until it has one. */
  get ip(): string {
    const { context, pod } = this.#options;
    const ips = pod().spec.hostNetwork === true ? context.nodeIPs : (this.current?.ips ?? []);
    return ips[0] ?? '';
  }

  /** The creation under way, or undefined. */
  get creating(): Promise<void> | undefined {
    return this.#creating;
  }

  /** Finds the sandbox that an earlier process made. False when there is none. */
  adopt(writeFiles: boolean): boolean {
    const { context, pod, podDir } = this.#options;
    const uid = uidOf(pod());
    const mine = context.runtime.sandboxes.list().filter((s) => s.uid === uid);
    const newest = mine.sort((a, b) => a.attempt - b.attempt).at(-1);
    if (newest === undefined) return false;
    this.#id = newest.id;
    if (writeFiles) this.#files = writePodFiles(context, pod(), newest, podDir);
    return true;
  }

  /** Begins to make a sandbox. Returns the time of the next try when it is too soon after a failure. */
  create(now: number): number | undefined {
    if (this.#retryAt > now) return this.#retryAt;
    const { context, pod, onChange } = this.#options;
    this.#creating = this.#make()
      .catch((error: unknown) => {
        this.#retryAt = Date.now() + (RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] as number);
        this.#failures += 1;
        const message = `Failed to create pod sandbox: rpc error: code = Unknown desc = ${errorMessage(error)}`;
        podEvent(context, pod(), 'Warning', 'FailedCreatePodSandBox', message);
      })
      .finally(() => {
        this.#creating = undefined;
        onChange();
      });
    return undefined;
  }

  /** Gives the sandbox back. */
  async retire(): Promise<void> {
    if (this.current !== undefined) await this.#options.context.runtime.retireSandbox(this.current.id);
  }

  async #make(): Promise<void> {
    const { context, pod, podDir, stopping, volumes } = this.#options;
    const { runtime, nodeName, dns } = context;
    const old = this.current;
    if (old !== undefined) {
      const message = 'Pod sandbox changed, it will be killed and re-created.';
      podEvent(context, pod(), 'Normal', 'SandboxChanged', message);
      await runtime.retireSandbox(old.id);
      this.#id = undefined;
    }
    if (pod().spec.hostNetwork !== true) await this.#networkReady();
    if (stopping()) return;
    const spec = sandboxSpec(pod(), old === undefined ? 0 : old.attempt + 1, nodeName, dns.domain);
    const made = runtime.runSandbox(spec).catch((error: unknown) => {
      throw new Error(`failed to setup network for sandbox: ${errorMessage(error)}`);
    });
    // Started early; whoever needs the volumes waits for them and sees what went wrong.
    const [sandbox] = await Promise.all([made, volumes().catch(() => {})]);
    this.#id = sandbox.id;
    this.#failures = 0;
    this.#files = writePodFiles(context, pod(), sandbox, podDir);
  }

  async #networkReady(): Promise<void> {
    const { context, pod, stopping } = this.#options;
    let told = false;
    for (;;) {
      const problem = await context.network.check?.();
      if (problem === undefined || stopping()) return;
      if (!told && Date.now() - this.#acceptedAt > NETWORK_PATIENCE_MS) {
        told = true;
        const message = `network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: ${problem}`;
        podEvent(context, pod(), 'Warning', 'NetworkNotReady', message);
      }
      await new Promise((resolve) => setTimeout(resolve, NETWORK_POLL_MS));
    }
  }
}
