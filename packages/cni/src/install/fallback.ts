/**
 * The shim as a script, for nodes without a C compiler: same messages, same behaviour, forty times the start-up time.
 * It must stand alone: it is written to the plugin directory as text and runs without this package.
 */
export function fallbackScript(nodePath: string): string {
  return `#!${nodePath}
// ${SHIM_MARK} (script)
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, resolve } from 'node:path';

const env = process.env;
const self = env.WEFT_SHIM_NAME ?? process.argv[1];
const command = env.CNI_COMMAND;
let version;

function fail(code, msg, details) {
  process.stdout.write(JSON.stringify({ cniVersion: version, code, msg, details }, null, 4));
  process.exitCode = 1;
}
function away(what, path, why) {
  fail(command === 'STATUS' ? 50 : 11, what + ' ' + path + ': ' + why, 'is the weft agent of this node running?');
}
function text(object, name) {
  const key = Object.keys(object ?? {}).find((k) => k.toLowerCase() === name.toLowerCase());
  return typeof object?.[key] === 'string' && object[key] !== '' ? object[key] : undefined;
}
function besideExecutable(suffix) {
  for (const find of [() => self, () => resolve(dirname(self), readlinkSync(self))]) {
    try {
      const text = readFileSync(find() + suffix, 'utf8').trim();
      if (text !== '') return text;
    } catch {}
  }
}
let alone;
function runsAlone() {
  const words = alone === undefined || /^(weft|multus)/.test(basename(self)) ? undefined : besideExecutable('.standalone');
  if (words === undefined) return false;
  const [node, ...args] = words.split(/[\\r\\n]+/);
  const done = spawnSync(node, [...args, basename(self)], { input: alone, stdio: ['pipe', 'inherit', 'inherit'] });
  if (done.error !== undefined) return false;
  process.exitCode = done.status ?? 1;
  return true;
}
function runsDaemon() {
  if (command !== undefined || basename(self) !== 'dhcp' || process.argv[2] !== 'daemon') return false;
  const [node, ...args] = (besideExecutable('.standalone') ?? '').split(/[\\r\\n]+/);
  if (node === '') {
    console.error('dhcp daemon: no program to start; use weft dhcp daemon, or install the plugins with weft cni install');
    process.exitCode = 1;
    return true;
  }
  const child = spawn(node, [...args, 'dhcp', ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal));
  child.on('exit', (status) => {
    process.exitCode = status ?? 1;
    process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
  });
  return true;
}
function parse(input) {
  try {
    return JSON.parse(input);
  } catch {}
}

function leave(path, request, then) {
  const file = path + '.del/' + String(Date.now()).padStart(14, '0') + '.' + process.pid;
  try {
    writeFileSync(file + ':new', request, { mode: 0o600, flag: 'wx' });
    renameSync(file + ':new', file);
  } catch (error) {
    return then();
  }
  const probe = connect(path);
  probe.on('error', () => {});
  probe.on('connect', () => {
    probe.destroy();
    try {
      unlinkSync(file);
    } catch {
      return;
    }
    call(path, request, false);
  });
}

function main() {
  const input = command === undefined ? '' : readFileSync(0, 'utf8');
  const config = parse(input);
  version = text(config, 'cniVersion');
  const named = text(config, 'agentSocket');
  if (named === undefined) alone = input;
  const path = named ?? (env.WEFT_AGENT_SOCKET || besideExecutable('.socket'));
  if (path === undefined) {
    if (runsAlone()) return;
    fail(7, 'where is the weft agent? no "agentSocket" in the network configuration',
      'set it, or WEFT_AGENT_SOCKET, or write the socket\\'s path to the file <plugin>.socket beside the plugin');
    return;
  }
  const wanted = /^(CNI_|TRACEPARENT$|TRACESTATE$|BAGGAGE$)/;
  const pairs = Object.entries(env).filter(([key]) => wanted.test(key));
  const head = [['WEFT_PLUGIN', basename(self)], ...pairs].map(([key, value]) => key + '=' + value + '\\0').join('');
  const body = Buffer.from(head + '\\0' + input);
  const size = Buffer.alloc(8);
  size.write('WCNI');
  size.writeUInt32BE(body.length, 4);
  call(path, Buffer.concat([size, body]), command === 'DEL');
}

function call(path, request, deferrable) {
  let answer = Buffer.alloc(0);
  let done = false;
  const socket = connect(path);
  const finish = (say) => {
    if (done) return;
    done = true;
    clearTimeout(timer);
    socket.destroy();
    say();
  };
  const timer = setTimeout(() => finish(() => away('the weft agent did not answer in time at', path, 'timed out')), 60000);
  socket.on('connect', () => socket.write(request));
  const absent = (error) => ['ENOENT', 'ECONNREFUSED'].includes(error.code) && runsAlone();
  const gone = (say) => finish(() => (deferrable ? leave(path, request, say) : say()));
  socket.on('error', (error) => {
    if (absent(error)) finish(() => {});
    else gone(() => away('cannot reach the weft agent at', path, error.message));
  });
  socket.on('close', () => gone(() => away('the weft agent went away during the call at', path, 'connection closed')));
  socket.on('data', (chunk) => {
    answer = Buffer.concat([answer, chunk]);
    if (answer.length < 12) return;
    const out = answer.readUInt32BE(4);
    const err = answer.readUInt32BE(8);
    if (answer.length < 12 + out + err) return;
    finish(() => {
      process.stderr.write(answer.subarray(12 + out, 12 + out + err));
      process.stdout.write(answer.subarray(12, 12 + out));
      process.exitCode = answer.readUInt32BE(0);
    });
  });
}
if (!runsDaemon()) main();
`;
}

/** Text that every build of the shim contains, by which an installed plugin is known to be ours. */
export const SHIM_MARK = 'weft-cni-shim 1';
