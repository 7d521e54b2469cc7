import type { KindStrategy } from '../contract.ts';
import type { AnyObject, Stored } from '../store/stored.ts';
import { objectOf, type Resource } from '../registry/resource.ts';
import type { OutputForm } from './negotiate.ts';

/** How much of the object each row of a table carries (`includeObject`). */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

export interface View {
  readonly resource: Resource;
  readonly form: OutputForm;
  readonly includeObject: IncludeObject;
  readonly now: Date;
}

/** A key for caches of rendered events: views with the same key render the same bytes within one event. */
export function viewKey(view: View): string {
  const { form, resource, includeObject } = view;
  return `${resource.api.version}.${resource.conversion === undefined ? '' : resource.api.group}|${form.as}|${form.version}|${form.as === 'table' ? includeObject : ''}`;
}

function objectJson(resource: Resource, state: Stored): Buffer {
  return resource.conversion === undefined ? state.json : Buffer.from(JSON.stringify(objectOf(resource, state)));
}

/** One object in the form that was asked for. */
export function renderObject(view: View, state: Stored): Buffer {
  switch (view.form.as) {
    case 'object':
      return objectJson(view.resource, state);
    case 'table':
      return Buffer.from(JSON.stringify(table(view, [state], true, { resourceVersion: version(state) })));
    default:
      return Buffer.from(JSON.stringify(partial(view, state)));
  }
}

/** An object that is made for the answer and stored nowhere, such as a Scale, with a printer of its own. */
export function renderMade(view: View, printer: Pick<KindStrategy, 'columns' | 'cells'>, object: AnyObject): object {
  if (view.form.as === 'object') return object;
  if (view.form.as !== 'table') return partialOf(view, object);
  return tableOf(view, printer, [object], true, { resourceVersion: object.metadata.resourceVersion ?? '' });
}

/** The object of a watch event; tables carry their columns only in the first event of a watch. */
export function renderEventObject(view: View, state: Stored, columns: boolean): Buffer {
  if (view.form.as !== 'table') return renderObject(view, state);
  return Buffer.from(JSON.stringify(table(view, [state], columns, { resourceVersion: version(state) })));
}

export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** A list, as buffers to be written one behind the other; objects that are served as stored are not serialised anew. */
export function* renderList(view: View, states: readonly Stored[], meta: ListMeta): Generator<Buffer> {
  const { form, resource } = view;
  if (form.as === 'table') {
    yield Buffer.from(JSON.stringify(table(view, states, true, meta)));
    return;
  }
  const whole = form.as === 'object';
  const kind = whole ? (resource.custom?.listKind ?? `${resource.api.kind}List`) : 'PartialObjectMetadataList';
  const apiVersion = whole ? resource.apiVersion : `meta.k8s.io/${form.version}`;
  yield Buffer.from(
    `{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":${JSON.stringify(meta)},"items":[`,
  );
  let first = true;
  for (const state of states) {
    if (!first) yield COMMA;
    first = false;
    yield whole ? objectJson(resource, state) : Buffer.from(JSON.stringify(partial(view, state)));
  }
  yield END;
}

const COMMA = Buffer.from(',');
const END = Buffer.from(']}\n');

function version(state: Stored): string {
  return state.object.metadata.resourceVersion ?? '';
}

function partial(view: View, state: Stored): object {
  return partialOf(view, state.object);
}

function partialOf(view: View, { metadata }: AnyObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${view.form.version}`, metadata };
}

function table(view: View, states: readonly Stored[], columns: boolean, meta: ListMeta): object {
  const objects = states.map((state) => objectOf(view.resource, state));
  return tableOf(view, view.resource.strategy, objects, columns, meta);
}

function tableOf(
  view: View,
  printer: Pick<KindStrategy, 'columns' | 'cells'>,
  objects: readonly AnyObject[],
  columns: boolean,
  meta: ListMeta,
): object {
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${view.form.version}`,
    metadata: meta,
    columnDefinitions: columns
      ? printer.columns.map((c) => ({
          name: c.name,
          type: c.type,
          format: c.format ?? '',
          description: c.description,
          priority: c.priority,
        }))
      : null,
    rows: objects.map((object) => ({
      cells: printer.cells(object, view.now),
      ...(view.includeObject === 'None' ? {} : { object: rowObject(view, object) }),
    })),
  };
}

function rowObject(view: View, object: AnyObject): object {
  if (view.includeObject === 'Object') return object;
  // Nobody reads the owners of fields from a table, and they are half of its size.
  const { managedFields: _, ...metadata } = object.metadata;
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${view.form.version}`, metadata };
}
