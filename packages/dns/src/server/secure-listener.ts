import type { Logger } from '@weft/plan';
import { dnsOverHttps } from './doh.ts';
import { dnsOverTls } from './dot.ts';
import type { ListenFd } from './http.ts';
import type { AddressListener } from './listeners.ts';
import type { DnsMetrics } from './metrics.ts';
import { StreamListener } from './secure.ts';
import { DEFAULTS } from './settings.ts';
import type { Site } from './site.ts';

const MAX_TLS_CONNECTIONS = 4096;

/** The listener of a `tls://` or `https://` address. */
export function secureListener(
  transport: string,
  host: string,
  port: number,
  site: Site,
  log: Logger,
  metrics: DnsMetrics,
  listenFd?: ListenFd,
): AddressListener {
  if (transport === 'tls')
    return new StreamListener(transport, host, port, site, log, dnsOverTls, () => MAX_TLS_CONNECTIONS, listenFd);
  const responses = metrics.counter(
    'coredns_dns_https_responses_total',
    'Counter of DoH responses per server and http status code.',
    ['server', 'status'],
  );
  const limit = ({ settings }: Site): number => settings.maxHttpsConnections ?? DEFAULTS.maxHttpsConnections;
  return new StreamListener(transport, host, port, site, log, dnsOverHttps(responses), limit, listenFd);
}
