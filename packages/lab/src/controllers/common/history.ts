import type { OwnWrites } from '@weft/controllers';
import {
  type ControllerRevision,
  controllerRef,
  type Informer,
  type KubeClient,
  type KubeObject,
  type LabelSelector,
  objectKey,
  type PodTemplateSpec,
  resources,
  wellKnown,
} from '@weft/kube';
import { sameValue } from '@weft/plan';
import { claim } from './claim.ts';
import { ignoreGone } from './gone.ts';
import type { OwnerKind } from './pod-control.ts';
import { templateHash } from './template.ts';

/** Templates of a DaemonSet or StatefulSet, oldest first. */
export interface History {
  readonly current: ControllerRevision;
  readonly old: readonly ControllerRevision[];
}

/** The hash in a revision's label, which its pods carry as well. */
export function hashOf(revision: ControllerRevision): string {
  return revision.metadata.labels?.[wellKnown.labels.controllerRevisionHash] ?? '';
}

export interface HistoryOptions {
  readonly client: KubeClient;
  /** Indexed by InformerSet.owned. */
  readonly revisions: Informer<ControllerRevision>;
  readonly writes: OwnWrites;
  readonly kind: OwnerKind;
}

/** An owner whose template has a history. */
export type Revised = KubeObject & {
  readonly spec: { readonly selector: LabelSelector; readonly template: PodTemplateSpec };
  readonly status?: { readonly collisionCount?: number };
};

/**
 * The revisions of the owner's template, the current one made or moved to the end when needed. `data` is the patch that
 * `kubectl rollout undo` applies. Undefined when the caches have to catch up first.
 */
export async function syncHistory(options: HistoryOptions, key: string, owner: Revised): Promise<History | undefined> {
  const { client, revisions, writes, kind } = options;
  const claims = { client, type: resources.controllerrevisions, informer: revisions, writes, kind };
  const all = (await claim(claims, key, owner, owner.spec.selector)).sort((a, b) => a.revision - b.revision);
  const data = { spec: { template: { ...owner.spec.template, $patch: 'replace' } } };
  const equal = all.filter((r) => sameValue(r.data, data));
  const last = all.at(-1);
  const same = equal.at(-1);
  if (same !== undefined && same === last) return { current: same, old: all.slice(0, -1) };
  const revision = (last?.revision ?? 0) + 1;
  if (same !== undefined) {
    const { namespace, name, uid } = same.metadata;
    const moved = await client.patch(resources.controllerrevisions, namespace, name, { metadata: { uid }, revision });
    writes.wrote(key, revisions, moved);
    return { current: moved, old: all.filter((r) => r !== same) };
  }
  const hash = templateHash(data, owner.status?.collisionCount ?? 0);
  const labels = { ...owner.spec.template.metadata?.labels, [wellKnown.labels.controllerRevisionHash]: hash };
  const { namespace } = owner.metadata;
  const created = await client.create(resources.controllerrevisions, {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${owner.metadata.name}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      ownerReferences: [controllerRef(owner, kind)],
    },
    data,
    revision,
  });
  writes.wrote(key, revisions, created);
  return { current: created, old: all };
}

/** Removes the oldest revisions beyond the limit that no pod is of. */
export async function trimHistory(
  options: HistoryOptions,
  key: string,
  history: History,
  limit: number,
  live: ReadonlySet<string>,
): Promise<void> {
  const { client, revisions, writes } = options;
  const unused = history.old.filter((r) => !live.has(hashOf(r)));
  for (const revision of unused.slice(0, Math.max(0, unused.length - limit))) {
    const { namespace, name, uid } = revision.metadata;
    await ignoreGone(() =>
      client.delete(resources.controllerrevisions, namespace, name, uid === undefined ? {} : { uid }),
    );
    writes.deleted(key, revisions, objectKey(revision), uid);
  }
}
