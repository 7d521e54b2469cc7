import type { Container as ContainerDef, Pod } from '@weft/kube';
import type { Container } from '../runtime/index.ts';
import { type NodeContext, podEvent } from './context.ts';
import type { KillReason } from './decide.ts';
import type { PodHealth } from './health.ts';
import { runHook } from './hooks.ts';
import { allContainers, allStatuses, definitionOf, podText } from './pod.ts';
import type { PodSandbox } from './pod-sandbox.ts';
import type { Setbacks } from './setbacks.ts';
import { imageFor, startContainer } from './starter.ts';
import { endContainers } from './terminate.ts';

const KILL_TEXT: Record<KillReason, (name: string) => string> = {
  liveness: (name) => `Container ${name} failed liveness probe, will be restarted`,
  startup: (name) => `Container ${name} failed startup probe, will be restarted`,
  postStart: () => 'FailedPostStartHook',
  changed: (name) => `Container ${name} definition changed, will be restarted`,
};

export interface PodStartsOptions {
  readonly context: NodeContext;
  readonly podDir: string;
  readonly logDir: string;
  readonly pod: () => Pod;
  readonly sandbox: PodSandbox;
  readonly health: PodHealth;
  readonly setbacks: Setbacks;
  /** Resolves when the volumes are set up. */
  readonly volumes: () => Promise<void>;
  /** True once the pod is to have nothing new. */
  readonly stopping: () => boolean;
  readonly onChange: () => void;
}

/** Starts the containers of one pod, and ends those that are to be started again. */
export class PodStarts {
  readonly #options: PodStartsOptions;
  readonly #starting = new Map<string, Promise<void>>();
  readonly #killing = new Set<string>();
  readonly #abort = new AbortController();

  constructor(options: PodStartsOptions) {
    this.#options = options;
  }

  /** Names of the containers whose start is under way. */
  get names(): ReadonlySet<string> {
    return new Set(this.#starting.keys());
  }

  /** Gives up what is only being prepared. */
  cancel(): void {
    this.#abort.abort();
  }

  /** Resolves when nothing is being started any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#starting.values());
  }

  ended(container: Container): void {
    this.#killing.delete(container.id);
  }

  /** Starts a container of the pod. `before` are those of its name that there were, oldest first. */
  start(name: string, before: readonly Container[]): void {
    const { pod, setbacks, onChange } = this.#options;
    const found = allContainers(pod()).find((c) => c.container.name === name);
    if (found === undefined) return;
    const { container: def, init } = found;
    const running = this.#start(def, init, before)
      .catch((error: unknown) => setbacks.failed(def, error))
      .finally(() => {
        this.#starting.delete(name);
        onChange();
      });
    this.#starting.set(name, running);
  }

  /** Ends a running container, which is started again if its pod's policy wants it. */
  kill(name: string, id: string, reason: KillReason): void {
    if (this.#killing.has(id)) return;
    this.#killing.add(id);
    const { context, sandbox } = this.#options;
    const pod = this.#options.pod();
    const def = definitionOf(pod, name);
    const probe = reason === 'liveness' ? def?.livenessProbe : reason === 'startup' ? def?.startupProbe : undefined;
    const seconds = probe?.terminationGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
    podEvent(context, pod, 'Normal', 'Killing', KILL_TEXT[reason](name), name);
    const ends = Date.now() + seconds * 1000;
    const input = { context, pod, podIP: sandbox.ip, graceEndsAt: () => ends, only: id, quiet: true };
    endContainers(input).catch((error: unknown) => {
      this.#killing.delete(id);
      context.log.error('cannot end a container', { pod: podText(pod), container: name, error });
    });
  }

  async #start(def: ContainerDef, init: boolean, before: readonly Container[]): Promise<void> {
    const { context, podDir, logDir, setbacks, stopping, volumes } = this.#options;
    const pod = this.#options.pod();
    const sandbox = this.#options.sandbox.current;
    const { files } = this.#options.sandbox;
    if (sandbox === undefined || files === undefined) return;
    const last = before.at(-1);
    const known = allStatuses(pod.status).find((s) => s.name === def.name);
    // Without a record on disk the API server still knows how often it was started.
    const attempt = last !== undefined ? last.attempt + 1 : known?.containerID ? known.restartCount + 1 : 0;
    const [image] = await Promise.all([imageFor(context, pod, def, this.#abort.signal), volumes()]);
    if (stopping()) return;
    setbacks.starting(def, last);
    const input = { pod, def, init, attempt, sandbox, image, files, podDir, logDir, stopped: stopping };
    const container = await startContainer(context, input);
    setbacks.started(def);
    await this.#started(container, def);
  }

  async #started(container: Container, def: ContainerDef): Promise<void> {
    const { context, health, sandbox } = this.#options;
    const { runtime } = context;
    const hook = def.lifecycle?.postStart;
    let failure: string | undefined;
    if (hook !== undefined && container.state === 'running') {
      const ask = { runtime, containerId: container.id, container: def, podIP: sandbox.ip };
      failure = await runHook(hook, ask, 0x7fffffff, this.#abort.signal);
    }
    const now = runtime.containers.get(container.id);
    if (now?.state !== 'running') return;
    health.watch(now, def);
    if (failure === undefined) return;
    const text = `PostStartHook failed: ${failure}`;
    podEvent(context, this.#options.pod(), 'Warning', 'FailedPostStartHook', text, def.name);
    health.condemn(container.id, 'postStart');
  }
}
