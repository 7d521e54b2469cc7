import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Container as ContainerDef, isStatus, type Pod, type PodStatus, resources } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { Container } from '../runtime/index.ts';
import { type NodeContext, podEvent } from './context.ts';
import { decide, type KillReason } from './decide.ts';
import { PodHealth } from './health.ts';
import { runHook } from './hooks.ts';
import { allContainers, graceSecondsOf, namespaceOf, podText, uidOf } from './pod.ts';
import { containersOf, lastWords, pruneContainers, viewsOf } from './pod-containers.ts';
import { PodSandbox } from './pod-sandbox.ts';
import { StatusPublisher } from './publisher.ts';
import { Setbacks } from './setbacks.ts';
import { imageFor, startContainer } from './starter.ts';
import { OWN_CONDITIONS, podStatus } from './status.ts';
import { type EndInput, endContainers } from './terminate.ts';
import { PodVolumes } from './volumes/pod-volumes.ts';

/** Seconds a pod gets that was deleted by force. */
const FORCED_GRACE_SECONDS = 2;
/** Ending a pod is tried again after this time, in milliseconds. */
const END_RETRY_MS = 2000;

const KILL_TEXT: Record<KillReason, (name: string) => string> = {
  liveness: (name) => `Container ${name} failed liveness probe, will be restarted`,
  startup: (name) => `Container ${name} failed startup probe, will be restarted`,
  postStart: () => 'FailedPostStartHook',
  changed: (name) => `Container ${name} definition changed, will be restarted`,
};

