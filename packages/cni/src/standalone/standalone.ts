import { silentLogger } from '@weft/plan';
import { PluginRegistry, STANDALONE_PLUGINS } from '../plugins/registry.ts';
import { dispatch } from '../server/dispatch.ts';
import type { Answer } from '../server/framing.ts';
import { NodeNetwork } from '../wiring/node.ts';

/**
 * Answers one CNI call in this process, for nodes without an agent. `name` is what the plugin was called by. Never
 * rejects: every failure is an answer.
 */
export async function answerAlone(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
): Promise<Answer> {
  const pairs = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const call = { env: new Map([...pairs, ['WEFT_PLUGIN', name]]), stdin };
  // What asks for no work needs no kernel: runtimes call VERSION on nodes that could do nothing yet.
  const idle =
    env['CNI_COMMAND'] === undefined || env['CNI_COMMAND'] === 'VERSION' || !STANDALONE_PLUGINS.includes(name);
  const node = idle ? undefined : new NodeNetwork({ log: silentLogger });
  try {
    const registry = new PluginRegistry(node ?? unused, silentLogger);
    const { answer } = await dispatch(call, registry, (_, run) => run());
    await node?.reaper.idle();
    return answer;
  } finally {
    node?.close();
  }
}

/** Stands for the node where none is asked for anything. */
const unused = {} as NodeNetwork;
