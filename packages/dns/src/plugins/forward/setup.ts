import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { Target } from '../../client/channel.ts';
import type { Directive } from '../../corefile/directive.ts';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, option, type Option, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { chain, type Handler } from '../../server/handler.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import { rcodeNumber } from '../../wire/index.ts';
import { ForwardHandler } from './handler.ts';
import { allTargets, resolveTargets, targetsOf } from './targets.ts';
import { Upstream } from './upstream.ts';

const MAX_UPSTREAMS = 15;

function count(doc: string): Option<number> {
  return {
    syntax: 'NUMBER',
    doc,
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      if (!/^[+-]?[0-9]+$/.test(text))
        throw parsingError(line.name, `strconv.ParseUint: parsing "${text}": invalid syntax`);
      if (Number(text) < 0) throw parsingError(line.name, `${line.name.text} can't be negative: ${text}`);
      return Number(text);
    },
  };
}

function rcodes(doc: string): Option<number[]> {
  return {
    syntax: 'RCODE…',
    doc,
    parse: (line) =>
      args(line, 1, Number.POSITIVE_INFINITY).map((text) => {
        const value = rcodeNumber(text.toUpperCase());
        if (value === undefined) throw parsingError(line.name, `${text} is not a valid rcode`);
        return value;
      }),
  };
}

const schema = {
  except: {
    ...option.zones('ZONE…', 'Names in these zones go to the next plugin.'),
    join: (before: string[], after: string[]) => [...before, ...after],
  },
  policy: option.choice(
    ['random', 'round_robin', 'sequential'],
    'Which upstream to ask first. Default random.',
    (value) => `unknown policy '${value}'`,
  ),
  max_fails: count('Failed health checks before an upstream is passed over; 0 for never. Default 2.'),
  max_concurrent: count('Queries waiting at one time; more are refused. Default 0, no limit.'),
  max_connect_attempts: count('Attempts per query; 0 for as many as 5 seconds allow. Default twice the upstreams.'),
  max_idle_conns: count('Accepted; connections carry many queries and need no pool.'),
  doh_method: option.choice(
    ['GET', 'POST'],
    'HTTP method for https:// upstreams. Default POST.',
    (value) => `unknown doh_method '${value}'`,
  ),
  resolver: option.words(
    'ADDRESS…',
    "Servers that know the addresses of upstreams given by name. Default the system's.",
    1,
    Number.POSITIVE_INFINITY,
  ),
  force_tcp: option.flag('Ask over TCP always.'),
  prefer_udp: option.flag('Ask over UDP first, also for clients that came over TCP.'),
  expire: option.duration('DURATION', 'Close sockets that were idle for so long. Default 10s.'),
  max_age: option.duration('DURATION', 'Accepted; sockets are renewed every 30 s.'),
  health_check: {
    syntax: 'DURATION [no_rec] [domain FQDN]',
    doc: 'Time between health checks of an upstream that failed. Default 0.5s.',
    parse: (line) => {
      const words = args(line, 1, 4);
      const seconds = parseDuration(words[0] as string);
      if (seconds === undefined || seconds < 0)
        throw parsingError(line.name, `health_check: invalid duration ${words[0]}`);
      let name = '.';
      let recursion = true;
      for (let i = 1; i < words.length; i++) {
        if (words[i] === 'no_rec') recursion = false;
        else if (words[i] === 'domain' && words[i + 1] !== undefined) name = words[++i] as string;
        else throw parsingError(line.name, `health_check: unknown option ${words[i]}`);
      }
      return { seconds, name, recursion };
    },
  },
  tls: option.words('CERT KEY CA', 'Client certificate, key and CA for tls:// upstreams, as files.', 0, 3),
  tls_servername: option.text('NAME', 'Name that the certificate of tls:// upstreams must have.'),
  next: rcodes('Answers with these codes are asked of the next `forward` in the block.'),
  next_on_nodata: option.flag('So are answers without records.'),
  failover: {
    ...rcodes('Answers with these codes are asked of another upstream.'),
    parse: (line) => {
      const codes = rcodes('').parse(line);
      if (codes.includes(0)) throw parsingError(line.name, 'NoError cannot be used in failover');
      return codes;
    },
  },
  failfast_all_unhealthy_upstreams: option.flag('SERVFAIL at once when all upstreams are down.'),
} satisfies OptionSchema;

