import { parsingError } from '../../corefile/error.ts';
import { SECONDS, SIZES, type Tally, type TallyObserver } from '../../fast/tallies.ts';
import type { Handler, Reply } from '../../server/handler.ts';
import { splitHttpAddress } from '../../server/http.ts';
import type { Cell, DnsMetrics, HistogramCell } from '../../server/metrics.ts';
import type { Plugin } from '../../server/plugin.ts';
import type { Request, ServedAt } from '../../server/request.ts';
import type { BulkAnswers, BulkObserver } from '../../server/site.ts';
import { rcodeName, TYPE, typeName } from '../../wire/index.ts';

/** Types that get their own label; all others are counted as `other` so that nobody can make up series. */
const COUNTED = new Set<number>([
  TYPE.A,
  TYPE.AAAA,
  TYPE.CNAME,
  TYPE.DNSKEY,
  TYPE.DS,
  TYPE.HTTPS,
  TYPE.MX,
  TYPE.NS,
  TYPE.NSEC,
  TYPE.NSEC3,
  TYPE.PTR,
  TYPE.RRSIG,
  TYPE.SOA,
  TYPE.SRV,
  TYPE.TXT,
  TYPE.AXFR,
  TYPE.IXFR,
  TYPE.ANY,
  TYPE.SVCB,
]);

/** Counts the queries of one zone at one address. */
class Recorder implements BulkObserver, TallyObserver {
  readonly #metrics: DnsMetrics;
  readonly #server: string;
  readonly #zone: string;
  readonly #view: string;
  readonly #requests: (Cell | undefined)[] = [];
  readonly #duration: HistogramCell;
  /** By plugin and response code. */
  readonly #responses = new Map<string, (Cell | undefined)[]>();
  readonly #do: Cell;
  readonly #sizes: { request: HistogramCell; response: HistogramCell }[];

  constructor(metrics: DnsMetrics, { server, zone, view }: ServedAt) {
    this.#metrics = metrics;
    this.#server = server;
    this.#zone = zone;
    this.#view = view;
    this.#do = metrics
      .counter('coredns_dns_do_requests_total', 'Counter of DNS requests with DO bit set per zone.', [
        'server',
        'zone',
        'view',
      ])
      .cell(server, zone, view);
    this.#duration = metrics
      .histogram(
        'coredns_dns_request_duration_seconds',
        'Histogram of the time (in seconds) each request took per zone.',
        ['server', 'zone', 'view'],
        SECONDS,
      )
      .cell(server, zone, view);
    const labels = ['server', 'zone', 'view', 'proto'];
    const request = metrics.histogram(
      'coredns_dns_request_size_bytes',
      'Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.',
      labels,
      SIZES,
    );
    const response = metrics.histogram(
      'coredns_dns_response_size_bytes',
      'Size of the returned response in bytes.',
      labels,
      SIZES,
    );
    this.#sizes = ['udp', 'tcp'].map((proto) => ({
      request: request.cell(server, zone, view, proto),
      response: response.cell(server, zone, view, proto),
    }));
  }

  finished(request: Request, reply: Reply, size: number, started: number): void {
    const { query, context } = request;
    const udp = context.proto === 'udp';
    this.#requestsOf(query.type, udp, context.family).value += 1;
    this.#duration.observe((performance.now() - started) / 1000);
    const sizes = this.#sizes[udp ? 0 : 1] as { request: HistogramCell; response: HistogramCell };
    sizes.request.observe(request.wireSize);
    sizes.response.observe(size);
    if (request.do) this.#do.value += 1;
    this.#response(reply.rcode, reply.by).value += 1;
  }

  /** Queries over UDP and IPv4 that the kernel answered; their time is not known and too short for the first bucket. */
  bulk({ type, rcode, by, count, requestBytes, responseBytes, responseSize }: BulkAnswers): void {
    this.#requestsOf(type, true, 4).value += count;
    this.#duration.observeMany(0, count, 0);
    const sizes = this.#sizes[0] as { request: HistogramCell; response: HistogramCell };
    sizes.request.observeMany(100, count, requestBytes);
    sizes.response.observeMany(responseSize, count, responseBytes);
    this.#response(rcode, by).value += count;
  }

  /** Queries over UDP that were answered from a table. */
  tally(tally: Tally): void {
    const { type, ipv4, ipv6 } = tally;
    if (ipv4 > 0) this.#requestsOf(type, true, 4).value += ipv4;
    if (ipv6 > 0) this.#requestsOf(type, true, 6).value += ipv6;
    this.#duration.add(tally.durations, tally.seconds);
    const sizes = this.#sizes[0] as { request: HistogramCell; response: HistogramCell };
    sizes.request.add(tally.requestSizes, tally.requestBytes);
    sizes.response.add(tally.responseSizes, tally.responseBytes);
    this.#do.value += tally.dnssec;
    this.#response(tally.rcode, tally.by).value += ipv4 + ipv6;
  }

  #requestsOf(type: number, udp: boolean, family: 4 | 6): Cell {
    const counted = COUNTED.has(type) ? type : 0;
    const slot = counted * 4 + (udp ? 0 : 1) + (family === 4 ? 0 : 2);
    let cell = this.#requests[slot];
    if (cell === undefined) {
      const label = counted === 0 ? 'other' : typeName(type);
      cell = this.#metrics
        .counter('coredns_dns_requests_total', 'Counter of DNS requests made per zone, protocol and family.', [
          'server',
          'zone',
          'view',
          'proto',
          'family',
          'type',
        ])
        .cell(this.#server, this.#zone, this.#view, udp ? 'udp' : 'tcp', family === 4 ? '1' : '2', label);
      this.#requests[slot] = cell;
    }
    return cell;
  }

  #response(rcode: number, plugin: string): Cell {
    let cells = this.#responses.get(plugin);
    if (cells === undefined) {
      cells = [];
      this.#responses.set(plugin, cells);
    }
    let cell = cells[rcode];
    if (cell === undefined) {
      cell = this.#metrics
        .counter('coredns_dns_responses_total', 'Counter of response status codes.', [
          'server',
          'zone',
          'view',
          'rcode',
          'plugin',
        ])
        .cell(this.#server, this.#zone, this.#view, rcodeName(rcode), plugin);
      cells[rcode] = cell;
    }
    return cell;
  }
}

