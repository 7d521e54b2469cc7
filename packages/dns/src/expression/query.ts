import { parseIp, parsePrefix, prefixContains } from '@weft/net';
import type { Request } from '../server/request.ts';
import { className, typeName } from '../wire/index.ts';
import { ExpressionError } from './error.ts';
import type { Entry, ExpressionFunction } from './evaluate.ts';

/**
 * What expressions of `view` and `template` may ask about a query, as CoreDNS documents it for `view`. Without a request only
 * the names count.
 */
export function queryEnvironment(request?: Request): Map<string, Entry> {
  const about = (read: (request: Request) => unknown): ExpressionFunction => ({
    args: [0, 0],
    call: () => (request === undefined ? undefined : read(request)),
  });
  return new Map<string, Entry>([
    ['bufsize', about((r) => r.size)],
    ['class', about((r) => className(r.query.class))],
    ['client_ip', about((r) => r.context.remoteAddress)],
    ['do', about((r) => r.do)],
    ['id', about((r) => r.query.id)],
    ['name', about((r) => r.name)],
    ['opcode', about((r) => (r.query.flags >> 11) & 15)],
    ['port', about((r) => String(r.context.remotePort))],
    ['proto', about((r) => r.context.proto)],
    ['server_ip', about((r) => r.local.address)],
    ['server_port', about((r) => String(r.local.port))],
    ['size', about((r) => r.wireSize)],
    ['type', about((r) => typeName(r.query.type))],
    ['incidr', { args: [2, 2], call: incidr }],
    ['metadata', { args: [1, 1], call: (label) => request?.label(String(label)) ?? '' }],
  ]);
}

function incidr(ip: unknown, cidr: unknown): boolean {
  const address = parseIp(String(ip).replace(/%.*$/, ''));
  if (address === undefined) throw new ExpressionError('first argument is not an IP address');
  const prefix = parsePrefix(String(cidr));
  if (prefix === undefined) throw new ExpressionError(`invalid CIDR address: ${String(cidr)}`);
  return prefixContains(prefix, address);
}
