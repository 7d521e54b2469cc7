import { errorMessage, WeftError } from '@weft/plan';
import { builtinFor, ensureBuiltin } from './builtin.ts';
import { NO_REGISTRY, type PullOptions, pullImage } from './pull.ts';
import { type ImageReference, parseImageReference } from './reference.ts';
import type { ImageStore, StoredImage } from './store.ts';

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** Why a container cannot have its image; `reason` is the one of Kubernetes' waiting state. */
export class ImageError extends WeftError {
  readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName';

  constructor(reason: ImageError['reason'], message: string, cause?: unknown) {
    super({ code: 'IMAGE_UNAVAILABLE', message, ...(cause === undefined ? {} : { cause }) });
    this.name = 'ImageError';
    this.reason = reason;
  }
}

export interface ImageResult {
  readonly image: StoredImage;
  /** True when a registry was asked and sent it. */
  readonly pulled: boolean;
  /** Milliseconds the pull took. */
  readonly durationMs: number;
  /** Something the user should be told, such as that another tag stands in. */
  readonly note?: string;
}

export interface EnsureOptions extends PullOptions {
  /** Called before a registry is asked. */
  readonly onPull?: () => void;
}

/**
 * Finds the image of a container by its pull policy. An image that is on the machine is used without asking a
 * registry, except a pulled one under `Always`; when the registry does not answer then, the local one is used and said.
 * `busybox` and `nginx` of Docker Hub in any tag are made from Debian's packages when no registry answers.
 * Throws ImageError.
 */
export async function ensureImage(
  store: ImageStore,
  name: string,
  policy: PullPolicy,
  options: EnsureOptions = {},
): Promise<ImageResult> {
  let ref: ImageReference;
  try {
    ref = parseImageReference(name);
  } catch (error) {
    throw new ImageError(
      'InvalidImageName',
      `Failed to apply default image tag "${name}": ${errorMessage(error)}`,
      error,
    );
  }
  const builtin = builtinFor(name);
  let local = store.find(ref);
  if (builtin !== undefined && (local === undefined ? ref.tag === 'latest' : local.source === 'built')) {
    try {
      await ensureBuiltin(store, builtin);
      local = store.find(ref);
    } catch (error) {
      if (!(error instanceof WeftError && error.code === 'IMAGE_SOURCE_MISSING')) throw error;
    }
  }
  if (local !== undefined && (policy !== 'Always' || local.source !== 'pulled')) {
    return { image: local, pulled: false, durationMs: 0 };
  }
  if (policy === 'Never') {
    throw new ImageError('ErrImageNeverPull', `Container image "${name}" is not present with pull policy of Never`);
  }
  const started = performance.now();
  options.onPull?.();
  try {
    await pullImage(store, ref, options);
  } catch (error) {
    const silent = error instanceof WeftError && error.code === NO_REGISTRY;
    const durationMs = performance.now() - started;
    if (silent && local !== undefined) {
      const note = `No registry answered for "${name}"; the image on this machine is used as it is`;
      return { image: local, pulled: false, durationMs, note };
    }
    if (silent && builtin !== undefined) {
      const image = await ensureBuiltin(store, builtin).catch((cause: unknown) => {
        throw new ImageError('ErrImagePull', `${errorMessage(error)}; ${errorMessage(cause)}`, cause);
      });
      const from = image.config.history?.at(-1)?.created_by?.replace(/^weft: from /, '') ?? 'Debian';
      const note = `No registry answered for "${name}"; an image made on this machine from ${from} stands in`;
      return { image, pulled: false, durationMs, note };
    }
    throw new ImageError('ErrImagePull', errorMessage(error), error);
  }
  const image = store.find(ref);
  if (image === undefined) throw new ImageError('ErrImagePull', `the image "${ref.canonical}" vanished after its pull`);
  return { image, pulled: true, durationMs: performance.now() - started };
}
