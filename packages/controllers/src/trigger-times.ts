import type { Pod, Service } from '@weft/kube';
import { podCondition } from './pods.ts';

interface Known {
  service: number;
  pods: Map<string, number>;
}

/**
 * Says since when endpoints are out of date: the earliest change of a Service or its pods since it was asked last. It
 * becomes the annotation `endpoints.kubernetes.io/last-change-trigger-time`, from which programming latency is measured
 * (SIG scalability's network programming SLI).
 */
export class TriggerTimes {
  readonly #known = new Map<string, Known>();

  /** RFC 3339, or undefined when nothing changed that has a time. */
  compute(key: string, service: Service, pods: readonly Pod[]): string | undefined {
    const known = this.#known.get(key);
    let earliest = Number.POSITIVE_INFINITY;
    const times = new Map<string, number>();
    for (const pod of pods) {
      const time = Date.parse(podCondition(pod, 'Ready')?.lastTransitionTime ?? '');
      if (Number.isNaN(time)) continue;
      times.set(pod.metadata.name, time);
      if (time > (known?.pods.get(pod.metadata.name) ?? 0)) earliest = Math.min(earliest, time);
    }
    const created = Date.parse(service.metadata.creationTimestamp ?? '') || 0;
    if (created > (known?.service ?? 0)) earliest = Math.min(earliest, created);
    this.#known.set(key, { service: created, pods: times });
    // The pods of a new Service are older than it: it is the Service that changed.
    const time = known === undefined ? created : earliest;
    return Number.isFinite(time) && time > 0 ? new Date(time).toISOString().replace('.000Z', 'Z') : undefined;
  }

  forget(key: string): void {
    this.#known.delete(key);
  }
}
