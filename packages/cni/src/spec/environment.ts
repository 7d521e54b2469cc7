import { CniCode, CniError } from './errors.ts';
import type { CniCommand } from './types.ts';

const REQUIRED: Record<Exclude<CniCommand, 'VERSION'>, readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  GC: [],
  STATUS: [],
};

const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Checks a network name by the rule of the specification ("Network configuration", `name`). */
export function checkNetworkName(name: string | undefined): string {
  if (name === undefined || name === '') throw new CniError(CniCode.invalidConfig, 'missing network name');
  if (!CONTAINER_ID.test(name)) {
    throw new CniError(CniCode.invalidConfig, `invalid characters found in network name "${name}"`);
  }
  return name;
}

export function checkContainerId(id: string): string {
  if (id === '') throw new CniError(CniCode.unknownContainer, 'missing containerID');
  if (!CONTAINER_ID.test(id)) {
    throw new CniError(CniCode.invalidEnvironment, `CNI_CONTAINERID: invalid characters in containerID "${id}"`);
  }
  return id;
}

/** An interface name as the kernel accepts it (dev_valid_name). */
export function checkIfname(name: string): string {
  const bad =
    name === ''
      ? 'interface name is empty'
      : Buffer.byteLength(name) > 15
        ? 'interface name is too long: at most 15 bytes'
        : name === '.' || name === '..'
          ? 'interface name is . or ..'
          : /[/:\s]/.test(name)
            ? 'interface name contains / or : or whitespace characters'
            : undefined;
  if (bad !== undefined) throw new CniError(CniCode.invalidEnvironment, `CNI_IFNAME: ${bad}`, name);
  return name;
}

/** The verb of a call. All variables that are missing are named at once. */
export function checkEnvironment(env: ReadonlyMap<string, string>): CniCommand {
  const command = env.get('CNI_COMMAND') ?? '';
  if (command === 'VERSION') return command;
  if (!Object.hasOwn(REQUIRED, command)) {
    throw new CniError(CniCode.invalidEnvironment, `unknown CNI_COMMAND: ${command}`);
  }
  const verb = command as keyof typeof REQUIRED;
  const missing = REQUIRED[verb].filter((name) => (env.get(name) ?? '') === '');
  if (missing.length > 0) {
    throw new CniError(CniCode.invalidEnvironment, `required env variables [${missing.join(',')}] missing`);
  }
  if (env.has('CNI_CONTAINERID') && verb !== 'GC' && verb !== 'STATUS') {
    checkContainerId(env.get('CNI_CONTAINERID') as string);
    checkIfname(env.get('CNI_IFNAME') as string);
  }
  return verb;
}

/** CNI_ARGS (`KEY=VALUE;KEY=VALUE`) as pairs. */
export function parseCniArgs(text: string | undefined): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  if (text === undefined || text === '') return args;
  for (const pair of text.split(';')) {
    const parts = pair.split('=');
    if (parts.length !== 2 || parts[0] === '') {
      throw new CniError(CniCode.invalidEnvironment, `CNI_ARGS: invalid pair "${pair}"`);
    }
    args.set(parts[0] as string, parts[1] as string);
  }
  return args;
}

/**
 * Refuses arguments that a plugin does not know, unless `IgnoreUnknown` is set to `1` or `true` (CNI conventions,
 * "CNI_ARGS"). Arguments of Kubernetes runtimes (`K8S_…`) are known everywhere.
 */
export function checkKnownArgs(args: ReadonlyMap<string, string>, known: readonly string[]): void {
  const ignore = (args.get('IgnoreUnknown') ?? 'false').toLowerCase();
  if (!['0', '1', 'true', 'false'].includes(ignore)) {
    throw new CniError(CniCode.invalidEnvironment, `CNI_ARGS: IgnoreUnknown: "${ignore}" is not true or false`);
  }
  if (ignore === '1' || ignore === 'true') return;
  const unknown = [...args.keys()].filter(
    (key) => key !== 'IgnoreUnknown' && !key.startsWith('K8S_') && !known.includes(key),
  );
  if (unknown.length === 0) return;
  throw new CniError(
    CniCode.invalidEnvironment,
    `CNI_ARGS: unknown arguments ${unknown.join(', ')}`,
    'IgnoreUnknown=1 makes plugins ignore them',
  );
}