/** Metrics over HTTP, with CoreDNS's names. */
export const prometheus: Plugin = {
  name: 'prometheus',
  once: true,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const [first, second] = directive.args;
    if (second !== undefined)
      throw parsingError(second, `Wrong argument count or unexpected line ending after '${second.text}'`);
    if (first !== undefined && splitHttpAddress(first.text) === undefined) {
      throw parsingError(first, `address ${first.text}: missing port in address`);
    }
    if (directive.block !== undefined && directive.block.length > 0) {
      const [line] = directive.block;
      throw parsingError(line?.name ?? directive.name, `unknown property '${line?.name.text}'`);
    }
    const address = first?.text ?? 'localhost:9153';
    const { runtime } = context;
    const served: ServedAt[] = [];
    let release: (() => Promise<void>) | undefined;
    context.onStart(async () => {
      const enabled = runtime.metrics.gauge(
        'coredns_plugin_enabled',
        'A metric that indicates whether a plugin is enabled on per server and zone basis.',
        ['server', 'zone', 'view', 'name'],
      );
      runtime.metrics
        .gauge(
          'coredns_build_info',
          "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.",
          ['version', 'revision', 'goversion'],
        )
        .cell(runtime.version, '', `node ${process.version}`).value = 1;
      for (const name of context.pluginNames())
        for (const { server, zone, view } of served) enabled.cell(server, zone, view, name).value = 1;
      release = await runtime.http.serve(address, '/metrics', (_, response) => {
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
        response.end(runtime.metrics.render() + runtime.loopMetrics.render());
      });
      runtime.log.debug(`plugin/prometheus: serving metrics on ${address}`);
    });
    context.onStop(() => release?.());
    const handler: Handler = {
      name: 'prometheus',
      transparent: true,
      serve: (request, next) => next(request),
      observer: (at) => {
        // Names of zones end in a dot; this one stands for queries that no block is asked about.
        if (at.zone !== 'dropped') served.push(at);
        return new Recorder(runtime.metrics, at);
      },
    };
    return handler;
  },
};
