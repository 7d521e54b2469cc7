export { BUILTIN_IMAGES, builtinFor, type BuiltinName, builtinReady, ensureBuiltin } from './builtin.ts';
export { ensureImage, type EnsureOptions, ImageError, type ImageResult, type PullPolicy } from './images.ts';
export { loadImages } from './load.ts';
export type { Descriptor, ImageConfig, ImageManifest, ImageRunConfig } from './oci.ts';
export { pullImage, type PullOptions } from './pull.ts';
export { type ImageReference, parseImageReference } from './reference.ts';
export { type ImageSource, ImageStore, type NewImage, type StoredImage } from './store.ts';
