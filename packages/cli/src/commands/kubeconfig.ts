import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findCluster, type KnownCluster } from '@weft/lab';
import { loadYaml } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';
import { createOutput } from '../output.ts';

interface Named {
  readonly name: string;
}

interface Kubeconfig {
  apiVersion?: string;
  kind?: string;
  clusters?: Named[];
  contexts?: Named[];
  users?: Named[];
  'current-context'?: string;
  [other: string]: unknown;
}

/** Name of a cluster's context: `weft` for the default cluster, `weft-NAME` for others. */
export function contextName(cluster: string): string {
  return cluster === 'weft' ? 'weft' : `weft-${cluster}`;
}

function defaultFile(): string {
  const listed = process.env['KUBECONFIG']?.split(':').find((p) => p !== '');
  return listed ?? path.join(process.env['HOME'] ?? '/root', '.kube', 'config');
}

async function readConfig(file: string): Promise<Kubeconfig | undefined> {
  if (!existsSync(file)) return {};
  try {
    return ((await loadYaml()).parse(readFileSync(file, 'utf8')) as Kubeconfig | null) ?? {};
  } catch {
    // Somebody else's broken file is left as it is.
    return undefined;
  }
}

async function writeConfig(file: string, config: Kubeconfig): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.weft`, (await loadYaml()).stringify(config, { lineWidth: 0 }), { mode: 0o600 });
  renameSync(`${file}.weft`, file);
}

export interface Merged {
  readonly file: string;
  readonly context: string;
  readonly previous: string | undefined;
}

/** Adds the cluster to the user's kubeconfig and makes it the current context. Undefined when that file is unreadable. */
export async function mergeKubeconfig(cluster: KnownCluster, file: string | undefined): Promise<Merged | undefined> {
  const target = file ?? defaultFile();
  const own = (await loadYaml()).parse(readFileSync(cluster.paths.kubeconfig, 'utf8')) as Kubeconfig;
  const into = await readConfig(target);
  if (into === undefined) return undefined;
  const context = contextName(cluster.config.name);
  const previous = into['current-context'];
  const merged: Kubeconfig = { apiVersion: 'v1', kind: 'Config', preferences: {}, ...into, 'current-context': context };
  for (const section of ['clusters', 'contexts', 'users'] as const) {
    const mine = (own[section] ?? []).map((entry) => ({ ...entry, name: context }));
    merged[section] = [...(into[section] ?? []).filter((e) => e.name !== context), ...mine];
  }
  merged.contexts = (merged.contexts ?? []).map((c) =>
    c.name === context ? { ...c, context: { cluster: context, user: context } } : c,
  );
  if (previous !== undefined && previous !== context && previous !== '') merged['weft-previous-context'] = previous;
  await writeConfig(target, merged);
  return { file: target, context, previous: previous === context || previous === '' ? undefined : previous };
}

/** Takes the cluster out of the user's kubeconfig and puts the former context back. */
export async function unmergeKubeconfig(cluster: string): Promise<void> {
  const file = defaultFile();
  const context = contextName(cluster);
  const config = existsSync(file) ? await readConfig(file) : undefined;
  if (config === undefined || !(config.contexts ?? []).some((c) => c.name === context)) return;
  for (const section of ['clusters', 'contexts', 'users'] as const)
    config[section] = (config[section] ?? []).filter((e) => e.name !== context);
  const previous = config['weft-previous-context'];
  delete config['weft-previous-context'];
  if (config['current-context'] === context) {
    const back = typeof previous === 'string' && config.contexts?.some((c) => c.name === previous);
    config['current-context'] = back ? (previous as string) : '';
  }
  await writeConfig(file, config);
}

export async function kubeconfig(options: {
  readonly name: string;
  readonly path?: boolean;
  readonly merge?: string | boolean;
  readonly output?: string;
}): Promise<void> {
  const out = createOutput(options.output);
  const cluster = findCluster(options.name, hostContext());
  if (cluster === undefined || !existsSync(cluster.paths.kubeconfig)) {
    throw new WeftError({
      code: 'NO_SUCH_CLUSTER',
      message: `there is no cluster "${options.name}"`,
      hint: 'weft status lists the clusters; weft up makes one',
    });
  }
  if (options.path === true) {
    out.line(cluster.paths.kubeconfig);
    out.result({ path: cluster.paths.kubeconfig });
  } else if (options.merge !== undefined && options.merge !== false) {
    const merged = await mergeKubeconfig(cluster, typeof options.merge === 'string' ? options.merge : undefined);
    if (merged === undefined)
      throw new WeftError({
        code: 'BAD_KUBECONFIG',
        message: `${defaultFile()} is not valid YAML`,
        hint: 'mend it, or name another file',
      });
    out.line(`Context "${merged.context}" is current in ${merged.file}.`);
    out.result(merged);
  } else {
    const text = readFileSync(cluster.paths.kubeconfig, 'utf8');
    if (out.json) out.result((await loadYaml()).parse(text));
    else process.stdout.write(text);
  }
}
