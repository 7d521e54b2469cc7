import { timestamp } from '@weft/kube';

interface AnyCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** A condition that holds from now on. */
export function condition(
  type: string,
  status: 'True' | 'False' | 'Unknown',
  reason: string,
  message: string,
  now = Date.now(),
): AnyCondition & { lastTransitionTime: string; reason: string; message: string } {
  return { type, status, lastTransitionTime: timestamp(now), reason, message };
}

/** The list with one condition set. An equal one (status and reason) is left alone; its time moves with its status. */
export function withCondition<T extends AnyCondition>(list: readonly T[] | undefined, wanted: T): T[] {
  const old = list?.find((c) => c.type === wanted.type);
  if (old !== undefined && old.status === wanted.status && old.reason === wanted.reason) return [...(list ?? [])];
  const next =
    old?.status === wanted.status && old.lastTransitionTime !== undefined
      ? { ...wanted, lastTransitionTime: old.lastTransitionTime }
      : wanted;
  return [...(list ?? []).filter((c) => c.type !== wanted.type), next];
}

export function withoutCondition<T extends AnyCondition>(list: readonly T[] | undefined, type: string): T[] {
  return (list ?? []).filter((c) => c.type !== type);
}
