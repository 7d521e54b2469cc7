export { checkFields, type FieldCheck } from './check.ts';
export { openapiV3, openapiV3Index } from './openapi.ts';
export { type PatchField, patchSchema } from './patch.ts';
export { decodeProtobuf } from './protobuf.ts';
export { resources } from './resources.ts';
export { gvkType } from './types.ts';
