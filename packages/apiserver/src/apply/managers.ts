import type { AnyObject } from '../store/stored.ts';
import type { Call } from '../registry/context.ts';
import type { Resource } from '../registry/resource.ts';

/** Placeholder until ownership is tracked. */
export type Tracked = { readonly kind: 'apply' };

export function trackFields(
  _resource: Resource,
  _next: AnyObject,
  _old: AnyObject | undefined,
  _call: Call,
  _now: Date,
  _tracked: Tracked | undefined,
  _subresource = '',
): void {}
