import { existsSync } from 'node:fs';
import { checkCorefile, startDns } from '@weft/dns';
import { Metrics, WeftError } from '@weft/plan';
import { processLogger } from '../context.ts';

interface DnsArguments {
  readonly conf: string | undefined;
  readonly port: number | undefined;
  readonly check: boolean;
  readonly inspect: string | undefined;
  readonly inKernel: string | undefined;
}

/** CoreDNS's command line: one dash or two, value behind a blank or an equals sign. */
function parseArguments(args: readonly string[]): DnsArguments {
  let conf: string | undefined;
  let port: number | undefined;
  let check = false;
  let inspect: string | undefined;
  let inKernel: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const [flag, inline] = (args[i] ?? '').replace(/^--?/, '').split('=', 2);
    const value = (): string => inline ?? args[++i] ?? '';
    if (flag === 'conf') conf = value();
    else if (flag === 'dns.port' || flag === 'p') port = Number(value());
    else if (flag === 'check') check = true;
    else if (flag === 'inspect') inspect = value();
    else if (flag === 'in-kernel') inKernel = value();
    else
      throw new WeftError({
        code: 'BAD_FLAG',
        message: `weft dns: unknown flag ${args[i]}`,
        hint: 'flags are -conf FILE, -dns.port PORT, -check, -inspect ADDRESS, -in-kernel LINK[,native]',
      });
  }
  return { conf: conf ?? (existsSync('Corefile') ? 'Corefile' : undefined), port, check, inspect, inKernel };
}

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

/** Runs the DNS server until it is told to stop: SIGTERM stops after the lameduck time, SIGUSR1 reloads. */
export async function dns(args: readonly string[]): Promise<void> {
  const mode = args.findIndex((word) => /^--?node-local$/.test(word));
  if (mode >= 0) return nodeLocal(args.toSpliced(mode, 1));
  const { conf, port, check, inspect, inKernel } = parseArguments(args);
  if (check) {
    const { readFileSync } = await import('node:fs');
    const found = checkCorefile(readFileSync(conf ?? 'Corefile', 'utf8'), conf ?? 'Corefile');
    for (const d of found) process.stdout.write(`${JSON.stringify(d)}\n`);
    process.exitCode = found.some((d) => d.severity === 'error') ? 1 : 0;
    return;
  }
  const server = await startDns({
    log: processLogger('dns'),
    metrics: new Metrics(),
    ...(conf === undefined ? {} : { corefile: { path: conf } }),
    ...(port === undefined ? {} : { port }),
    ...(inspect === undefined ? {} : { inspect }),
    ...(inKernel === undefined ? {} : { inKernel: linkOf(inKernel) }),
  });
  const log = processLogger('dns');
  process.on('SIGUSR1', () => {
    // A bad Corefile leaves the old one in effect.
    server.reload().catch((error: unknown) => log.error('cannot reload', { error }));
  });
  process.once('SIGTERM', () => void server.close({ lameduck: true }));
  process.once('SIGINT', () => void server.close({ lameduck: false }));
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
