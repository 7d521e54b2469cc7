import type { Container as ContainerDef, Pod } from '@weft/kube';
import type { Container } from '../runtime/index.ts';
import { type AskContext, askProbe } from './ask.ts';
import { type NodeContext, podEvent } from './context.ts';
import type { KillReason } from './decide.ts';
import { type ProbeKind, Prober } from './probes.ts';

const TITLE: Record<ProbeKind, string> = { liveness: 'Liveness', readiness: 'Readiness', startup: 'Startup' };

/** What the probes of one container have found out. */
export interface Health {
  started: boolean;
  ready: boolean;
  unhealthy: KillReason | undefined;
}

interface Watched extends Health {
  readonly name: string;
  readonly probers: Prober[];
}

/** The probes of a pod's running containers. */
export class PodHealth {
  readonly #context: NodeContext;
  readonly #pod: () => Pod;
  readonly #podIP: () => string;
  readonly #onChange: () => void;
  readonly #all = new Map<string, Watched>();

  constructor(context: NodeContext, pod: () => Pod, podIP: () => string, onChange: () => void) {
    this.#context = context;
    this.#pod = pod;
    this.#podIP = podIP;
    this.#onChange = onChange;
  }

  get(containerId: string): Health | undefined {
    return this.#all.get(containerId);
  }

  /** Names of containers for which `test` holds. */
  names(test: (health: Health) => boolean): Set<string> {
    return new Set([...this.#all.values()].filter(test).map((w) => w.name));
  }

  /** Why containers are to be ended, by name. */
  unhealthy(): Map<string, KillReason> {
    const out = new Map<string, KillReason>();
    for (const { name, unhealthy } of this.#all.values()) if (unhealthy !== undefined) out.set(name, unhealthy);
    return out;
  }

  /** Begins to probe a running container. `before` is what was known of it when the node process was restarted. */
  watch(
    container: Container,
    def: ContainerDef,
    before?: { readonly started: boolean; readonly ready: boolean },
  ): void {
    if (this.#all.has(container.id)) return;
    const watched: Watched = {
      name: def.name,
      probers: [],
      started: before?.started ?? def.startupProbe === undefined,
      ready: before?.ready ?? def.readinessProbe === undefined,
      unhealthy: undefined,
    };
    this.#all.set(container.id, watched);
    const add = (kind: ProbeKind, enabled: () => boolean, onChange: (ok: boolean) => void): void => {
      const probe = def[`${kind}Probe`];
      if (probe === undefined) return;
      const ask = (): ReturnType<typeof askProbe> => askProbe(probe, this.#askContext(container, def));
      const onFailure = (message: string): void =>
        podEvent(
          this.#context,
          this.#pod(),
          'Warning',
          'Unhealthy',
          `${TITLE[kind]} probe failed: ${message}`,
          def.name,
        );
      const prober = new Prober({
        kind,
        probe,
        startedAt: container.startedAt ?? Date.now(),
        ask,
        enabled,
        onChange,
        onFailure,
      });
      watched.probers.push(prober);
      prober.start();
    };
    if (!watched.started) {
      add(
        'startup',
        () => true,
        (ok) => {
          if (ok) watched.started = true;
          else watched.unhealthy = 'startup';
          this.#onChange();
        },
      );
    }
    add(
      'liveness',
      () => watched.started,
      (ok) => {
        if (!ok) {
          watched.unhealthy = 'liveness';
          this.#onChange();
        }
      },
    );
    add(
      'readiness',
      () => watched.started,
      (ok) => {
        watched.ready = ok;
        this.#onChange();
      },
    );
  }

  /** Has the container ended; its postStart hook failed. */
  condemn(containerId: string, reason: KillReason): void {
    const watched = this.#all.get(containerId);
    if (watched !== undefined) watched.unhealthy = reason;
  }

  forget(containerId: string): void {
    for (const prober of this.#all.get(containerId)?.probers ?? []) prober.stop();
    this.#all.delete(containerId);
  }

  /** Ends the probing that could have a container killed; of a pod that is ending, readiness is still asked (kubelet). */
  keepReadiness(): void {
    for (const watched of this.#all.values()) {
      for (const prober of watched.probers) if (prober.kind !== 'readiness') prober.stop();
    }
  }

  /** Ends all probing; what is known stays. */
  freeze(): void {
    for (const watched of this.#all.values()) for (const prober of watched.probers) prober.stop();
  }

  #askContext(container: Container, def: ContainerDef): AskContext {
    return { runtime: this.#context.runtime, containerId: container.id, container: def, podIP: this.#podIP() };
  }
}
