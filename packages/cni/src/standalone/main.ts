// A plugin executable without an agent: `node cni-plugin.mjs NAME`. The shim starts it when no agent answers, and for
// `dhcp daemon`, as which the units of the reference plugins start theirs.
import { readFileSync } from 'node:fs';
import { errorMessage, jsonLogger } from '@weft/plan';
import { answerAlone } from './standalone.ts';

async function daemon(args: readonly string[]): Promise<void> {
  const { runDhcpDaemon } = await import('../dhcp/run.ts');
  const log = jsonLogger((line) => process.stderr.write(line), { fields: { component: 'dhcp' } });
  try {
    await runDhcpDaemon(args, log);
  } catch (error) {
    process.stderr.write(`${errorMessage(error)}\n`);
    process.exitCode = 1;
  }
}

async function answer(name: string): Promise<void> {
  const stdin = process.env['CNI_COMMAND'] === undefined ? '' : readFileSync(0, 'utf8');
  const { exitCode, stdout, stderr } = await answerAlone(name, process.env, stdin);
  process.stderr.write(stderr);
  process.stdout.write(stdout);
  process.exitCode = exitCode;
}

const [name = '', verb, ...args] = process.argv.slice(2);
await (name === 'dhcp' && verb === 'daemon' ? daemon(args) : answer(name));
