import { existsSync, readFileSync } from 'node:fs';
import { checkCorefile, type DnsOptions, pluginNames, startDns } from '@weft/dns';
import { Metrics, WeftError } from '@weft/plan';
import { processLogger } from '../context.ts';
import { type DnsArguments, parseDnsArguments, USAGE } from '../dns/arguments.ts';
import { handleSignals, writePidFile } from '../dns/signals.ts';

declare const WEFT_VERSION: string | undefined;
const VERSION = typeof WEFT_VERSION === 'undefined' ? '0.0.0-dev' : WEFT_VERSION;

/** `LINK` or `LINK,native`. */
function linkOf(text: string): { link: string; native: boolean } {
  const [link = '', mode, ...more] = text.split(',');
  if (link !== '' && more.length === 0 && (mode === undefined || mode === 'native'))
    return { link, native: mode === 'native' };
  throw new WeftError({
    code: 'BAD_FLAG',
    message: `weft dns: -in-kernel ${text}: not a link`,
    hint: 'write LINK, as in eth0, or LINK,native to run in the driver of a card that can',
  });
}

/** The Corefile that the command line names; undefined for CoreDNS's default. */
function corefileOf(conf: string | undefined): DnsOptions['corefile'] {
  if (conf === 'stdin') return { text: readFileSync(0, 'utf8'), file: 'stdin' };
  if (conf !== undefined) return { path: conf };
  return existsSync('Corefile') ? { path: 'Corefile' } : undefined;
}

function check(conf: string | undefined): void {
  const corefile = corefileOf(conf) ?? { path: 'Corefile' };
  const [text, file] =
    'path' in corefile ? [readFileSync(corefile.path, 'utf8'), corefile.path] : [corefile.text, corefile.file];
  const found = checkCorefile(text, file);
  for (const d of found) process.stdout.write(`${JSON.stringify(d)}\n`);
  process.exitCode = found.some((d) => d.severity === 'error') ? 1 : 0;
}

/** As CoreDNS lists them. */
function listPlugins(json: boolean): void {
  if (json) process.stdout.write(`${JSON.stringify(pluginNames)}\n`);
  else {
    const lines = ['Server types:', '  dns', '', 'Caddyfile loaders:', '  flag', '  default', '', 'Other plugins:'];
    process.stdout.write(`${[...lines, ...pluginNames.map((name) => `  dns.${name}`)].join('\n')}\n`);
  }
}

function versionText(): string {
  return `weft-${VERSION}\n${process.platform}/${process.arch}, node ${process.version}\n`;
}

/** Runs the DNS server until it is told to stop. */
export async function dns(args: readonly string[]): Promise<void> {
  const mode = args.findIndex((word) => /^--?node-local$/.test(word));
  if (mode >= 0) return nodeLocal(args.toSpliced(mode, 1));
  const given = parseDnsArguments(args);
  if (given.help) process.stdout.write(USAGE);
  else if (given.version) process.stdout.write(versionText());
  else if (given.plugins) listPlugins(given.json);
  else if (given.check) check(given.conf);
  else await serve(given);
}

async function serve({ conf, port, pidfile, quiet, inspect, inKernel }: DnsArguments): Promise<void> {
  const log = processLogger('dns');
  const corefile = corefileOf(conf);
  const removePidFile = writePidFile(pidfile);
  const server = await startDns({
    log,
    version: VERSION,
    metrics: new Metrics(),
    ...(corefile === undefined ? {} : { corefile }),
    ...(port === undefined ? {} : { port }),
    ...(inspect === undefined ? {} : { inspect }),
    ...(inKernel === undefined ? {} : { inKernel: linkOf(inKernel) }),
  });
  // Whoever waits for the text may send a signal at once.
  handleSignals(server, log, removePidFile);
  if (!quiet) process.stdout.write(`${server.zones.join('\n')}\n${versionText()}`);
}

/** The node's own cache, until it is told to stop. SIGUSR1 reloads. */
async function nodeLocal(args: readonly string[]): Promise<void> {
  const { NodeLocal, parseNodeLocal } = await import('@weft/dns');
  const log = processLogger('node-local-dns');
  const mode = await NodeLocal.start(parseNodeLocal(args), { log, metrics: new Metrics() });
  process.on('SIGUSR1', () => {
    mode.sync().catch((error: unknown) => log.error('cannot reload', { error }));
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void mode.close());
}
