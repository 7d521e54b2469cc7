import { readFileSync, unwatchFile, watchFile, writeFileSync } from 'node:fs';
import { inClusterTransport, KubeClient, loadKubeconfig, type Transport } from '@weft/kube';
import { jsonLogger, type Logger, WeftError } from '@weft/plan';
import { defaultConfiguration, FIELDS, getField, type KubeProxyConfiguration } from './configuration.ts';
import { decodeConfiguration, encodeConfiguration } from './decode.ts';
import { applyFlags, flagHelp, type Flags, parseFlags } from './flags.ts';
import { klogLogger } from './klog.ts';
import { cleanupKubeProxy, modeOf, runKubeProxy, type RunningKubeProxy } from './run.ts';
import { tuneConntrack } from './conntrack.ts';
import { validate } from './validate.ts';

/** What a command line asks for. */
export interface KubeProxyCommand {
  readonly action: 'run' | 'cleanup' | 'write-config' | 'init' | 'version' | 'help';
  readonly config: KubeProxyConfiguration;
  readonly flags: Flags;
  /** The file that was read. */
  readonly file?: string;
  /** Where `--write-config-to` writes. */
  readonly output?: string;
  readonly master?: string;
  /** What the user should know: fields that do not exist, flags that do not count. */
  readonly warnings: readonly string[];
}

/** Reads command line and file, as kube-proxy does. Throws WeftError that names the flag or the field. */
export async function readCommand(args: readonly string[]): Promise<KubeProxyCommand> {
  const flags = parseFlags(args);
  const file = flags.values.get('config') as string | undefined;
  const warnings: string[] = [];
  const config = file === undefined || file === '' ? defaultConfiguration() : await readFile(file, warnings);
  if (file !== undefined && file !== '') overrideFile(config, flags, warnings);
  else applyFlags(config, flags);
  const errors = validate(config);
  if (errors.length > 0) {
    throw new WeftError({
      code: 'KUBE_PROXY_CONFIG',
      message: errors.length === 1 ? (errors[0] as string) : `[${errors.join(', ')}]`,
      hint: 'weft kube-proxy --help lists the flags and the fields they set',
    });
  }
  const is = (name: string): boolean => flags.values.get(name) === true;
  const output = flags.values.get('write-config-to') as string | undefined;
  const master = flags.values.get('master') as string | undefined;
  return {
    action: is('help')
      ? 'help'
      : is('version')
        ? 'version'
        : output !== undefined
          ? 'write-config'
          : is('cleanup')
            ? 'cleanup'
            : is('init-only')
              ? 'init'
              : 'run',
    config,
    flags,
    warnings,
    ...(file === undefined ? {} : { file }),
    ...(output === undefined ? {} : { output }),
    ...(master === undefined ? {} : { master }),
  };
}

