export * from './calico/index.ts';
export { KubeClient } from './client/client.ts';
export { inClusterTransport } from './client/in-cluster.ts';
export { JsonLines } from './client/json-lines.ts';
export { type KubeconfigContext, loadKubeconfig } from './client/kubeconfig.ts';
export type * from './client/options.ts';
export type { Transport } from './client/transport.ts';
export { EventRecorder, type EventRecorderOptions, microTimestamp, referenceTo, timestamp } from './events.ts';
export { Backoff } from './informer/backoff.ts';
export {
  INITIAL_EVENTS_END,
  Informer,
  type InformerHandlers,
  type InformerOptions,
  type InformerStats,
  withoutManagedFields,
} from './informer/informer.ts';
export { type IndexFunction, Store } from './informer/store.ts';
export * from './multi-network/index.ts';
export * from './object.ts';
export { PatchError } from './patch/errors.ts';
export { applyJsonPatch, type JsonPatchOperation } from './patch/json-patch.ts';
export type { Json, JsonObject } from './patch/json-value.ts';
export { sameJson } from './patch/json-value.ts';
export { applyMergePatch, mergePatchBetween } from './patch/merge.ts';
export { applyStrategicMergePatch, type PatchField, type PatchSchema } from './patch/strategic.ts';
export * from './quantity.ts';
export * from './resources.ts';
export * from './selectors/fields.ts';
export * from './selectors/labels.ts';
export * from './status.ts';
export type * from './types/index.ts';
export * as wellKnown from './well-known.ts';
export { formatYaml, loadYaml, parseYamlDocuments } from './yaml.ts';
