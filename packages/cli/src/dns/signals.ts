import { rmSync, writeFileSync } from 'node:fs';
import type { DnsServer } from '@weft/dns';
import { type Logger, WeftError } from '@weft/plan';

/** Writes the process id into a file, and gives how to take the file away; a process that ends takes it. @throws WeftError. */
export function writePidFile(path: string | undefined): () => void {
  if (path === undefined || path === '') return () => {};
  try {
    writeFileSync(path, `${process.pid}\n`);
  } catch (error) {
    throw new WeftError({
      code: 'PIDFILE',
      message: `weft dns: -pidfile ${path}: ${(error as Error).message}`,
      hint: 'name a file in a directory that this user may write',
      cause: error,
    });
  }
  const remove = (): void => rmSync(path, { force: true });
  process.once('exit', remove);
  return remove;
}

/**
 * What CoreDNS does on signals. SIGTERM and SIGINT stop the server after the lameduck time, a second SIGINT at once; SIGQUIT
 * ends without ado; SIGUSR1 reads the Corefile again; SIGHUP does nothing, because terminals send it when they go. SIGUSR2,
 * which exchanges CoreDNS's binary, is not served.
 */
export function handleSignals(server: DnsServer, log: Logger, cleanUp: () => void): void {
  const quit = (): void => {
    cleanUp();
    process.kill(process.pid, 'SIGKILL');
  };
  let interrupts = 0;
  const stop = (): void => {
    server.close({ lameduck: true }).catch((error: unknown) => log.error('cannot stop', { error }));
  };
  process.on('SIGUSR1', () => {
    log.info('SIGUSR1: Reloading');
    // A bad Corefile leaves the old one in effect; the server has said so.
    server.reload().catch(() => {});
  });
  process.once('SIGTERM', () => {
    log.info('SIGTERM: Shutting down servers then terminating');
    stop();
  });
  process.on('SIGINT', () => {
    interrupts += 1;
    if (interrupts > 1) return quit();
    log.info('SIGINT: Shutting down');
    stop();
  });
  process.once('SIGQUIT', quit);
  process.on('SIGHUP', () => {});
  process.on('SIGUSR2', () => log.warn('SIGUSR2: a new binary is not taken over; start it beside this one'));
}
