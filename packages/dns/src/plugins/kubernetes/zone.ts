import { concat, labelKey, type NameKey, type Rr, record, TYPE } from '../../wire/index.ts';
import { type NameAnswers, relativeName, type ServiceAnswers, srvData } from './compile.ts';
import { once } from './records.ts';

const bytesOf = (key: NameKey): Uint8Array => Buffer.from(key, 'latin1');

/** Every record of the Services of a zone given in wire form, as a transfer carries them. `ttl` in seconds. */
export function* serviceRecords(
  services: Iterable<ServiceAnswers>,
  zone: Uint8Array,
  ttl: number,
): IterableIterator<Rr> {
  for (const answers of services) {
    const base = concat([relativeName(answers.service), zone]);
    yield* hostRecords(answers.own, base, ttl);
    // Endpoints of other Services resolve too, but are not part of the zone that CoreDNS hands over.
    if (answers.service.kind === 'headless') {
      for (const [label, found] of answers.endpoints()) yield* hostRecords(found, concat([bytesOf(label), base]), ttl);
    }
    for (const { name, protocol } of answers.namedPorts()) {
      const [port, proto] = [labelKey(`_${name}`), labelKey(`_${protocol}`)];
      const found = answers.port(name, protocol);
      if (port === undefined || proto === undefined || found === undefined) continue;
      const owner = concat([bytesOf(port), bytesOf(proto), base]);
      const seen = new Set<string>();
      const { targets, weight } = found.srv();
      for (const target of targets) {
        if (!once(seen, `${target.label} ${target.port}`)) continue;
        yield record(owner, TYPE.SRV, ttl, srvData(answers.service, target, weight, zone).data);
      }
    }
  }
}

function* hostRecords({ hosts }: NameAnswers, owner: Uint8Array, ttl: number): IterableIterator<Rr> {
  for (const target of hosts.names.slice(0, 1)) yield record(owner, TYPE.CNAME, ttl, target);
  if (hosts.names.length > 0) return;
  for (const rr of hosts.a) yield { ...rr, name: owner };
  for (const rr of hosts.aaaa) yield { ...rr, name: owner };
}
