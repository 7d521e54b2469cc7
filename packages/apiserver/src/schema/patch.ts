import { type TypeExpr, typeOf } from './types.ts';

/** What strategic merge patch and server-side apply need to know of one field. */
export interface PatchField {
  /** Type of the value, or of the elements of a list or map, when it is an object. */
  readonly type?: string;
  readonly list?: 'atomic' | 'set' | 'map';
  /** Keys of the elements of a list of type `map`. */
  readonly keys?: readonly string[];
  readonly map?: 'atomic' | 'granular';
  readonly mergeKey?: string;
  readonly strategy?: 'merge' | 'retainKeys' | 'merge,retainKeys';
}

function objectTypeOf(expr: TypeExpr): string | undefined {
  if (expr.kind === 'array' || expr.kind === 'map') return objectTypeOf(expr.of);
  if (expr.kind !== 'ref') return undefined;
  return typeOf(expr.type)?.fields === undefined ? undefined : expr.type;
}

/** Looks up list types, merge keys and patch strategies of the published schema. */
export const patchSchema = {
  field(typeName: string, fieldName: string): PatchField | undefined {
    const field = typeOf(typeName)?.fields?.get(fieldName);
    if (field === undefined) return undefined;
    const type = objectTypeOf(field.expr);
    const atomicValue = field.expr.kind === 'ref' && typeOf(field.expr.type)?.atomic === true;
    return {
      ...(type === undefined ? {} : { type }),
      ...(field.list === undefined ? {} : { list: field.list }),
      ...(field.keys === undefined ? {} : { keys: field.keys }),
      ...(field.mergeKey === undefined ? {} : { mergeKey: field.mergeKey }),
      ...(field.strategy === undefined ? {} : { strategy: field.strategy }),
      ...(atomicValue ? { map: 'atomic' } : field.map === undefined ? {} : { map: field.map }),
    };
  },
};
