import { WeftError } from '@weft/plan';

/**
 * A patch that cannot be applied. Code `PATCH_INVALID` when the patch itself is malformed (an API server answers 400),
 * `PATCH_FAILED` when it does not fit the object (422). The messages are those of Kubernetes where it has one.
 */
export class PatchError extends WeftError {
  declare readonly code: 'PATCH_INVALID' | 'PATCH_FAILED';

  constructor(code: 'PATCH_INVALID' | 'PATCH_FAILED', message: string) {
    super({ code, message });
    this.name = 'PatchError';
  }
}

export function badPatch(message: string): PatchError {
  return new PatchError('PATCH_INVALID', message);
}

export function failedPatch(message: string): PatchError {
  return new PatchError('PATCH_FAILED', message);
}
