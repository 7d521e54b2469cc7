import { loadYaml } from '../yaml.ts';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { WeftError } from '@weft/plan';
import { tokenFile } from './in-cluster.ts';
import type { Transport } from './transport.ts';

/** What a context of a kubeconfig file says. */
export interface KubeconfigContext {
  readonly context: string;
  readonly cluster: string;
  readonly user: string | undefined;
  /** The context's default namespace, `default` when it names none. */
  readonly namespace: string;
  readonly transport: Transport;
}

interface Named<K extends string, V> {
  readonly entry: V;
  readonly dir: string;
  readonly kind: K;
}
interface Cluster {
  server?: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'insecure-skip-tls-verify'?: boolean;
  'tls-server-name'?: string;
}
interface User {
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  token?: string;
  tokenFile?: string;
  exec?: unknown;
  'auth-provider'?: unknown;
}
interface Context {
  cluster?: string;
  user?: string;
  namespace?: string;
}
interface KubeconfigFile {
  'current-context'?: string;
  clusters?: { name: string; cluster?: Cluster }[] | null;
  users?: { name: string; user?: User }[] | null;
  contexts?: { name: string; context?: Context }[] | null;
}

/**
 * Reads a kubeconfig the way kubectl does: `path`, else the files that `$KUBECONFIG` lists (the first that defines an
 * entry wins), else `~/.kube/config`. `context` defaults to `current-context`. File names in it are relative to the
 * file that holds them. Credential plugins (`exec`, `auth-provider`) are refused by name.
 */
export async function loadKubeconfig(path?: string, context?: string): Promise<KubeconfigContext> {
  const fromEnv = process.env['KUBECONFIG']?.split(delimiter).filter((p) => p !== '');
  const paths = path !== undefined ? [path] : fromEnv?.length ? fromEnv : [join(homedir(), '.kube', 'config')];
  const { parse } = await loadYaml();
  const files: { dir: string; path: string; file: KubeconfigFile }[] = [];
  for (const each of paths) {
    let text: string;
    try {
      text = readFileSync(each, 'utf8');
    } catch (cause) {
      // kubectl ignores missing files of the list as long as one is there.
      if (paths.length > 1) continue;
      throw new WeftError({
        code: 'KUBECONFIG_UNREADABLE',
        message: `kubeconfig ${each} cannot be read`,
        hint: 'give the path of a kubeconfig file, or set KUBECONFIG',
        cause,
      });
    }
    try {
      files.push({ dir: dirname(resolve(each)), path: each, file: (parse(text) ?? {}) as KubeconfigFile });
    } catch (cause) {
      throw new WeftError({ code: 'KUBECONFIG_INVALID', message: `kubeconfig ${each} is not YAML`, cause });
    }
  }
  const name = context ?? files.find((f) => f.file['current-context'])?.file['current-context'];
  if (!name) {
    throw new WeftError({
      code: 'KUBECONFIG_INVALID',
      message: `kubeconfig ${paths.join(delimiter)} has no current-context`,
      hint: 'choose a context by name',
    });
  }
  const find = <K extends 'clusters' | 'users' | 'contexts', V>(kind: K, wanted: string): Named<K, V> => {
    for (const { dir, file } of files) {
      const found = file[kind]?.find((e) => e.name === wanted) as Record<string, unknown> | undefined;
      if (found) return { kind, dir, entry: (found[kind.slice(0, -1)] ?? {}) as V };
    }
    throw new WeftError({
      code: 'KUBECONFIG_INVALID',
      message: `kubeconfig ${paths.join(delimiter)}: ${kind.slice(0, -1)} "${wanted}" does not exist`,
    });
  };
  const chosen = find<'contexts', Context>('contexts', name).entry;
  const cluster = find<'clusters', Cluster>('clusters', chosen.cluster ?? '');
  const user = chosen.user ? find<'users', User>('users', chosen.user) : undefined;
  return {
    context: name,
    cluster: chosen.cluster ?? '',
    user: chosen.user,
    namespace: chosen.namespace || 'default',
    transport: transportOf(cluster, user, chosen),
  };
}

function transportOf(
  cluster: Named<'clusters', Cluster>,
  user: Named<'users', User> | undefined,
  context: Context,
): Transport {
  const c = cluster.entry;
  const u = user?.entry ?? {};
  if (u.exec !== undefined || u['auth-provider'] !== undefined) {
    throw new WeftError({
      code: 'KUBECONFIG_UNSUPPORTED',
      message: `kubeconfig user "${context.user}": users.user.${u.exec !== undefined ? 'exec' : 'auth-provider'} is not supported`,
      hint: 'use a client certificate or a token',
    });
  }
  if (!c.server) {
    throw new WeftError({
      code: 'KUBECONFIG_INVALID',
      message: `kubeconfig cluster "${context.cluster}": clusters.cluster.server is missing`,
    });
  }
  // Inline data wins over the file, as in client-go.
  const pem = (data: string | undefined, file: string | undefined, dir: string): Buffer | undefined =>
    data ? Buffer.from(data, 'base64') : file ? readFileSync(resolve(dir, file)) : undefined;
  const ca = pem(c['certificate-authority-data'], c['certificate-authority'], cluster.dir);
  const cert = user && pem(u['client-certificate-data'], u['client-certificate'], user.dir);
  const key = user && pem(u['client-key-data'], u['client-key'], user.dir);
  const token = u.tokenFile && user ? tokenFile(resolve(user.dir, u.tokenFile)) : u.token;
  return {
    kind: 'http',
    url: c.server.includes('://') ? c.server : `https://${c.server}`,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(token && { token }),
    ...(c['tls-server-name'] && { serverName: c['tls-server-name'] }),
    ...(c['insecure-skip-tls-verify'] && { insecureSkipTlsVerify: true }),
  };
}
