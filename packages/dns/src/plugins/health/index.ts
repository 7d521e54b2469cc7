import { get } from 'node:http';
import { parsingError } from '../../corefile/error.ts';
import { formatDuration, option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { splitHttpAddress } from '../../server/http.ts';
import type { Plugin, Runtime } from '../../server/plugin.ts';

const schema = {
  lameduck: option.duration('DURATION', 'Keep answering for so long after the order to stop, while /ready says no.'),
} satisfies OptionSchema;

/** Answers `OK` on `/health` while the process runs. */
export const health: Plugin = {
  name: 'health',
  once: false,
  options: schema,
  setup(directives, context) {
    let address = ':8080';
    let lameduck = 0;
    for (const directive of directives) {
      const [first, second] = directive.args;
      if (second !== undefined)
        throw parsingError(second, `Wrong argument count or unexpected line ending after '${second.text}'`);
      if (first !== undefined) {
        if (splitHttpAddress(first.text) === undefined)
          throw parsingError(first, `address ${first.text}: missing port in address`);
        address = first.text;
      }
      lameduck = parseOptions(schema, directive.block, context.warn).lameduck ?? lameduck;
    }
    let release: (() => Promise<void>) | undefined;
    let stopAsking: (() => void) | undefined;
    context.onListening(() => {
      stopAsking = askYourself(address, context.runtime);
    });
    context.onStart(async () => {
      release = await context.runtime.http.serve(address, '/health', (_, response) => {
        response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('OK');
      });
    });
    context.onShutdown(async () => {
      if (lameduck <= 0) return;
      context.runtime.log.info(`plugin/health: Going into lameduck mode for ${formatDuration(lameduck)}`);
      await new Promise((resolve) => setTimeout(resolve, lameduck * 1000));
    });
    context.onStop(() => {
      stopAsking?.();
      return release?.();
    });
    return undefined;
  },
};

const ASK_MS = 1000;
const GIVE_UP_MS = 3000;
/** Seconds: 250 µs to 2.5 s, tenfold. */
const BUCKETS = [0.00025, 0.0025, 0.025, 0.25, 2.5];

/** Asks `/health` once a second: how long that takes tells how busy the server is. Gives how to stop it. */
function askYourself(address: string, { http, log, metrics }: Runtime): () => void {
  const duration = metrics.histogram('coredns_health_request_duration_seconds', HELP, [], BUCKETS).cell();
  const failures = metrics
    .counter('coredns_health_request_failures_total', 'The number of times the health check failed.')
    .cell();
  const host = splitHttpAddress(address)?.host ?? '';
  const where = host === '' || host === '0.0.0.0' || host === 'localhost' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const ask = (): void => {
    const port = http.port(address);
    if (port === undefined) return;
    const started = performance.now();
    const name = `http://${where.includes(':') ? `[${where}]` : where}:${port}/health`;
    const done = (error?: Error): void => {
      const seconds = (performance.now() - started) / 1000;
      duration.observe(seconds);
      if (error !== undefined) {
        failures.value += 1;
        log.warn(`plugin/health: Local health request to "${name}" failed: ${error.message}`);
      } else if (seconds > 1) {
        log.warn(`plugin/health: Local health request to "${name}" took more than 1s: ${formatDuration(seconds)}`);
      }
    };
    const request = get({ host: where, port, path: '/health', agent: false, timeout: GIVE_UP_MS }, (response) => {
      response.resume();
      response.once('end', () => done());
    });
    request.once('timeout', () => request.destroy(new Error('no answer in time')));
    request.once('error', done);
  };
  const timer = setInterval(ask, ASK_MS).unref();
  return () => clearInterval(timer);
}

const HELP = 'Histogram of the time (in seconds) each request took.';
