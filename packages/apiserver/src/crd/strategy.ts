import type { CustomResourceDefinition, CustomResourceDefinitionVersion, KubeObject } from '@weft/kube';
import type { FieldError, KindStrategy, TableColumn } from '../contract.ts';
import { ageOf } from '../table/age.ts';
import { compileJsonPath, type JsonPath } from './json-path.ts';
import { applyDefaults, pruneUnknown, type Schema } from './structural.ts';
import { validateSchema } from './validate.ts';

type Custom = KubeObject & { [field: string]: unknown };
type Cell = string | number | boolean | null;

interface PrinterColumn {
  readonly column: TableColumn;
  readonly cell: (object: KubeObject, now: Date) => Cell;
}

const NAME: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name must be unique within a namespace.',
  priority: 0,
};

/** The rules of one version of a custom resource, from its definition. */
export function customStrategy(
  definition: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
): KindStrategy {
  const schema = (version.schema?.openAPIV3Schema ?? {}) as Schema;
  const hasStatus = version.subresources?.status !== undefined;
  const printers = columnsOf(version);
  const open = definition.spec.preserveUnknownFields === true;
  const tidy = (object: KubeObject): void => {
    if (!open) pruneUnknown(object, schema);
    applyDefaults(object, schema);
  };
  const check = (object: KubeObject): FieldError[] => {
    const { apiVersion: _, kind: __, metadata: ___, ...fields } = object as Custom;
    // The common fields are checked as those of every object; a schema may still ask for them.
    return validateSchema(fields, withoutCommon(schema));
  };
  const selectable = (version.selectableFields ?? []).flatMap((field) => {
    const path = compileJsonPath(field.jsonPath);
    return path === undefined
      ? []
      : [[field.jsonPath.replace(/^\./, ''), (o: KubeObject) => textOf(path(o)[0]) ?? ''] as const];
  });
  return {
    defaults: tidy,
    hasGeneration: true,
    statusSubresource: hasStatus,
    ...(hasStatus
      ? {
          prepareCreate: (object: KubeObject) => {
            delete (object as Custom).status;
          },
        }
      : {}),
    validate: check,
    selectableFields: Object.fromEntries(selectable),
    columns: [NAME, ...printers.map((p) => p.column)],
    cells: (object, now) => [object.metadata.name, ...printers.map((p) => p.cell(object, now))],
    ...(version.deprecated === true
      ? { warnings: () => [version.deprecationWarning ?? deprecation(definition, version)] }
      : {}),
  };
}

function deprecation(definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion): string {
  return `${definition.spec.group}/${version.name} ${definition.spec.names.kind} is deprecated`;
}

function withoutCommon(schema: Schema): Schema {
  const required = Array.isArray(schema.required)
    ? (schema.required as string[]).filter((name) => !['apiVersion', 'kind', 'metadata'].includes(name))
    : [];
  return { ...schema, required };
}

function columnsOf(version: CustomResourceDefinitionVersion): PrinterColumn[] {
  const declared = version.additionalPrinterColumns ?? [];
  if (declared.length === 0) {
    const column: TableColumn = {
      name: 'Age',
      type: 'date',
      description: 'CreationTimestamp is a timestamp representing the server time when this object was created.',
      priority: 0,
    };
    return [{ column, cell: (object, now) => ageOf(object.metadata.creationTimestamp, now) }];
  }
  return declared.map(({ name, type, format, description = '', priority = 0, jsonPath }) => {
    const path = compileJsonPath(jsonPath);
    const column: TableColumn = {
      name,
      type: type as TableColumn['type'],
      ...(format === undefined ? {} : { format }),
      description,
      priority,
    };
    return { column, cell: (object, now) => cellOf(path, type, object, now) };
  });
}

function cellOf(path: JsonPath | undefined, type: string, object: KubeObject, now: Date): Cell {
  const values = path?.(object) ?? [];
  const [first] = values;
  if (first === undefined || first === null) return null;
  switch (type) {
    case 'date':
      return typeof first === 'string' ? ageOf(first, now) : null;
    case 'integer':
    case 'number':
      return typeof first === 'number' ? first : null;
    case 'boolean':
      return typeof first === 'boolean' ? first : null;
    default:
      return values.map((v) => textOf(v) ?? '').join(',');
  }
}

function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
