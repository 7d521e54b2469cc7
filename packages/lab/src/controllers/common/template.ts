import { type PodTemplateSpec, wellKnown } from '@weft/kube';
import { sameValue } from '@weft/plan';

/** The alphabet of generated names: no vowels and no 0, 1 or 3, so that no words come out (apimachinery's `rand`). */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** Turns any text into the alphabet of generated names, one character for each. */
export function safeEncode(text: string): string {
  let out = '';
  for (let i = 0; i < text.length; i++) out += ALPHABET[text.charCodeAt(i) % ALPHABET.length];
  return out;
}

/**
 * A short name for the contents of a template. `collisions` makes another one when the name was taken. The value differs
 * from the one of kube-controller-manager, which hashes Go's printed form of the object; nothing may rely on it.
 */
export function templateHash(value: unknown, collisions = 0): string {
  const text = JSON.stringify(canonical(value)) + (collisions === 0 ? '' : `#${collisions}`);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193) >>> 0;
  }
  return safeEncode(String(hash));
}

/** True when two templates make the same pods; the label that a Deployment adds does not count. */
export function sameTemplate(a: PodTemplateSpec | undefined, b: PodTemplateSpec | undefined): boolean {
  return sameValue(canonical(withoutHash(a)), canonical(withoutHash(b)));
}

function withoutHash(template: PodTemplateSpec | undefined): PodTemplateSpec | undefined {
  const labels = template?.metadata?.labels;
  if (labels === undefined || !(wellKnown.labels.podTemplateHash in labels)) return template;
  const { [wellKnown.labels.podTemplateHash]: _, ...rest } = labels;
  return { ...template, metadata: { ...template?.metadata, labels: rest } };
}

/** The value without what says nothing (null, empty lists and objects), keys in order. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => canonical(item) ?? null);
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(value).sort()) {
    const item = canonical((value as Record<string, unknown>)[key]);
    if (item === undefined || (typeof item === 'object' && item !== null && Object.keys(item).length === 0)) {
      // `emptyDir: {}` does say something: which kind of volume it is.
      if (item !== undefined && !Array.isArray(item) && MEANINGFUL_EMPTY.has(key)) out[key] = item;
      continue;
    }
    out[key] = item;
  }
  return out;
}

const MEANINGFUL_EMPTY = new Set(['emptyDir']);
