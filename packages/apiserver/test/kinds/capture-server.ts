import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gvkType, openapiV3, openapiV3Index, resources } from '../../src/schema/index.ts';

export interface Captured {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  readonly body: Buffer;
}

/** Where kubectl of one minor version is, if this machine has it. */
export function kubectlPath(version: string): string | undefined {
  const path = `/usr/lib/google-cloud-sdk/bin/kubectl.${version}`;
  return existsSync(path) ? path : undefined;
}

const run = promisify(execFile);

/** Answers discovery and OpenAPI from the tables, records every write and answers it with `respond`. */
export class CaptureServer {
  readonly captured: Captured[] = [];
  /** Objects for GET, by path. */
  readonly objects = new Map<string, object>();
  respond: (request: Captured) => object = () => ({ kind: 'Status', apiVersion: 'v1', status: 'Success' });
  readonly #server = createServer((req, res) => void this.#handle(req, res));
  readonly #home = mkdtempSync(join(tmpdir(), 'weft-kubectl-'));

  async start(): Promise<void> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
    rmSync(this.#home, { recursive: true, force: true });
  }

  /** Runs kubectl against this server; returns what it prints, errors as well. */
  async kubectl(binary: string, ...args: string[]): Promise<string> {
    const { port } = this.#server.address() as AddressInfo;
    const env = { PATH: '/usr/bin:/bin', HOME: this.#home, KUBECONFIG: '/dev/null' };
    const all = [`--server=http://127.0.0.1:${port}`, ...args];
    const result = await run(binary, all, { env }).catch((error: { stdout: string; stderr: string }) => error);
    return `${result.stdout}${result.stderr}`;
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const { pathname: path } = new URL(req.url ?? '/', 'http://x');
    const send = (code: number, body: object | Buffer, type = 'application/json'): void => {
      res.writeHead(code, { 'content-type': type });
      res.end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
    };
    const notFound = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 };
    if (req.method === 'GET') {
      const object = this.objects.get(path) ?? document(path);
      if (object === undefined) send(404, notFound);
      else send(200, object);
      return;
    }
    const request = {
      method: req.method ?? '',
      path,
      contentType: req.headers['content-type'] ?? '',
      body: Buffer.concat(chunks),
    };
    this.captured.push(request);
    send(201, this.respond(request));
  }
}

const groupVersions = [...new Set(resources.map((r) => (r.group === '' ? r.version : `${r.group}/${r.version}`)))];

function document(path: string): object | Buffer | undefined {
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis') {
    const groups = [...new Set(resources.map((r) => r.group).filter((g) => g !== ''))].map((name) => {
      const versions = groupVersions
        .filter((gv) => gv.startsWith(`${name}/`))
        .map((groupVersion) => ({ groupVersion, version: groupVersion.slice(name.length + 1) }));
      return { name, versions, preferredVersion: versions[0] };
    });
    return { kind: 'APIGroupList', apiVersion: 'v1', groups };
  }
  if (path === '/openapi/v3') return openapiV3Index();
  if (path.startsWith('/openapi/v3/')) return openapiV3(path.slice('/openapi/v3/'.length));
  const m = /^\/(?:api|apis\/([^/]+))\/([^/]+)$/.exec(path);
  if (m === null) return undefined;
  const [, group = '', version = ''] = m;
  const own = resources.filter((r) => r.group === group && r.version === version);
  if (own.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? version : `${group}/${version}`,
    resources: own.map(({ plural, singular, namespaced, kind, verbs, shortNames, categories }) => ({
      name: plural,
      singularName: singular,
      namespaced,
      kind,
      verbs,
      shortNames,
      categories,
    })),
  };
}

export const typeNameOf = (obj: { apiVersion?: string; kind?: string }): string | undefined => {
  const parts = (obj.apiVersion ?? '').split('/');
  return gvkType(parts.length === 2 ? (parts[0] ?? '') : '', parts.at(-1) ?? '', obj.kind ?? '');
};
