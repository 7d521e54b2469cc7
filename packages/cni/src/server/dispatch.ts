import { checkEnvironment, checkNetworkName, parseCniArgs } from '../spec/environment.ts';
import { asCniError, CniCode, CniError, formatCniError } from '../spec/errors.ts';
import { field, type JsonObject, objectField, objectsField, parseObject, stringField } from '../spec/json.ts';
import { formatResult, parseResult } from '../spec/result.ts';
import type { Attachment, CniCommand, Plugin, PluginRequest } from '../spec/types.ts';
import {
  CURRENT_VERSION,
  IMPLICIT_VERSION,
  isSupportedVersion,
  SUPPORTED_VERSIONS,
  versionAtLeast,
} from '../spec/versions.ts';
import type { PluginSource } from '../plugins/registry.ts';
import type { Answer, Call } from './framing.ts';

/** The oldest version that has each verb. */
const SINCE: Partial<Record<CniCommand, string>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' };

function readVersion(config: JsonObject): string {
  const version = stringField(config, 'cniVersion') || IMPLICIT_VERSION;
  if (!isSupportedVersion(version)) {
    throw new CniError(
      CniCode.incompatibleVersion,
      'incompatible CNI versions',
      `config is "${version}", plugin supports ${JSON.stringify(SUPPORTED_VERSIONS)}`,
    );
  }
  return version;
}

function readAttachments(config: JsonObject): readonly Attachment[] | undefined {
  // libcni sends a misspelt twin of the key as well; the absence of both means that there is nothing to do.
  const name = ['cni.dev/valid-attachments', 'cni.dev/attachments'].find((key) => field(config, key) !== undefined);
  if (name === undefined) return undefined;
  return objectsField(config, name)?.map(({ value, path }) => ({
    containerId: stringField(value, 'containerID', `${path}.containerID`) ?? '',
    ifname: stringField(value, 'ifname', `${path}.ifname`) ?? '',
  }));
}

function readArgs(command: CniCommand, text: string | undefined): ReadonlyMap<string, string> {
  try {
    return parseCniArgs(text);
  } catch (error) {
    // What cannot be read at ADD must not keep a container from being removed.
    if (command === 'DEL') return new Map();
    throw error;
  }
}

/** Checks a call in the order of the reference plugins: environment, input, name, version. */
function parseCall(call: Call): PluginRequest {
  const { env } = call;
  const command = checkEnvironment(env);
  const config = parseObject(call.stdin, 'network configuration');
  const network = checkNetworkName(stringField(config, 'name'));
  const cniVersion = readVersion(config);
  const since = SINCE[command];
  if (since !== undefined && !versionAtLeast(cniVersion, since)) {
    throw new CniError(
      CniCode.incompatibleVersion,
      `config version does not allow ${command}`,
      `config is "${cniVersion}"`,
    );
  }
  const prev = objectField(config, 'prevResult');
  return {
    command,
    plugin: env.get('WEFT_PLUGIN') ?? '',
    network,
    cniVersion,
    containerId: env.get('CNI_CONTAINERID') ?? '',
    ifname: env.get('CNI_IFNAME') ?? '',
    netns: env.get('CNI_NETNS') ?? '',
    args: readArgs(command, env.get('CNI_ARGS')),
    path: (env.get('CNI_PATH') ?? '').split(':').filter((dir) => dir !== ''),
    config,
    prevResult: prev === undefined ? undefined : parseResult(prev, cniVersion),
    validAttachments: command === 'GC' ? readAttachments(config) : undefined,
    raw: { env, stdin: call.stdin },
  };
}

async function run(plugin: Plugin, request: PluginRequest): Promise<string> {
  switch (request.command) {
    case 'ADD':
      return formatResult(await plugin.add(request), request.cniVersion);
    case 'DEL':
      await plugin.del(request);
      return '';
    case 'CHECK':
      if (request.prevResult === undefined) throw new CniError(CniCode.invalidConfig, 'required prevResult missing');
      await plugin.check(request);
      return '';
    case 'STATUS':
      await plugin.status(request);
      return '';
    case 'GC':
      await plugin.gc(request);
      return '';
    case 'VERSION':
      return versionText();
  }
}

function versionText(): string {
  return JSON.stringify({ cniVersion: CURRENT_VERSION, supportedVersions: SUPPORTED_VERSIONS }, null, 4);
}

/** What happened to a call, for logs and metrics. */
export interface Outcome {
  readonly answer: Answer;
  readonly command: string;
  readonly plugin: string;
  readonly error: CniError | undefined;
}

/**
 * Answers one call of a plugin executable. `guard` runs the plugin with whatever exclusion the verb needs.
 * Never rejects: every failure is an answer.
 */
export async function dispatch(
  call: Call,
  plugins: PluginSource,
  guard: (request: PluginRequest, run: () => Promise<string>) => Promise<string>,
): Promise<Outcome> {
  const name = call.env.get('WEFT_PLUGIN') ?? '';
  const command = call.env.get('CNI_COMMAND');
  if (command === undefined) {
    const stderr = `CNI ${name} plugin of weft\nCNI protocol versions supported: ${SUPPORTED_VERSIONS.join(', ')}\n`;
    return { answer: { exitCode: 0, stdout: '', stderr }, command: '', plugin: name, error: undefined };
  }
  let version: string | undefined;
  try {
    const plugin = await plugins.find(name);
    if (plugin === undefined) {
      const known = plugins.names.join(', ');
      throw new CniError(CniCode.invalidConfig, `weft has no CNI plugin "${name}"`, `it has ${known}`);
    }
    let stdout: string;
    if (command === 'VERSION') {
      // The reference plugins answer this without looking at their input.
      stdout = versionText();
    } else {
      const request = parseCall(call);
      version = request.cniVersion;
      stdout = await guard(request, () => run(plugin, request));
    }
    return { answer: { exitCode: 0, stdout, stderr: '' }, command, plugin: name, error: undefined };
  } catch (thrown) {
    const error = asCniError(thrown);
    const stdout = formatCniError(error, version ?? CURRENT_VERSION);
    return { answer: { exitCode: 1, stdout, stderr: '' }, command, plugin: name, error };
  }
}
