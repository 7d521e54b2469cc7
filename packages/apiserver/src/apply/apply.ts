import { statusErrors } from '@weft/kube';
import type { Call, Env, Result } from '../registry/context.ts';
import type { Resource } from '../registry/resource.ts';
import type { Part } from '../registry/update.ts';

export interface ApplyRequest {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly part: Part;
  readonly value: unknown;
  readonly force: boolean;
}

export function applyObject(_env: Env, _resource: Resource, _request: ApplyRequest, _call: Call): Result {
  throw statusErrors.badRequest('not yet');
}
