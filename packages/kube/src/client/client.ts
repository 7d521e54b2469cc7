import type { IncomingMessage } from 'node:http';
import { type Logger, silentLogger, WeftError } from '@weft/plan';
import type { Draft, KubeObject } from '../object.ts';
import { apiVersionOf } from '../object.ts';
import { type ResourceType, resourcePath } from '../resources.ts';
import type { ListMeta, Status } from '../types/meta.ts';
import { inClusterTransport } from './in-cluster.ts';
import type {
  CallOptions,
  DeleteCallOptions,
  KubeClientOptions,
  ListOptions,
  ListResult,
  PatchOptions,
  PatchType,
  QueryValue,
  RawRequest,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from './options.ts';
import { Wire } from './transport.ts';
import { delay, formatQuery, readLines, readText, refusal } from './wire-format.ts';

const PATCH_CONTENT_TYPE: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  // Every JSON document is YAML.
  apply: 'application/apply-patch+yaml',
};

/** How often a request that the server throttled (429 with Retry-After) is sent again, as client-go does. */
const MAX_THROTTLED_RETRIES = 10;

/**
 * A thin Kubernetes API client: JSON over node:http(s) with kept-alive connections.
 *
 * Every method rejects with StatusError when the server refuses, with WeftError `API_UNREACHABLE` when it cannot be
 * reached, and with the signal's reason when aborted.
 */
export class KubeClient {
  readonly #wire: Wire;
  readonly #userAgent: string;
  readonly #log: Logger;
  readonly #timeoutMs: number;

  constructor(options: KubeClientOptions) {
    this.#wire = new Wire(options.transport);
    this.#userAgent = options.userAgent ?? 'weft';
    this.#log = options.log ?? silentLogger;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  /** A client for a context of a kubeconfig file; see loadKubeconfig for where files are looked for. */
  static async fromKubeconfig(path?: string, context?: string): Promise<KubeClient> {
    const { loadKubeconfig } = await import('./kubeconfig.ts');
    const config = await loadKubeconfig(path, context);
    return new KubeClient({ transport: config.transport });
  }

  /** A client with the pod's own service account. Throws WeftError `NOT_IN_CLUSTER` outside a pod. */
  static inCluster(): KubeClient {
    return new KubeClient({ transport: inClusterTransport() });
  }

  /** Where requests go, for messages. */
  get target(): string {
    return this.#wire.target;
  }

  get<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    options: CallOptions & { readonly resourceVersion?: string } = {},
  ): Promise<T> {
    const path = objectPath(type, namespace, name);
    return this.#json<T>({
      path,
      query: { resourceVersion: options.resourceVersion },
      ...pickSignal(options),
    });
  }

  /** Lists one namespace, or all when `namespace` is undefined. One call is one page: see `limit` and `continue`. */
  async list<T extends KubeObject>(
    type: ResourceType<T>,
    namespace?: string,
    options: ListOptions = {},
  ): Promise<ListResult<T>> {
    const { signal, ...query } = options;
    const list = await this.#json<{ metadata?: ListMeta; items: T[] | null }>({
      path: resourcePath(type, namespace),
      query,
      ...pickSignal({ signal }),
    });
    const meta = list.metadata ?? {};
    const items = list.items ?? [];
    const apiVersion = apiVersionOf(type.group, type.version);
    for (const item of items) {
      // Items of a list leave out what the list says once; an object that travels on must say it itself.
      if (typeof item !== 'object' || item === null) continue;
      item.apiVersion ??= apiVersion;
      item.kind ??= type.kind;
    }
    return {
      items,
      resourceVersion: meta.resourceVersion ?? '',
      ...(meta.continue ? { continue: meta.continue } : {}),
      ...(meta.remainingItemCount === undefined ? {} : { remainingItemCount: meta.remainingItemCount }),
    };
  }

  /** Creates the object in its own `metadata.namespace`; fills in `apiVersion` and `kind`. */
  create<T extends KubeObject>(type: ResourceType<T>, object: Draft<T>, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = object.metadata;
    if (type.namespaced) requireNamespace(type, namespace, name);
    return this.#json<T>({
      method: 'POST',
      path: resourcePath(type, namespace),
      query: writeQuery(options),
      body: typed(type, object),
      ...pickSignal(options),
    });
  }

  /** Replaces the object; a `metadata.resourceVersion` in it makes the server refuse (409) when it is not the latest. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#put(type, object, undefined, options);
  }

  /** Replaces the object's status and nothing else of it. */
  updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#put(type, object, 'status', options);
  }

  patch<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    body: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    return this.#json<T>({
      method: 'PATCH',
      path: objectPath(type, namespace, name, options.subresource),
      query: { ...writeQuery(options), force: options.force },
      body,
      contentType: PATCH_CONTENT_TYPE[options.type ?? 'merge'],
      ...pickSignal(options),
    });
  }

  /** Resolves with what the server answers: the object when it lives on (finalizers, grace period), else a Status. */
  delete<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    options: DeleteCallOptions = {},
  ): Promise<T | Status> {
    return this.#json<T | Status>({
      method: 'DELETE',
      path: objectPath(type, namespace, name),
      body: deleteBody(options),
      ...pickSignal(options),
    });
  }

  /** Deletes every object of a namespace that the selectors match. */
  async deleteCollection<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    options: DeleteCallOptions & { readonly labelSelector?: string; readonly fieldSelector?: string } = {},
  ): Promise<void> {
    await this.#json({
      method: 'DELETE',
      path: resourcePath(type, namespace),
      query: { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector },
      body: deleteBody(options),
      ...pickSignal(options),
    });
  }

  /** Calls a subresource such as `scale`, `eviction`, `token` or `binding`. */
  subresource<T>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    subresource: string,
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    body?: unknown,
    options: CallOptions = {},
  ): Promise<T> {
    return this.#json<T>({
      method,
      path: objectPath(type, namespace, name, subresource),
      body,
      ...pickSignal(options),
    });
  }

  /**
   * Follows one watch stream and calls `onEvent` synchronously for every line, as soon as its bytes are read. Resolves
   * when the server ends the stream or `signal` aborts; rejects on a refusal, a broken stream or when `onEvent` throws.
   */
  async watch<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    options: WatchOptions,
    onEvent: (event: WatchEvent<T>) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { idleTimeoutMs = 0, onOpen, ...query } = options;
    let response: IncomingMessage;
    try {
      response = await this.open({
        path: resourcePath(type, namespace),
        query: { watch: true, ...query },
        idleTimeoutMs,
        ...pickSignal({ signal }),
      });
    } catch (error) {
      if (signal?.aborted) return;
      throw error;
    }
    // A peer that died without a word is found by probes after 15 s + 10 × 1 s.
    response.socket.setKeepAlive(true, 15_000);
    onOpen?.();
    await readLines(response, (value) => onEvent(value as WatchEvent<T>), signal);
  }

  /** Any request, answered with parsed JSON (or the text when the answer is not JSON). */
  request<T = unknown>(request: RawRequest): Promise<T> {
    return this.#json<T>(request);
  }

  /**
   * Any request, answered with the open response, for streams such as logs. The caller must consume or destroy it.
   * A refusal is read and thrown as StatusError.
   */
  async open(request: RawRequest): Promise<IncomingMessage> {
    const headers: Record<string, string> = { 'User-Agent': this.#userAgent };
    if (request.accept !== undefined) headers['Accept'] = request.accept;
    const body = request.body === undefined ? undefined : JSON.stringify(request.body);
    if (body !== undefined) headers['Content-Type'] = request.contentType ?? 'application/json';
    const path = request.path + formatQuery(request.query);
    for (let tries = 0; ; tries++) {
      const response = await this.#wire.send({
        method: request.method ?? 'GET',
        path,
        headers,
        body,
        signal: request.signal,
        idleTimeoutMs: request.idleTimeoutMs ?? this.#timeoutMs,
      });
      const code = response.statusCode ?? 0;
      if (code >= 200 && code < 300) return response;
      const error = refusal(code, await readText(response), `${request.method ?? 'GET'} ${request.path}`);
      const wait = Number(response.headers['retry-after']);
      if (code !== 429 || !Number.isFinite(wait) || tries >= MAX_THROTTLED_RETRIES) throw error;
      this.#log.debug('the API server asks to slow down', { path: request.path, seconds: wait });
      await delay(wait * 1000, request.signal);
    }
  }

  /** Closes all connections; running requests and watches fail. */
  close(): void {
    this.#wire.close();
  }

  #put<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    subresource: string | undefined,
    options: WriteOptions,
  ): Promise<T> {
    return this.#json<T>({
      method: 'PUT',
      path: objectPath(type, object.metadata.namespace, object.metadata.name, subresource),
      query: writeQuery(options),
      body: typed(type, object),
      ...pickSignal(options),
    });
  }

  async #json<T>(request: RawRequest): Promise<T> {
    const response = await this.open(request);
    const text = await readText(response);
    if (text === '') return undefined as T;
    if (!String(response.headers['content-type']).includes('json')) return text as T;
    return JSON.parse(text) as T;
  }
}

