import { keyToText, type NameKey } from '../../wire/index.ts';
import type { SlimPod } from './objects.ts';

type Say = (label: string, value: () => string) => void;

/** The pod that asks, as metadata. */
export function describePod(pod: SlimPod, say: Say): void {
  say('kubernetes/client-namespace', () => pod.namespace);
  say('kubernetes/client-pod-name', () => pod.name);
  for (const [label, value] of Object.entries(pod.labels ?? {})) say(`kubernetes/client-label/${label}`, () => value);
}

const UNDERSCORE = /^_/;

/** What the labels of a name before its zone mean, as metadata; `end` is where the zone starts. */
export function describeName(
  key: NameKey,
  labels: readonly number[],
  end: number,
  options: { readonly multicluster: boolean; readonly zonal: boolean },
  say: Say,
): void {
  const words = labels
    .filter((at) => at < end)
    .map((at) => keyToText(`${key.slice(at, at + 1 + key.charCodeAt(at))}\0`).slice(0, -1));
  const said: Record<string, string> = {
    'port-name': '',
    protocol: '',
    endpoint: '',
    ...(options.multicluster ? { cluster: '' } : {}),
    ...(options.zonal ? { zone: '' } : {}),
    service: '',
    namespace: '',
    kind: '',
  };
  const kind = words.pop() ?? '';
  if (kind !== '' && kind !== 'svc' && kind !== 'pod') {
    say('kubernetes/parse-error', () => 'invalid query name');
    return;
  }
  // The apex, and `svc` and `pod` below it, mean nothing yet.
  if (words.length > 0) said['kind'] = kind;
  said['namespace'] = words.pop() ?? '';
  said['service'] = words.pop() ?? '';
  const [first = '', second = ''] = words;
  if (words.length === 1) said['endpoint'] = first;
  else if (words.length === 2) {
    if (options.multicluster && !first.startsWith('_') && !second.startsWith('_')) {
      said['cluster'] = second;
      said['endpoint'] = first;
    } else {
      said['port-name'] = first.replace(UNDERSCORE, '');
      said['protocol'] = second.replace(UNDERSCORE, '');
    }
  } else if (words.length > 2) {
    const zonal = options.zonal && !options.multicluster && kind === 'svc' && words.at(-1) === '_zone';
    if (!zonal || !['pin', 'prefer'].includes(words.at(-2) ?? '')) {
      say('kubernetes/parse-error', () => 'invalid query name');
      return;
    }
    said['zone'] = words.slice(0, -2).join('.');
  }
  for (const [label, value] of Object.entries(said)) say(`kubernetes/${label}`, () => value);
}