/** Leads one pod from its definition to running containers, and to its end. */
export class PodWorker {
  readonly uid: string;
  readonly #context: NodeContext;
  readonly #onDone: (worker: PodWorker) => void;
  readonly #podDir: string;
  readonly #logDir: string;
  readonly #publisher: StatusPublisher;
  readonly #health: PodHealth;
  readonly #volumes: PodVolumes;
  readonly #sandbox: PodSandbox;
  readonly #setbacks: Setbacks;
  readonly #acceptedAt = Date.now();
  readonly #starting = new Map<string, Promise<void>>();
  readonly #killing = new Set<string>();
  /** Last words by container id. */
  readonly #words = new Map<string, string>();
  readonly #abort = new AbortController();
  #pod: Pod;
  #failed: { reason: string; message: string } | undefined;
  /** The pod has run its course; nothing is started any more. */
  #terminal: boolean;
  /** The API server knows how this pod ended, and nothing is left here to say more. */
  readonly #frozen: boolean;
  #retired: Promise<void> | undefined;
  #ending: Promise<void> | undefined;
  #graceEndsAt = Number.POSITIVE_INFINITY;
  /** The object is not on the API server any more. */
  #gone = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #queued: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(context: NodeContext, pod: Pod, onDone: (worker: PodWorker) => void) {
    this.#context = context;
    this.#onDone = onDone;
    this.#pod = pod;
    this.uid = uidOf(pod);
    this.#podDir = join(context.dataDir, 'pods', this.uid);
    this.#logDir = join(context.dataDir, 'logs', `${namespaceOf(pod)}_${pod.metadata.name}_${this.uid}`);
    const podNow = (): Pod => this.#pod;
    const wake = (): void => this.wake();
    this.#publisher = new StatusPublisher(context, pod, () => this.remove());
    this.#health = new PodHealth(context, podNow, () => this.#sandbox.ip, wake);
    this.#volumes = new PodVolumes(context, this.#podDir, (message) =>
      podEvent(context, this.#pod, 'Warning', 'FailedMount', message),
    );
    const stopping = (): boolean => this.#stopping();
    const volumes = (): Promise<void> => this.#volumes.ready(this.#pod, stopping);
    this.#sandbox = new PodSandbox({ context, podDir: this.#podDir, pod: podNow, stopping, volumes, onChange: wake });
    this.#setbacks = new Setbacks(context, podNow, wake);
    this.#terminal = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    this.#frozen = this.#terminal && containersOf(context.runtime, this.uid).size === 0;
    this.#adopt();
  }

  get pod(): Pod {
    return this.#pod;
  }

  get sandboxId(): string | undefined {
    return this.#sandbox.id;
  }

  /** Status as this node knows it, which may be ahead of the API server. */
  get status(): PodStatus {
    return this.#publisher.latest ?? {};
  }

  /** The containers of one name, oldest first. */
  containers(name: string): readonly Container[] {
    return containersOf(this.#context.runtime, this.uid).get(name) ?? [];
  }

  update(pod: Pod): void {
    const before = this.#pod.metadata;
    this.#pod = pod;
    const { labels, annotations } = pod.metadata;
    const renamed = !sameValue([before.labels, before.annotations], [labels, annotations]);
    // Files of the downward API may show them.
    if (renamed && !this.#stopping()) void this.#volumes.refresh(pod);
    this.wake();
  }

  /** The object is gone from the API server: the pod ends without anybody to tell. */
  remove(): void {
    this.#gone = true;
    this.#publisher.close();
    this.#end(Math.min(graceSecondsOf(this.#pod), FORCED_GRACE_SECONDS));
  }

  /** An object has changed: `configmaps/ns/name` or `secrets/ns/name`. */
  objectChanged(key: string): void {
    this.#setbacks.objectChanged();
    if (this.#volumes.refersTo(key) && !this.#stopping()) void this.#volumes.refresh(this.#pod);
    this.wake();
  }

  containerEnded(container: Container): void {
    this.#health.forget(container.id);
    this.#killing.delete(container.id);
    const words = lastWords(this.#pod, this.#podDir, container);
    if (words !== undefined) this.#words.set(container.id, words);
    else void this.#wordsFromLog(container);
    this.wake();
  }

  /** Has a look at the pod soon; many wakes are one look. */
  wake(): void {
    if (this.#closed) return;
    this.#queued ??= setImmediate(() => {
      this.#queued = undefined;
      try {
        this.#sync();
      } catch (error) {
        this.#context.log.error('cannot bring a pod forward', { pod: podText(this.#pod), error });
        this.#wakeAt(Date.now() + 1000);
      }
    });
  }

  /** Stops leading the pod; what runs goes on. */
  close(): void {
    this.#closed = true;
    this.#cancel();
    clearTimeout(this.#timer);
    if (this.#queued !== undefined) clearImmediate(this.#queued);
    this.#health.freeze();
    this.#setbacks.close();
    this.#publisher.close();
  }

  /** Resolves when nothing is being started any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#starting.values(), this.#sandbox.creating, this.#ending]);
  }

  #adopt(): void {
    if (!this.#sandbox.adopt(!this.#terminal) || this.#terminal) return;
    const { initContainerStatuses = [], containerStatuses = [] } = this.#pod.status ?? {};
    for (const { container: def } of allContainers(this.#pod)) {
      const newest = this.containers(def.name).at(-1);
      if (newest === undefined) continue;
      const words = lastWords(this.#pod, this.#podDir, newest);
      if (words !== undefined) this.#words.set(newest.id, words);
      if (newest.state !== 'running') continue;
      const before = [...initContainerStatuses, ...containerStatuses].find(
        (s) => s.containerID === `runc://${newest.id}`,
      );
      this.#health.watch(newest, def, before && { started: before.started === true, ready: before.ready });
    }
  }

  #stopping(): boolean {
    return this.#ending !== undefined || this.#terminal || this.#closed;
  }

  /** Gives up what is only being prepared. */
  #cancel(): void {
    this.#abort.abort();
    this.#volumes.cancel();
  }

  #sync(): void {
    if (this.#pod.metadata.deletionTimestamp !== undefined) return this.#end(graceSecondsOf(this.#pod));
    if (this.#ending !== undefined) return;
    const now = Date.now();
    if (!this.#terminal) this.#checkDeadline(now);
    if (!this.#terminal) this.#advance(now);
    this.#publish();
    if (this.#terminal) this.#retire();
  }

  #advance(now: number): void {
    const containers = containersOf(this.#context.runtime, this.uid);
    const sandbox = this.#sandbox.current;
    const view = {
      sandbox: sandbox && { ready: this.#sandbox.ready },
      containers: viewsOf(containers, this.#sandbox.id),
      starting: new Set(this.#starting.keys()),
      creatingSandbox: this.#sandbox.creating !== undefined,
      started: this.#health.names((h) => h.started),
      unhealthy: this.#health.unhealthy(),
      backoffUntil: this.#setbacks.until(containers, now),
    };
    const decision = decide(this.#pod, view, now);
    if (decision.over) {
      this.#terminal = true;
      return;
    }
    if (decision.createSandbox) {
      const retryAt = this.#sandbox.create(now);
      if (retryAt !== undefined) this.#wakeAt(retryAt);
    }
    for (const { name, id, reason } of decision.kill) this.#kill(name, id, reason);
    for (const name of decision.start) this.#start(name, containers.get(name) ?? []);
    for (const [name, until] of decision.backoff) {
      this.#wakeAt(until);
      this.#setbacks.crashed(name, until);
    }
    for (const list of containers.values()) if (list.length > 2) void pruneContainers(this.#context.runtime, list);
  }

  #publish(): void {
    if (this.#gone || this.#frozen) return;
    const { nodeIPs } = this.#context;
    const sandbox = this.#sandbox.current;
    const latest = this.#publisher.latest ?? {};
    // Conditions of others come from the API server; our own may be older there than what was written from here.
    const own = (latest.conditions ?? []).filter((c) => OWN_CONDITIONS.has(c.type));
    const foreign = (this.#pod.status?.conditions ?? []).filter((c) => !OWN_CONDITIONS.has(c.type));
    const status = podStatus(
      {
        pod: { ...this.#pod, status: { ...latest, conditions: [...own, ...foreign] } },
        nodeIPs,
        sandbox: sandbox && { ready: this.#sandbox.ready, ips: sandbox.ips },
        containers: this.#shown(),
        waiting: this.#setbacks.waiting,
        started: this.#health.names((h) => h.started),
        ready: this.#health.names((h) => h.ready),
        messages: this.#words,
        acceptedAt: this.#acceptedAt,
        failed: this.#failed,
        terminal: this.#terminal || this.#ending !== undefined,
      },
      Date.now(),
    );
    this.#publisher.publish(status);
  }

  /** Containers as the status shows them: one whose postStart hook still runs has not started yet. */
  #shown(): Map<string, readonly Container[]> {
    const out = new Map<string, readonly Container[]>(containersOf(this.#context.runtime, this.uid));
    for (const name of this.#starting.keys()) {
      const list = out.get(name) ?? [];
      const newest = list.at(-1);
      if (newest === undefined || newest.state === 'exited' || this.#health.get(newest.id) !== undefined) continue;
      if (list.length === 1) out.delete(name);
      else out.set(name, list.slice(0, -1));
    }
    return out;
  }

  #checkDeadline(now: number): void {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    if (seconds === undefined) return;
    const begin = Date.parse(this.#pod.status?.startTime ?? '') || this.#acceptedAt;
    const end = begin + seconds * 1000;
    if (now < end) return this.#wakeAt(end);
    const message = 'Pod was active on the node longer than the specified deadline';
    this.#failed = { reason: 'DeadlineExceeded', message };
    podEvent(this.#context, this.#pod, 'Normal', 'DeadlineExceeded', message);
    this.#terminal = true;
  }

  /** Looks at the pod again at `at` or before. */
  #wakeAt(at: number): void {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const wait = Math.max(0, Math.min(at - Date.now(), 0x7fffffff));
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.wake();
    }, wait);
  }

  #start(name: string, before: readonly Container[]): void {
    const found = allContainers(this.#pod).find((c) => c.container.name === name);
    if (found === undefined) return;
    const { container: def, init } = found;
    const running = this.#startOne(def, init, before)
      .catch((error: unknown) => this.#setbacks.failed(def, error))
      .finally(() => {
        this.#starting.delete(name);
        this.wake();
      });
    this.#starting.set(name, running);
  }

  async #startOne(def: ContainerDef, init: boolean, before: readonly Container[]): Promise<void> {
    const pod = this.#pod;
    const sandbox = this.#sandbox.current;
    const { files } = this.#sandbox;
    if (sandbox === undefined || files === undefined) return;
    const last = before.at(-1);
    const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
    const known = statuses.find((s) => s.name === def.name);
    // Without a record on disk the API server still knows how often it was started.
    const attempt = last !== undefined ? last.attempt + 1 : known?.containerID ? known.restartCount + 1 : 0;
    const stopped = (): boolean => this.#stopping();
    const [image] = await Promise.all([
      imageFor(this.#context, pod, def, this.#abort.signal),
      this.#volumes.ready(pod, stopped),
    ]);
    if (stopped()) return;
    this.#setbacks.starting(def, last);
    const dirs = { podDir: this.#podDir, logDir: this.#logDir };
    const container = await startContainer(this.#context, {
      pod,
      def,
      init,
      attempt,
      sandbox,
      image,
      files,
      stopped,
      ...dirs,
    });
    this.#setbacks.started(def);
    await this.#afterStart(container, def);
  }

  async #afterStart(container: Container, def: ContainerDef): Promise<void> {
    const { runtime } = this.#context;
    const hook = def.lifecycle?.postStart;
    let failure: string | undefined;
    if (hook !== undefined && container.state === 'running') {
      const ask = { runtime, containerId: container.id, container: def, podIP: this.#sandbox.ip };
      failure = await runHook(hook, ask, 0x7fffffff, this.#abort.signal);
    }
    const now = runtime.containers.get(container.id);
    if (now?.state !== 'running') return;
    this.#health.watch(now, def);
    if (failure === undefined) return;
    podEvent(this.#context, this.#pod, 'Warning', 'FailedPostStartHook', `PostStartHook failed: ${failure}`, def.name);
    this.#health.condemn(container.id, 'postStart');
  }

  #kill(name: string, id: string, reason: KillReason): void {
    if (this.#killing.has(id)) return;
    this.#killing.add(id);
    const def = allContainers(this.#pod).find((c) => c.container.name === name)?.container;
    const probe = reason === 'liveness' ? def?.livenessProbe : reason === 'startup' ? def?.startupProbe : undefined;
    const seconds = probe?.terminationGracePeriodSeconds ?? this.#pod.spec.terminationGracePeriodSeconds ?? 30;
    podEvent(this.#context, this.#pod, 'Normal', 'Killing', KILL_TEXT[reason](name), name);
    const ends = Date.now() + seconds * 1000;
    endContainers(this.#endInput(() => ends, { only: id, quiet: true })).catch((error: unknown) => {
      this.#killing.delete(id);
      this.#context.log.error('cannot end a container', { pod: podText(this.#pod), container: name, error });
    });
  }

  #endInput(graceEndsAt: () => number, more: Pick<EndInput, 'only' | 'quiet'> = {}): EndInput {
    return { context: this.#context, pod: this.#pod, podIP: this.#sandbox.ip, graceEndsAt, ...more };
  }

  async #wordsFromLog(container: Container): Promise<void> {
    const def = allContainers(this.#pod).find((c) => c.container.name === container.name)?.container;
    if (def?.terminationMessagePolicy !== 'FallbackToLogsOnError' || container.exitCode === 0) return;
    const { logTail } = await import('./log-tail.ts');
    const words = await logTail(container.logPath);
    if (words === '') return;
    this.#words.set(container.id, words);
    this.wake();
  }

  /** Gives back what a pod that has run its course does not need any more; its containers stay for their logs. */
  #retire(): void {
    const retire = async (): Promise<void> => {
      this.#cancel();
      this.#health.freeze();
      await Promise.allSettled([...this.#starting.values(), this.#sandbox.creating]);
      const ends = Date.now() + graceSecondsOf(this.#pod) * 1000;
      await endContainers(this.#endInput(() => ends));
      await this.#sandbox.retire();
      if (this.#ending === undefined) this.#publish();
    };
    this.#retired ??= retire().catch((error: unknown) => {
      this.#retired = undefined;
      this.#context.log.error('cannot give back what a finished pod used', { pod: podText(this.#pod), error });
      this.#wakeAt(Date.now() + END_RETRY_MS);
    });
  }

  /** Ends the pod; a later call can only shorten the time it has. */
  #end(graceSeconds: number): void {
    this.#graceEndsAt = Math.min(this.#graceEndsAt, Date.now() + graceSeconds * 1000);
    if (this.#ending !== undefined) return;
    clearTimeout(this.#timer);
    this.#cancel();
    this.#ending = this.#finish().catch((error: unknown) => {
      this.#context.log.error('cannot end a pod; it is tried again', { pod: podText(this.#pod), error });
      setTimeout(() => {
        this.#ending = undefined;
        if (this.#gone) this.remove();
        else this.wake();
      }, END_RETRY_MS);
    });
  }

  async #finish(): Promise<void> {
    const { runtime, tokens } = this.#context;
    this.#health.freeze();
    const input = this.#endInput(() => this.#graceEndsAt);
    await Promise.all([
      endContainers(input),
      Promise.allSettled([...this.#starting.values(), this.#sandbox.creating, this.#retired]),
    ]);
    // Something that was being started while the others ended.
    await endContainers(input);
    for (const sandbox of runtime.sandboxes.list()) {
      if (sandbox.uid === this.uid) await runtime.retireSandbox(sandbox.id);
    }
    this.#publish();
    if (!this.#gone) {
      await this.#publisher.flush();
      await this.#deleteObject();
    }
    this.close();
    for (const list of containersOf(runtime, this.uid).values()) {
      for (const container of list) await runtime.containers.remove(container.id);
    }
    this.#volumes.remove(this.#pod);
    rmSync(this.#logDir, { recursive: true, force: true });
    tokens.forget(this.uid);
    this.#onDone(this);
  }

  async #deleteObject(): Promise<void> {
    const { name } = this.#pod.metadata;
    const options = { gracePeriodSeconds: 0, uid: this.uid };
    await this.#context.client.delete(resources.pods, namespaceOf(this.#pod), name, options).catch((error: unknown) => {
      if (!isStatus(error, 'NotFound') && !isStatus(error, 'Conflict')) throw error;
    });
  }
}
