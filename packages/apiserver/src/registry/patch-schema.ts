import type { PatchField, PatchSchema } from '@weft/kube';
import { type TypeExpr, typeOf } from '../schema/types.ts';

function elementType(expr: TypeExpr): string | undefined {
  if (expr.kind === 'array' || expr.kind === 'map') return elementType(expr.of);
  return expr.kind === 'ref' && typeOf(expr.type)?.fields !== undefined ? expr.type : undefined;
}

/** The published schema as strategic merge patches see it. */
export const strategicSchema: PatchSchema = {
  field(typeName: string, fieldName: string): PatchField | undefined {
    const field = typeOf(typeName)?.fields?.get(fieldName);
    if (field === undefined) return undefined;
    const type = elementType(field.expr);
    return {
      ...(type === undefined ? {} : { type }),
      ...(field.expr.kind === 'array' ? { list: true } : {}),
      ...(field.expr.kind === 'map' ? { map: true } : {}),
      ...(field.mergeKey === undefined ? {} : { mergeKey: field.mergeKey }),
      ...(field.strategy === undefined ? {} : { strategy: field.strategy.split(',') as ('merge' | 'retainKeys')[] }),
    };
  },
};
