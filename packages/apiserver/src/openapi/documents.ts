import { customOpenapi } from '../crd/openapi.ts';
import type { Resource, ResourceTable } from '../registry/resource.ts';
import { openapiV3, openapiV3Index } from '../schema/index.ts';
import { openapiV2 } from './v2.ts';

interface Custom {
  readonly document: Buffer;
  readonly hash: string;
}

/** The OpenAPI documents of what is served now: built-in kinds from the tables, custom ones from their definitions. */
export class OpenapiDocuments {
  readonly #table: ResourceTable;
  #version = -1;
  #custom = new Map<string, Custom>();
  #v2: Buffer | undefined;

  constructor(table: ResourceTable) {
    this.#table = table;
  }

  /** Body of GET /openapi/v3. */
  index(): { paths: Record<string, { serverRelativeURL: string }> } {
    this.#refresh();
    const paths = { ...openapiV3Index().paths };
    for (const [path, { hash }] of this.#custom)
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
    return { paths };
  }

  /** The document of `apis/apps/v1` and the like, with its hash. */
  document(path: string): { document: Buffer; hash: string } | undefined {
    this.#refresh();
    const custom = this.#custom.get(path);
    if (custom !== undefined) return custom;
    const document = openapiV3(path);
    if (document === undefined) return undefined;
    return { document, hash: openapiV3Index().paths[path]?.serverRelativeURL.split('hash=')[1] ?? '' };
  }

  /** The OpenAPI v2 document in protobuf, made on first use. */
  v2(): Buffer {
    this.#refresh();
    this.#v2 ??= openapiV2(this.#table.all().map((resource) => resource.api));
    return this.#v2;
  }

  #refresh(): void {
    if (this.#version === this.#table.version) return;
    this.#version = this.#table.version;
    this.#v2 = undefined;
    this.#custom = new Map();
    const groups = new Map<string, Resource[]>();
    for (const resource of this.#table.all()) {
      if (resource.custom === undefined) continue;
      const path = `apis/${resource.api.group}/${resource.api.version}`;
      groups.set(path, [...(groups.get(path) ?? []), resource]);
    }
    for (const [path, resources] of groups) this.#custom.set(path, customOpenapi(resources));
  }
}
