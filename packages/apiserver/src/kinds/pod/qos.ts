import { compareQuantities, type Container, type PodSpec, type PodStatus, type Quantity } from '@weft/kube';

const RESOURCES = ['cpu', 'memory'] as const;

const given = (list: Record<string, Quantity> | undefined, name: string): Quantity | undefined => {
  const value = list?.[name];
  return value === undefined || compareQuantities(value, '0') === 0 ? undefined : value;
};

function isGuaranteed({ resources }: Container): boolean {
  return RESOURCES.every((name) => {
    const limit = given(resources?.limits, name);
    const request = given(resources?.requests, name);
    return limit !== undefined && (request === undefined || compareQuantities(limit, request) === 0);
  });
}

const asksNothing = ({ resources }: Container): boolean =>
  RESOURCES.every(
    (name) => given(resources?.limits, name) === undefined && given(resources?.requests, name) === undefined,
  );

/** Quality-of-service class, from the CPU and memory of all containers. Quantities must be valid. */
export function qosClass(spec: PodSpec): NonNullable<PodStatus['qosClass']> {
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  if (all.every(asksNothing)) return 'BestEffort';
  return all.every(isGuaranteed) ? 'Guaranteed' : 'Burstable';
}
