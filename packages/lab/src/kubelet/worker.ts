import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isStatus, type Pod, type PodStatus, resources } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { Container } from '../runtime/index.ts';
import { type NodeContext, podEvent } from './context.ts';
import { decide } from './decide.ts';
import { PodHealth } from './health.ts';
import { allContainers, allStatuses, graceSecondsOf, namespaceOf, podText, uidOf } from './pod.ts';
import { containersOf, pruneContainers, viewsOf } from './pod-containers.ts';
import { PodReport } from './pod-report.ts';
import { PodSandbox } from './pod-sandbox.ts';
import { PodStarts } from './pod-starts.ts';
import { StatusPublisher } from './publisher.ts';
import { Setbacks } from './setbacks.ts';
import { type EndInput, endContainers } from './terminate.ts';
import { PodVolumes } from './volumes/pod-volumes.ts';
import { Wake } from './wake.ts';

/** Seconds a pod gets that was deleted by force. */
const FORCED_GRACE_SECONDS = 2;
/** Ending a pod is tried again after this time, in milliseconds. */
const END_RETRY_MS = 2000;

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
  readonly #starts: PodStarts;
  readonly #wake: Wake;
  readonly #report: PodReport;
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
  #closed = false;

  constructor(context: NodeContext, pod: Pod, onDone: (worker: PodWorker) => void) {
    this.#context = context;
    this.#onDone = onDone;
    this.#pod = pod;
    this.uid = uidOf(pod);
    this.#podDir = join(context.dataDir, 'pods', this.uid);
    this.#logDir = join(context.dataDir, 'logs', `${namespaceOf(pod)}_${pod.metadata.name}_${this.uid}`);
    const podNow = (): Pod => this.#pod;
    this.#wake = new Wake(() => this.#look());
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
    const parts = {
      context,
      podDir: this.#podDir,
      pod: podNow,
      sandbox: this.#sandbox,
      health: this.#health,
      setbacks: this.#setbacks,
      onChange: wake,
    };
    this.#starts = new PodStarts({ ...parts, logDir: this.#logDir, volumes, stopping });
    const starting = (): ReadonlySet<string> => this.#starts.names;
    this.#report = new PodReport({ ...parts, starting, acceptedAt: this.#acceptedAt, publisher: this.#publisher });
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
    this.#starts.ended(container);
    void this.#report.ended(container);
    this.wake();
  }

  /** Has a look at the pod soon; many wakes are one look. */
  wake(): void {
    this.#wake.soon();
  }

  /** Stops leading the pod; what runs goes on. */
  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#wake.close();
    this.#health.freeze();
    this.#setbacks.close();
    this.#publisher.close();
  }

  /** Resolves when nothing is being started any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#starts.settled(), this.#sandbox.creating, this.#ending]);
  }

  #adopt(): void {
    if (!this.#sandbox.adopt(!this.#terminal) || this.#terminal) return;
    for (const { container: def } of allContainers(this.#pod)) {
      const newest = this.containers(def.name).at(-1);
      if (newest === undefined) continue;
      this.#report.adopted(newest);
      if (newest.state !== 'running') continue;
      const before = allStatuses(this.#pod.status).find((s) => s.containerID === `runc://${newest.id}`);
      this.#health.watch(newest, def, before && { started: before.started === true, ready: before.ready });
    }
  }

  #stopping(): boolean {
    return this.#ending !== undefined || this.#terminal || this.#closed;
  }

  /** Gives up what is only being prepared. */
  #cancel(): void {
    this.#starts.cancel();
    this.#volumes.cancel();
  }

  #look(): void {
    try {
      this.#sync();
    } catch (error) {
      this.#context.log.error('cannot bring a pod forward', { pod: podText(this.#pod), error });
      this.#wake.at(Date.now() + 1000);
    }
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
      starting: this.#starts.names,
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
      if (retryAt !== undefined) this.#wake.at(retryAt);
    }
    for (const { name, id, reason } of decision.kill) this.#starts.kill(name, id, reason);
    for (const name of decision.start) this.#starts.start(name, containers.get(name) ?? []);
    for (const [name, until] of decision.backoff) {
      this.#wake.at(until);
      this.#setbacks.crashed(name, until);
    }
    for (const list of containers.values()) if (list.length > 2) void pruneContainers(this.#context.runtime, list);
  }

  #publish(): void {
    if (this.#gone || this.#frozen) return;
    this.#report.publish(this.#failed, this.#terminal || this.#ending !== undefined);
  }

  #checkDeadline(now: number): void {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    if (seconds === undefined) return;
    const begin = Date.parse(this.#pod.status?.startTime ?? '') || this.#acceptedAt;
    const end = begin + seconds * 1000;
    if (now < end) return this.#wake.at(end);
    const message = 'Pod was active on the node longer than the specified deadline';
    this.#failed = { reason: 'DeadlineExceeded', message };
    podEvent(this.#context, this.#pod, 'Normal', 'DeadlineExceeded', message);
    this.#terminal = true;
  }

  #endInput(graceEndsAt: () => number): EndInput {
    return { context: this.#context, pod: this.#pod, podIP: this.#sandbox.ip, graceEndsAt };
  }

  /** Gives back what a pod that has run its course does not need any more; its containers stay for their logs. */
  #retire(): void {
    const retire = async (): Promise<void> => {
      this.#cancel();
      this.#health.freeze();
      await Promise.allSettled([this.#starts.settled(), this.#sandbox.creating]);
      const ends = Date.now() + graceSecondsOf(this.#pod) * 1000;
      await endContainers(this.#endInput(() => ends));
      await this.#sandbox.retire();
      if (this.#ending === undefined) this.#publish();
    };
    this.#retired ??= retire().catch((error: unknown) => {
      this.#retired = undefined;
      this.#context.log.error('cannot give back what a finished pod used', { pod: podText(this.#pod), error });
      this.#wake.at(Date.now() + END_RETRY_MS);
    });
  }

  /** Ends the pod; a later call can only shorten the time it has. */
  #end(graceSeconds: number): void {
    this.#graceEndsAt = Math.min(this.#graceEndsAt, Date.now() + graceSeconds * 1000);
    // A pod that is ending may still serve: its readiness says for how long it may be sent anything.
    if (this.#ending !== undefined) return this.#publish();
    this.#wake.noTime();
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
    this.#health.keepReadiness();
    const input = this.#endInput(() => this.#graceEndsAt);
    await Promise.all([
      endContainers(input),
      Promise.allSettled([this.#starts.settled(), this.#sandbox.creating, this.#retired]),
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