function objectPath(type: ResourceType, namespace: string | undefined, name: string, subresource?: string): string {
  if (type.namespaced) requireNamespace(type, namespace, name);
  if (!name) {
    throw new WeftError({ code: 'OBJECT_NAME_MISSING', message: `${type.kind}: metadata.name is needed` });
  }
  return resourcePath(type, namespace, name, subresource);
}

function requireNamespace(type: ResourceType, namespace: string | undefined, name = ''): void {
  if (namespace) return;
  throw new WeftError({
    code: 'OBJECT_NAMESPACE_MISSING',
    message: `${type.kind} "${name}": metadata.namespace is needed, the kind is namespaced`,
  });
}

function typed(type: ResourceType, object: { apiVersion?: string; kind?: string }): unknown {
  if (object.apiVersion !== undefined && object.kind !== undefined) return object;
  return { apiVersion: apiVersionOf(type.group, type.version), kind: type.kind, ...object };
}

function writeQuery(options: WriteOptions): Record<string, QueryValue> {
  return {
    dryRun: options.dryRun ? 'All' : undefined,
    fieldManager: options.fieldManager,
    fieldValidation: options.fieldValidation,
  };
}

function deleteBody(options: DeleteCallOptions): unknown {
  const { propagationPolicy, gracePeriodSeconds, uid, resourceVersion } = options;
  return {
    kind: 'DeleteOptions',
    apiVersion: 'v1',
    propagationPolicy,
    gracePeriodSeconds,
    ...(uid !== undefined || resourceVersion !== undefined ? { preconditions: { uid, resourceVersion } } : {}),
  };
}

function pickSignal(options: { signal?: AbortSignal | undefined }): CallOptions {
  return options.signal === undefined ? {} : { signal: options.signal };
}
