// A plugin executable without an agent: `node cni-plugin.mjs NAME`. The shim starts it when no agent answers.
import { readFileSync } from 'node:fs';
import { answerAlone } from './standalone.ts';

const [name = ''] = process.argv.slice(2);
const stdin = process.env['CNI_COMMAND'] === undefined ? '' : readFileSync(0, 'utf8');
const { exitCode, stdout, stderr } = await answerAlone(name, process.env, stdin);
process.stderr.write(stderr);
process.stdout.write(stdout);
process.exitCode = exitCode;
