import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isStatus, type Pod, resources } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Container, Sandbox } from '../runtime/index.ts';
import { BackoffTable, goDuration } from './backoff.ts';
import { type NodeContext, podEvent } from './context.ts';
import { decide, type KillReason, type PodView } from './decide.ts';
import { PodHealth } from './health.ts';
import { runHook } from './hooks.ts';
import type { PodFiles } from './mounts.ts';
import { allContainers, containerHash, graceSecondsOf, namespaceOf, podText, uidOf } from './pod.ts';
import { containersOf, lastWords, pruneContainers, viewsOf } from './pod-containers.ts';
import { StatusPublisher } from './publisher.ts';
import { sandboxSpec } from './sandbox-spec.ts';
import { imageFor, StartError, startContainer, writePodFiles } from './starter.ts';
import { podStatus, type StatusInput, type Waiting } from './status.ts';
import { endContainers } from './terminate.ts';
import { PodVolumes } from './volumes/pod-volumes.ts';

/** Milliseconds between looks at a network that is not ready. */
const NETWORK_POLL_MS = 100;
const SANDBOX_RETRY_MS = [1000, 2000, 4000, 8000, 15_000];
/** A definition that cannot be used is tried again after this time, or when an object it refers to changes. */
const CONFIG_RETRY_MS = 10_000;
/** How long `ErrImagePull` is shown before `ImagePullBackOff`. */
const PULL_ERROR_SHOWN_MS = 2000;
/** Seconds a pod gets that was deleted by force. */
const FORCED_GRACE_SECONDS = 2;

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
  readonly #crashes = new BackoffTable();
  readonly #pulls = new BackoffTable();
  readonly #acceptedAt = Date.now();
  readonly #starting = new Map<string, Promise<void>>();
  readonly #killing = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  /** Not to be started before this time, for other reasons than a crash. */
  readonly #blocked = new Map<string, number>();
  readonly #words = new Map<string, string>();
  #pod: Pod;
  #sandboxId: string | undefined;
  #files: PodFiles | undefined;
  #creating: Promise<void> | undefined;
  #sandboxFailures = 0;
  #sandboxRetryAt = 0;
  #failed: { reason: string; message: string } | undefined;
  /** The pod has run its course; nothing is started any more. */
  #terminal = false;
  #retired: Promise<void> | undefined;
  #ending: Promise<void> | undefined;
  #graceEndsAt: number | undefined;
  #gone = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** The API server knows how this pod ended, and nothing is left here to say more. */
  #frozen = false;
  readonly #abort = new AbortController();
  #queued: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(context: NodeContext, pod: Pod, onDone: (worker: PodWorker) => void) {
    this.#context = context;
    this.#onDone = onDone;
    this.#pod = pod;
    this.uid = uidOf(pod);
    this.#podDir = join(context.dataDir, 'pods', this.uid);
    this.#logDir = join(context.dataDir, 'logs', `${namespaceOf(pod)}_${pod.metadata.name}_${this.uid}`);
    this.#publisher = new StatusPublisher(context, pod, () => this.remove());
    this.#health = new PodHealth(
      context,
      () => this.#pod,
      () => this.#podIP(),
      () => this.wake(),
    );
    this.#volumes = new PodVolumes(context, this.#podDir, (message) =>
      podEvent(context, this.#pod, 'Warning', 'FailedMount', message),
    );
    this.#terminal = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    this.#frozen = this.#terminal && containersOf(context.runtime, this.uid).size === 0;
    this.#adopt();
  }

  get pod(): Pod {
    return this.#pod;
  }

  get sandboxId(): string | undefined {
    return this.#sandboxId;
  }

  /** Status as this node knows it, which may be ahead of the API server. */
  get status(): NonNullable<Pod['status']> {
    return this.#publisher.latest ?? {};
  }

  /** The containers of one name, oldest first. */
  containers(name: string): readonly Container[] {
    return containersOf(this.#context.runtime, this.uid).get(name) ?? [];
  }

  update(pod: Pod): void {
    this.#pod = pod;
    this.wake();
  }

  /** The object is gone from the API server: the pod ends without anybody to tell. */
  remove(): void {
    this.#gone = true;
    this.#publisher.close();
    this.#end(Math.min(graceSecondsOf(this.#pod), FORCED_GRACE_SECONDS));
  }

  /** An object that the pod refers to has changed. */
  objectChanged(key: string): void {
    for (const [name, { reason }] of this.#waiting)
      if (reason === 'CreateContainerConfigError') this.#blocked.delete(name);
    if (this.#volumes.refersTo(key)) this.refreshVolumes();
    this.wake();
  }

  refreshVolumes(): void {
    if (this.#terminal || this.#ending !== undefined) return;
    void this.#volumes.refresh(this.#pod);
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
    this.#abort.abort();
    this.#volumes.cancel();
    clearTimeout(this.#timer);
    if (this.#queued !== undefined) clearImmediate(this.#queued);
    this.#health.freeze();
    this.#publisher.close();
  }

  /** Resolves when nothing is being started any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#starting.values(), this.#creating, this.#ending]);
  }

  #adopt(): void {
    const { runtime } = this.#context;
    const mine = runtime.sandboxes.list().filter((s) => s.uid === this.uid);
    const newest = mine.sort((a, b) => a.attempt - b.attempt).at(-1);
    if (newest === undefined) return;
    this.#sandboxId = newest.id;
    if (this.#terminal) return;
    this.#files = writePodFiles(this.#context, this.#pod, newest, this.#podDir);
    const statuses = [
      ...(this.#pod.status?.initContainerStatuses ?? []),
      ...(this.#pod.status?.containerStatuses ?? []),
    ];
    for (const { container: def } of allContainers(this.#pod)) {
      const newestOf = this.containers(def.name).at(-1);
      if (newestOf === undefined) continue;
      const words = lastWords(this.#pod, this.#podDir, newestOf);
      if (words !== undefined) this.#words.set(newestOf.id, words);
      if (newestOf.state !== 'running') continue;
      const before = statuses.find((s) => s.containerID === `runc://${newestOf.id}`);
      this.#health.watch(newestOf, def, before && { started: before.started === true, ready: before.ready });
    }
  }

  #sandbox(): Sandbox | undefined {
    return this.#sandboxId === undefined ? undefined : this.#context.runtime.sandboxes.get(this.#sandboxId);
  }

  #podIP(): string {
    const ips = this.#pod.spec.hostNetwork === true ? this.#context.nodeIPs : (this.#sandbox()?.ips ?? []);
    return ips[0] ?? '';
  }

  #view(containers: ReadonlyMap<string, readonly Container[]>, now: number): PodView {
    const sandbox = this.#sandbox();
    const backoffUntil = new Map(this.#blocked);
    for (const { container: def } of allContainers(this.#pod)) {
      const newest = containers.get(def.name)?.at(-1);
      if (newest?.state !== 'exited') continue;
      const until = this.#crashes.until(`${def.name}/${containerHash(def)}`, newest.finishedAt ?? 0, now);
      if (until !== undefined) backoffUntil.set(def.name, Math.max(until, backoffUntil.get(def.name) ?? 0));
    }
    return {
      sandbox: sandbox && { ready: this.#context.runtime.sandboxes.isReady(sandbox) },
      containers: viewsOf(containers, this.#sandboxId),
      starting: new Set(this.#starting.keys()),
      creatingSandbox: this.#creating !== undefined,
      started: this.#health.names((h) => h.started),
      unhealthy: this.#health.unhealthy(),
      backoffUntil,
    };
  }

  #sync(): void {
    if (this.#ending !== undefined) {
      if (this.#pod.metadata.deletionTimestamp !== undefined) this.#end(graceSecondsOf(this.#pod));
      return;
    }
    if (this.#pod.metadata.deletionTimestamp !== undefined) return this.#end(graceSecondsOf(this.#pod));
    const now = Date.now();
    if (!this.#terminal) this.#checkDeadline(now);
    if (!this.#terminal) {
      const containers = containersOf(this.#context.runtime, this.uid);
      const decision = decide(this.#pod, this.#view(containers, now), now);
      if (decision.over) this.#terminal = true;
      else {
        if (decision.createSandbox) this.#createSandbox(now);
        for (const { name, id, reason } of decision.kill) this.#kill(name, id, reason);
        for (const name of decision.start) this.#start(name, containers.get(name) ?? []);
        for (const [name, until] of decision.backoff) this.#showBackoff(name, until);
      }
      for (const list of containers.values()) if (list.length > 2) void pruneContainers(this.#context.runtime, list);
    }
    this.#publish();
    if (this.#terminal) this.#retire();
  }

  #publish(): void {
    if (this.#gone || this.#frozen) return;
    const sandbox = this.#sandbox();
    const input: StatusInput = {
      // The statuses of the API server may lag behind what was written from here.
      pod: { ...this.#pod, status: this.#publisher.latest ?? this.#pod.status ?? {} },
      nodeIPs: this.#context.nodeIPs,
      sandbox: sandbox && { ready: this.#context.runtime.sandboxes.isReady(sandbox), ips: sandbox.ips },
      containers: this.#shown(),
      waiting: this.#waiting,
      started: this.#health.names((h) => h.started),
      ready: this.#health.names((h) => h.ready),
      messages: this.#words,
      acceptedAt: this.#acceptedAt,
      failed: this.#failed,
      terminal: this.#terminal || this.#ending !== undefined,
    };
    this.#publisher.publish(this.#withForeign(podStatus(input, Date.now())));
  }

  /** Containers as the status shows them: one whose hook still runs has not started yet. */
  #shown(): Map<string, readonly Container[]> {
    const out = new Map<string, readonly Container[]>(containersOf(this.#context.runtime, this.uid));
    for (const name of this.#starting.keys()) {
      const list = out.get(name) ?? [];
      const newest = list.at(-1);
      if (newest !== undefined && newest.state !== 'exited' && this.#health.get(newest.id) === undefined) {
        const before = list.slice(0, -1);
        if (before.length === 0) out.delete(name);
        else out.set(name, before);
      }
    }
    return out;
  }

  /** Conditions that others write come from the API server, not from what was written last. */
  #withForeign(status: NonNullable<Pod['status']>): NonNullable<Pod['status']> {
    const own = new Set(['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']);
    const foreign = (this.#pod.status?.conditions ?? []).filter((c) => !own.has(c.type));
    const conditions = [...(status.conditions ?? []).filter((c) => own.has(c.type)), ...foreign];
    return { ...status, conditions };
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

  #createSandbox(now: number): void {
    if (this.#sandboxRetryAt > now) return this.#wakeAt(this.#sandboxRetryAt);
    this.#creating = this.#makeSandbox()
      .catch((error: unknown) => {
        const wait = SANDBOX_RETRY_MS[Math.min(this.#sandboxFailures, SANDBOX_RETRY_MS.length - 1)] as number;
        this.#sandboxFailures += 1;
        this.#sandboxRetryAt = Date.now() + wait;
        const message = `Failed to create pod sandbox: rpc error: code = Unknown desc = ${errorMessage(error)}`;
        podEvent(this.#context, this.#pod, 'Warning', 'FailedCreatePodSandBox', message);
      })
      .finally(() => {
        this.#creating = undefined;
        this.wake();
      });
  }

  async #makeSandbox(): Promise<void> {
    const { runtime, network, nodeName, dns } = this.#context;
    const old = this.#sandbox();
    if (old !== undefined) {
      podEvent(
        this.#context,
        this.#pod,
        'Normal',
        'SandboxChanged',
        'Pod sandbox changed, it will be killed and re-created.',
      );
      await runtime.retireSandbox(old.id);
      this.#sandboxId = undefined;
    }
    if (this.#pod.spec.hostNetwork !== true) await this.#networkReady(network.check?.bind(network));
    if (this.#stopping()) return;
    const [sandbox] = await Promise.all([
      runtime
        .runSandbox(sandboxSpec(this.#pod, old === undefined ? 0 : old.attempt + 1, nodeName, dns.domain))
        .catch((error: unknown) => {
          throw new Error(`failed to setup network for sandbox: ${errorMessage(error)}`);
        }),
      // Started early; whoever needs the volumes waits for them and sees what went wrong.
      this.#volumes.ready(this.#pod, () => this.#stopping()).catch(() => {}),
    ]);
    this.#sandboxId = sandbox.id;
    this.#sandboxFailures = 0;
    this.#files = writePodFiles(this.#context, this.#pod, sandbox, this.#podDir);
  }

  async #networkReady(check: (() => Promise<string | undefined>) | undefined): Promise<void> {
    let told = false;
    for (;;) {
      const problem = await check?.();
      if (problem === undefined || this.#stopping()) return;
      if (!told && Date.now() - this.#acceptedAt > 1000) {
        told = true;
        const message = `network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: ${problem}`;
        podEvent(this.#context, this.#pod, 'Warning', 'NetworkNotReady', message);
      }
      await new Promise((resolve) => setTimeout(resolve, NETWORK_POLL_MS));
    }
  }

  #stopping(): boolean {
    return this.#ending !== undefined || this.#terminal || this.#closed;
  }

  #start(name: string, before: readonly Container[]): void {
    const found = allContainers(this.#pod).find((c) => c.container.name === name);
    const sandbox = this.#sandbox();
    if (found === undefined || sandbox === undefined || this.#files === undefined) return;
    const { container: def, init } = found;
    const files = this.#files;
    const pod = this.#pod;
    const newest = before.at(-1);
    const known = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].find(
      (s) => s.name === name,
    );
    // Without a record on disk the API server still knows how often it was started.
    const attempt = newest !== undefined ? newest.attempt + 1 : known?.containerID ? known.restartCount + 1 : 0;
    const run = async (): Promise<void> => {
      try {
        const [image] = await Promise.all([
          imageFor(this.#context, pod, def, this.#abort.signal),
          this.#volumes.ready(pod, () => this.#stopping()),
        ]);
        if (this.#stopping()) return;
        if (newest !== undefined)
          this.#crashes.next(`${name}/${containerHash(def)}`, newest.finishedAt ?? 0, Date.now());
        const container = await startContainer(this.#context, {
          pod,
          def,
          init,
          attempt,
          sandbox,
          image,
          podDir: this.#podDir,
          logDir: this.#logDir,
          files,
          stopped: () => this.#stopping(),
        });
        this.#waiting.delete(name);
        this.#pulls.forget(def.image ?? '');
        await this.#afterStart(container, def);
      } catch (error) {
        this.#startFailed(name, def.image ?? '', error);
      }
    };
    this.#blocked.delete(name);
    this.#starting.set(
      name,
      run().finally(() => {
        this.#starting.delete(name);
        this.wake();
      }),
    );
  }

  async #afterStart(container: Container, def: (typeof this.pod.spec.containers)[number]): Promise<void> {
    const hook = def.lifecycle?.postStart;
    let failure: string | undefined;
    if (hook !== undefined && container.state === 'running') {
      const context = {
        runtime: this.#context.runtime,
        containerId: container.id,
        container: def,
        podIP: this.#podIP(),
      };
      failure = await runHook(hook, context, 0x7fffffff, this.#abort.signal);
    }
    const now = this.#context.runtime.containers.get(container.id);
    if (now?.state !== 'running') return;
    this.#health.watch(now, def);
    if (failure === undefined) return;
    podEvent(this.#context, this.#pod, 'Warning', 'FailedPostStartHook', `PostStartHook failed: ${failure}`, def.name);
    this.#health.condemn(container.id, 'postStart');
  }

  #startFailed(name: string, image: string, error: unknown): void {
    const reason = error instanceof StartError ? error.reason : 'CreateContainerError';
    if (reason === 'PodTerminating') return;
    const message = errorMessage(error);
    if (!(error instanceof StartError)) {
      this.#context.log.error('cannot start a container', { pod: podText(this.#pod), container: name, error });
    }
    const now = Date.now();
    this.#waiting.set(name, { reason, message });
    if (reason === 'ErrImagePull') {
      this.#pulls.next(image, now, now);
      const until = now + this.#pulls.delay(image);
      this.#blocked.set(name, until);
      setTimeout(() => {
        if (this.#waiting.get(name)?.reason !== 'ErrImagePull' || this.#stopping()) return;
        this.#waiting.set(name, {
          reason: 'ImagePullBackOff',
          message: `Back-off pulling image "${image}": ErrImagePull: ${message}`,
        });
        podEvent(this.#context, this.#pod, 'Normal', 'BackOff', `Back-off pulling image "${image}"`, name);
        podEvent(this.#context, this.#pod, 'Warning', 'Failed', 'Error: ImagePullBackOff', name);
        this.wake();
      }, PULL_ERROR_SHOWN_MS).unref();
    } else if (reason !== 'RunContainerError') this.#blocked.set(name, now + CONFIG_RETRY_MS);
  }

  #showBackoff(name: string, until: number): void {
    this.#wakeAt(until);
    const blocked = this.#blocked.get(name);
    if (blocked !== undefined && blocked >= until) return;
    const def = allContainers(this.#pod).find((c) => c.container.name === name)?.container;
    if (def === undefined) return;
    const delay = goDuration(this.#crashes.delay(`${name}/${containerHash(def)}`));
    const message = `back-off ${delay} restarting failed container=${name} pod=${podText(this.#pod)}`;
    if (this.#waiting.get(name)?.message === message) return;
    this.#waiting.set(name, { reason: 'CrashLoopBackOff', message });
    podEvent(
      this.#context,
      this.#pod,
      'Warning',
      'BackOff',
      `Back-off restarting failed container ${name} in pod ${podText(this.#pod)}`,
      name,
    );
  }

  #kill(name: string, id: string, reason: KillReason): void {
    if (this.#killing.has(id)) return;
    this.#killing.add(id);
    const def = allContainers(this.#pod).find((c) => c.container.name === name)?.container;
    const seconds =
      (reason === 'liveness' ? def?.livenessProbe?.terminationGracePeriodSeconds : undefined) ??
      (reason === 'startup' ? def?.startupProbe?.terminationGracePeriodSeconds : undefined) ??
      this.#pod.spec.terminationGracePeriodSeconds ??
      30;
    podEvent(this.#context, this.#pod, 'Normal', 'Killing', KILL_TEXT[reason](name), name);
    const ends = Date.now() + seconds * 1000;
    endContainers({
      context: this.#context,
      pod: this.#pod,
      podIP: this.#podIP(),
      only: id,
      quiet: true,
      graceEndsAt: () => ends,
    }).catch((error: unknown) => {
      this.#killing.delete(id);
      this.#context.log.error('cannot end a container', { pod: podText(this.#pod), container: name, error });
    });
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
    this.#retired ??= (async () => {
      this.#abort.abort();
      this.#volumes.cancel();
      this.#health.freeze();
      await Promise.allSettled([...this.#starting.values(), this.#creating]);
      const now = Date.now();
      await endContainers({
        context: this.#context,
        pod: this.#pod,
        podIP: this.#podIP(),
        graceEndsAt: () => now + graceSecondsOf(this.#pod) * 1000,
      });
      const sandbox = this.#sandbox();
      if (sandbox !== undefined) await this.#context.runtime.retireSandbox(sandbox.id);
      if (this.#ending === undefined) this.#publish();
    })().catch((error: unknown) => {
      this.#retired = undefined;
      this.#context.log.error('cannot give back what a finished pod used', { pod: podText(this.#pod), error });
      this.#wakeAt(Date.now() + 5000);
    });
  }

  /** Ends the pod; a later call can only shorten the time it has. */
  #end(graceSeconds: number): void {
    const ends = Date.now() + graceSeconds * 1000;
    this.#graceEndsAt = Math.min(this.#graceEndsAt ?? Number.POSITIVE_INFINITY, ends);
    if (this.#ending !== undefined) return;
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#volumes.cancel();
    this.#ending = this.#finish().catch((error: unknown) => {
      this.#context.log.error('cannot end a pod; it is tried again', { pod: podText(this.#pod), error });
      setTimeout(() => {
        this.#ending = undefined;
        this.wake();
        if (this.#gone) this.remove();
      }, 2000);
    });
  }

  async #finish(): Promise<void> {
    const { runtime, client, tokens } = this.#context;
    this.#health.freeze();
    const ended = endContainers({
      context: this.#context,
      pod: this.#pod,
      podIP: this.#podIP(),
      graceEndsAt: () => this.#graceEndsAt ?? 0,
    });
    await Promise.allSettled([...this.#starting.values(), this.#creating]);
    await ended;
    // Something that was being started while the others ended.
    await endContainers({
      context: this.#context,
      pod: this.#pod,
      podIP: this.#podIP(),
      graceEndsAt: () => this.#graceEndsAt ?? 0,
    });
    await this.#retired;
    for (const sandbox of runtime.sandboxes.list()) {
      if (sandbox.uid === this.uid) await runtime.retireSandbox(sandbox.id);
    }
    this.#publish();
    if (!this.#gone) {
      await this.#publisher.flush();
      await client
        .delete(resources.pods, namespaceOf(this.#pod), this.#pod.metadata.name, {
          gracePeriodSeconds: 0,
          uid: this.uid,
        })
        .catch((error: unknown) => {
          if (!isStatus(error, 'NotFound') && !isStatus(error, 'Conflict')) throw error;
        });
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
}
