import { createHash } from 'node:crypto';
import path from 'node:path';
import { type Attachment, CniRuntime, formatResult, parseCniArgs, type RuntimeAttachment } from '@weft/cni';
import { WeftError } from '@weft/plan';
import { createOutput } from '../output.ts';

export type CniVerb = 'add' | 'del' | 'check' | 'gc' | 'status' | 'version';

export interface CniFlags {
  readonly ifname?: string;
  readonly cacheDir: string;
  readonly valid?: readonly string[];
  readonly output?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

function invalid(message: string, hint: string): WeftError {
  return new WeftError({ code: 'CNI_USAGE', message, hint });
}

/** The container id that cnitool gives a namespace: from its absolute path, so that DEL finds what ADD made. */
export function containerIdOf(netns: string): string {
  return `cnitool-${createHash('sha512').update(netns).digest('hex').slice(0, 20)}`;
}

function capabilityArgs(env: Environment): Readonly<Record<string, unknown>> {
  const text = env['CAP_ARGS'] ?? '';
  if (text === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw invalid(`CAP_ARGS is not a JSON object: ${text}`, `for example {"portMappings":[{"hostPort":80,…}]}`);
}

/** An attachment as cnitool reads it from its arguments and environment. */
export function readAttachment(netns: string, flags: CniFlags, env: Environment): RuntimeAttachment {
  const absolute = path.resolve(netns);
  const args = [...parseCniArgs(env['CNI_ARGS'])];
  const empty = args.find(([, value]) => value === '');
  if (empty !== undefined) throw invalid(`CNI_ARGS: "${empty[0]}" has no value`, 'write KEY=VALUE;KEY=VALUE');
  const { TRACEPARENT: traceparent, TRACESTATE: tracestate, BAGGAGE: baggage } = env;
  return {
    containerId: containerIdOf(absolute),
    netns: absolute,
    ifname: flags.ifname || env['CNI_IFNAME'] || 'eth0',
    args,
    capabilityArgs: capabilityArgs(env),
    ...(traceparent === undefined
      ? {}
      : {
          trace: {
            traceparent,
            ...(tracestate === undefined ? {} : { tracestate }),
            ...(baggage === undefined ? {} : { baggage }),
          },
        }),
  };
}

/** `--valid ID/IFNAME …` as attachments; undefined when the flag was not given. */
export function readValid(valid: readonly string[] | undefined): readonly Attachment[] | undefined {
  return valid
    ?.filter((text) => text !== '')
    .map((text) => {
      const [containerId = '', ifname = '', ...rest] = text.split('/');
      if (containerId !== '' && ifname !== '' && rest.length === 0) return { containerId, ifname };
      throw invalid(`--valid: "${text}" is no attachment`, 'write CONTAINERID/IFNAME');
    });
}

/** Carries out one verb. Failures are thrown; success prints what cnitool prints, or one JSON document. */
export async function cni(verb: CniVerb, network: string, netns: string | undefined, flags: CniFlags): Promise<void> {
  const { env } = process;
  const out = createOutput(flags.output);
  const confDir = env['NETCONFPATH'] || '/etc/cni/net.d';
  const runtime = new CniRuntime({
    confDir,
    binDirs: (env['CNI_PATH'] || '/opt/cni/bin:/usr/lib/cni').split(':').filter((dir) => dir !== ''),
    cacheDir: flags.cacheDir,
    onStderr: (text) => process.stderr.write(text),
  });
  const list = await runtime.load(network);
  switch (verb) {
    case 'add': {
      const result = await runtime.add(list, readAttachment(netns ?? '', flags, env));
      process.stdout.write(`${formatResult(result, list.cniVersion)}\n`);
      return;
    }
    case 'del':
      return runtime.del(list, readAttachment(netns ?? '', flags, env));
    case 'check':
      return runtime.check(list, readAttachment(netns ?? '', flags, env));
    case 'gc':
      return runtime.gc(list, readValid(flags.valid));
    case 'status':
      return runtime.status(list);
    case 'version': {
      const types = [...new Set(list.plugins.map((plugin) => plugin.type))];
      const plugins = await Promise.all(
        types.map(async (type) => ({ type, supportedVersions: await runtime.version(type) })),
      );
      out.result({ network: list.name, cniVersion: list.cniVersion, plugins });
      out.line(`network ${list.name} runs with version ${list.cniVersion}`);
      for (const { type, supportedVersions } of plugins) out.line(`${type}: ${supportedVersions.join(', ')}`);
    }
  }
}