async function readFile(file: string, warnings: string[]): Promise<KubeProxyConfiguration> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WeftError({
      code: 'KUBE_PROXY_CONFIG',
      message: `--config: cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      hint: 'give the path of a KubeProxyConfiguration',
      cause,
    });
  }
  const { config, unknown } = await decodeConfiguration(text, file);
  // kube-proxy decodes leniently where strict decoding fails, so that files of other versions go on working.
  warnings.push(...unknown.map((path) => `${file}: strict decoding error: unknown field "${path}"; it is ignored`));
  return config;
}

/** With a file, the host name and the feature gates are the only flags that count. */
function overrideFile(config: KubeProxyConfiguration, flags: Flags, warnings: string[]): void {
  const name = flags.values.get('hostname-override') as string | undefined;
  if (name !== undefined) config.hostnameOverride = name;
  const gates = flags.values.get('feature-gates') as Record<string, boolean> | undefined;
  Object.assign(config.featureGates, gates);
  for (const flag of flags.config) {
    if (['hostname-override', 'feature-gates', 'v', 'logging-format'].includes(flag)) continue;
    warnings.push(`--${flag} has no effect: --config is given, and the file counts`);
  }
}

/**
 * The client for `--master`, `--kubeconfig` or the pod's own account, in kube-proxy's order. `unix:///PATH` as master is
 * ours: the socket of an API server on this machine.
 */
async function kubeProxyClient(config: KubeProxyConfiguration, master: string | undefined): Promise<KubeClient> {
  const { kubeconfig } = config.clientConnection;
  if (master?.startsWith('unix://')) {
    return new KubeClient({ transport: { kind: 'unix', path: master.slice('unix://'.length) } });
  }
  if (kubeconfig === '' && (master === undefined || master === ''))
    return new KubeClient({ transport: inClusterTransport() });
  const base: Transport | undefined = kubeconfig === '' ? undefined : (await loadKubeconfig(kubeconfig)).transport;
  if (master === undefined || master === '') return new KubeClient({ transport: base as Transport });
  return new KubeClient({
    transport: base?.kind === 'http' ? { ...base, url: master } : { kind: 'http', url: master },
  });
}

/** Writes the configuration to a file. */
export async function writeConfiguration(config: KubeProxyConfiguration, file: string): Promise<void> {
  writeFileSync(file, await encodeConfiguration(config), { mode: 0o644 });
}

interface Running {
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly version: string;
  /** Ends the process: what runs it starts it again with the new file. */
  readonly end: (why: string) => void;
}

/** Carries out a command that works on the node. Resolves when it is done, or for `run` when Services are in effect. */
async function execute(command: KubeProxyCommand, { signal, log, version, end }: Running): Promise<void> {
  const { config, file } = command;
  for (const warning of command.warnings) log.warn(warning);
  if (command.action === 'cleanup') return cleanupKubeProxy(log);
  if (command.action === 'init') {
    tuneConntrack(config.conntrack, log);
    return;
  }
  // Said before anything is done: a mode that is not here must not leave half a start behind.
  modeOf(config);
  const client = await kubeProxyClient(config, command.master);
  const running = await runKubeProxy({ config, client, log, signal, version });
  if (file !== undefined) followFile(file, command, running, { signal, log, end });
}

/** Milliseconds between looks at the file: a ConfigMap's files change by a link that no watch of the file sees. */
const LOOK_MS = 2000;

/**
 * Follows the configuration file: another mode is changed to while traffic goes on; any other change needs a new process,
 * as in kube-proxy. A file that is wrong is reported and changes nothing.
 */
function followFile(
  file: string,
  { config, flags }: KubeProxyCommand,
  { proxy, change }: RunningKubeProxy,
  { signal, log, end }: Pick<Running, 'signal' | 'log' | 'end'>,
): void {
  let current = config;
  const look = async (): Promise<void> => {
    const warnings: string[] = [];
    const next = await readFile(file, warnings);
    overrideFile(next, flags, warnings);
    const errors = validate(next);
    if (errors.length > 0) throw new Error(errors.join(', '));
    const changed = changedFields(current, next);
    if (changed.length === 0) return;
    log.info('the configuration file has changed', { file, fields: changed });
    if (changed.some((path) => path !== 'mode'))
      return end(`the configuration file has changed: ${changed.join(', ')}`);
    await change(next);
    current = next;
    log.info(`Using ${proxy.dataPlane.name} Proxier`);
  };
  const check = (): void =>
    void look().catch((error: unknown) => log.error('the changed configuration file is not used', { file, error }));
  watchFile(file, { interval: LOOK_MS, persistent: false }, check);
  // It may have changed since it was read for the start, which waits for the API.
  check();
  signal.addEventListener('abort', () => unwatchFile(file), { once: true });
}

/** Paths of fields that differ. */
function changedFields(a: KubeProxyConfiguration, b: KubeProxyConfiguration): string[] {
  return [...FIELDS.keys()].filter((path) => JSON.stringify(getField(a, path)) !== JSON.stringify(getField(b, path)));
}

/** The command: reads its arguments, does what they ask, and for a proxy returns when Services are in effect. */
export async function kubeProxy(args: readonly string[], version: string): Promise<void> {
  const command = await readCommand(args);
  switch (command.action) {
    case 'help':
      process.stdout.write(flagHelp());
      return;
    case 'version':
      process.stdout.write(`Weft ${version}\n`);
      return;
    case 'write-config':
      await writeConfiguration(command.config, command.output as string);
      return;
    default:
  }
  const { format, verbosity } = command.config.logging;
  const write = (line: string): void => void process.stderr.write(line);
  const log =
    format === 'json'
      ? jsonLogger(write, { level: verbosity >= 4 ? 'debug' : 'info', fields: { component: 'kube-proxy' } })
      : klogLogger(write, verbosity);
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort());
  const end = (why: string): void => {
    log.error('ending, to be started again', { why });
    process.exitCode = 1;
    controller.abort();
  };
  try {
    await execute(command, { signal: controller.signal, log, version, end });
  } catch (error) {
    controller.abort();
    throw error;
  }
}
