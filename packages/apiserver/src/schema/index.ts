export { checkFields, type FieldCheck } from './check.ts';
export { openapiV3, openapiV3Index } from './openapi.ts';
export { decodeProtobuf } from './protobuf.ts';
export { resources } from './resources.ts';
export { gvkType, type TypeExpr, typeOf } from './types.ts';