export const forward: Plugin = {
  name: 'forward',
  once: false,
  options: schema,
  setup(directives, context) {
    const handlers = directives.map((directive) => setupOne(directive, context));
    const [only] = handlers;
    if (handlers.length === 1) return only;
    const handler: Handler = { name: 'forward', serve: (request, next) => chain(handlers, next)(request) };
    return handler;
  },
};

function setupOne(directive: Directive, context: SetupContext): Handler {
  const [from, ...to] = directive.args;
  if (from === undefined || to.length === 0) {
    const last = directive.args.at(-1) ?? directive.name;
    throw argumentError(last, last.text);
  }
  const zone = zonesFromArgument(from)[0];
  if (zone === undefined) throw parsingError(from, `unable to normalize '${from.text}'`);
  const options = parseOptions(schema, directive.block, context.warn);
  const targets = to.flatMap((token) => targetsOf(token, options.doh_method, options.tls_servername !== undefined));
  const limit = (length: number): void => {
    if (length > MAX_UPSTREAMS)
      throw parsingError(directive.name, `more than ${MAX_UPSTREAMS} TOs configured: ${length}`);
  };
  limit(targets.length);
  const tls = tlsOptions((options.tls ?? []).map(context.path), options.tls_servername);
  const { metrics } = context.runtime;
  const check = options.health_check;
  const make = (target: Target): Upstream =>
    new Upstream(
      target.tls === undefined ? target : { ...target, tls: { ...tls, ...target.tls } },
      {
        timeoutMs: 2000,
        expireMs: (options.expire ?? 10) * 1000,
        checkMs: (check?.seconds ?? 0.5) * 1000,
        check: { name: check?.name ?? '.', recursion: check?.recursion ?? true },
        forceTcp: options.force_tcp === true,
      },
      metrics,
    );
  let upstreams: readonly Upstream[] = allTargets(targets) ? targets.map(make) : [];
  context.onStop(() => {
    for (const upstream of upstreams) upstream.close();
  });
  const handler = new ForwardHandler(
    upstreams,
    {
      from: zone,
      except: options.except ?? [],
      policy: options.policy ?? 'random',
      maxFails: options.max_fails ?? 2,
      maxConcurrent: options.max_concurrent ?? 0,
      maxAttempts: options.max_connect_attempts,
      forceTcp: options.force_tcp === true,
      preferUdp: options.prefer_udp === true,
      failfast: options.failfast_all_unhealthy_upstreams === true,
      failover: options.failover ?? [],
      next: options.next ?? [],
      nextOnNodata: options.next_on_nodata === true,
    },
    {
      broken: metrics
        .counter(
          'coredns_forward_healthcheck_broken_total',
          'Counter of the number of complete failures of the healthchecks.',
        )
        .cell(),
      rejects: metrics
        .counter(
          'coredns_forward_max_concurrent_rejects_total',
          'Counter of the number of queries rejected because the concurrent queries were at maximum.',
        )
        .cell(),
    },
  );
  if (!allTargets(targets)) {
    context.onStart(async () => {
      const found = await resolveTargets(targets, options.resolver ?? []);
      limit(found.length);
      upstreams = found.map(make);
      handler.upstreams = upstreams;
    });
  }
  return handler;
}

/** Certificates as CoreDNS orders them: CA alone, certificate and key, or certificate, key and CA. */
function tlsOptions(files: readonly string[], serverName: string | undefined): ConnectionOptions {
  const read = (path: string | undefined): string => readFileSync(path as string, 'utf8');
  const name = serverName === undefined ? {} : { servername: serverName };
  if (files.length === 1) return { ...name, ca: read(files[0]) };
  if (files.length === 2) return { ...name, cert: read(files[0]), key: read(files[1]) };
  if (files.length === 3) return { ...name, cert: read(files[0]), key: read(files[1]), ca: read(files[2]) };
  return name;
}
