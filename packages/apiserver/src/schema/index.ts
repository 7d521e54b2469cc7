export { checkFields, type FieldCheck } from './check.ts';
export { openapiV3, openapiV3Index } from './openapi.ts';
export { decodeProtobuf } from './protobuf.ts';
export { resources } from './resources.ts';
export { type Field, gvkType, type ObjectType, type TypeExpr, typeOf } from './types.ts';
