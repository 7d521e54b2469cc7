import { OwnWrites } from '@weft/controllers';
import {
  controllerRef,
  type Draft,
  type EventRecorder,
  type Informer,
  isStatus,
  type KubeClient,
  type KubeObject,
  objectKey,
  type Pod,
  type PodTemplateSpec,
  resources,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';

/** The kind of a controller's objects, for owner references and events. */
export interface OwnerKind {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface PodControlOptions {
  readonly client: KubeClient;
  readonly pods: Informer<Pod>;
  readonly recorder: EventRecorder;
  readonly writes: OwnWrites;
  readonly kind: OwnerKind;
  /** Event messages; the default ones are those of ReplicaSets, DaemonSets and Jobs. */
  readonly words?: PodWords;
}

/** How a controller speaks of its pods in events. */
export interface PodWords {
  created(pod: string, owner: string): string;
  createFailed(pod: string, owner: string, why: string): string;
  deleted(pod: string, owner: string): string;
  deleteFailed(pod: string, owner: string, why: string): string;
}

const DEFAULT_WORDS: PodWords = {
  created: (pod) => `Created pod: ${pod}`,
  createFailed: (_pod, _owner, why) => `Error creating: ${why}`,
  deleted: (pod) => `Deleted pod: ${pod}`,
  deleteFailed: (_pod, _owner, why) => `Error deleting: ${why}`,
};

/** A pod as a template makes it, not yet written. */
export interface PodDraft {
  /** Exact name; without it one is generated from the owner's. */
  readonly name?: string;
  /** What a generated name begins with, when it is not the owner's name. */
  readonly stem?: string;
  readonly template: PodTemplateSpec;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Changes a copy of the template's spec. */
  readonly spec?: Partial<Pod['spec']>;
}

/** Creates and deletes pods for a controller, with the events that `kubectl describe` shows of its object. */
export class PodControl {
  readonly #options: PodControlOptions;
  readonly #words: PodWords;

  constructor(options: PodControlOptions) {
    this.#options = options;
    this.#words = options.words ?? DEFAULT_WORDS;
  }

  /** Creates one pod; a refusal becomes the event FailedCreate and is thrown. */
  async create(key: string, owner: KubeObject, draft: PodDraft): Promise<Pod> {
    const { client, pods, recorder, writes, kind } = this.#options;
    const { metadata = {}, spec } = draft.template;
    const labels = { ...metadata.labels, ...draft.labels };
    const annotations = { ...metadata.annotations, ...draft.annotations };
    const pod: Draft<Pod> = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        ...(draft.name === undefined
          ? { generateName: draft.stem ?? `${owner.metadata.name}-` }
          : { name: draft.name }),
        ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
        labels,
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
        ...(metadata.finalizers === undefined ? {} : { finalizers: metadata.finalizers }),
        ownerReferences: [controllerRef(owner, kind)],
      },
      spec: { ...(spec ?? { containers: [] }), ...draft.spec },
    };
    try {
      const created = await client.create(resources.pods, pod);
      writes.wrote(key, pods, created);
      const message = this.#words.created(created.metadata.name, owner.metadata.name);
      recorder.event({ ...owner, ...kind }, 'Normal', 'SuccessfulCreate', message);
      return created;
    } catch (error) {
      // A namespace that is being deleted takes no pods; its controllers are about to go as well.
      if (!isTerminating(error)) {
        const message = this.#words.createFailed(draft.name ?? '', owner.metadata.name, errorMessage(error));
        recorder.event({ ...owner, ...kind }, 'Warning', 'FailedCreate', message);
      }
      throw error;
    }
  }

  async remove(key: string, owner: KubeObject, pod: Pod): Promise<void> {
    const { client, pods, recorder, writes, kind } = this.#options;
    const { namespace, name, uid } = pod.metadata;
    try {
      await client.delete(resources.pods, namespace, name, uid === undefined ? {} : { uid });
    } catch (error) {
      if (!isStatus(error, 'NotFound')) {
        const message = this.#words.deleteFailed(name, owner.metadata.name, errorMessage(error));
        recorder.event({ ...owner, ...kind }, 'Warning', 'FailedDelete', message);
        throw error;
      }
    }
    writes.deleted(key, pods, objectKey(pod), uid);
    recorder.event({ ...owner, ...kind }, 'Normal', 'SuccessfulDelete', this.#words.deleted(name, owner.metadata.name));
  }
}

/** True for the refusal of a create in a namespace that is being deleted. */
export function isTerminating(error: unknown): boolean {
  return isStatus(error, 'Forbidden') && errorMessage(error).includes('because it is being terminated');
}

/**
 * Runs `job` for each item in batches of 1, 2, 4, … so that a mistake in a template costs one refusal, not hundreds.
 * The first failure of a batch ends it and is thrown.
 */
export async function slowStart<T>(items: readonly T[], job: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0, size = 1; at < items.length; at += size, size *= 2) {
    const results = await Promise.allSettled(items.slice(at, at + size).map(job));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}
