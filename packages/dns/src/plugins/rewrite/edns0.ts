import { parseIp } from '@weft/net';
import { parsingError } from '../../corefile/error.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { Request } from '../../server/request.ts';
import { concat, type Query } from '../../wire/index.ts';
import type { Rule } from './rules.ts';

const NSID = 3;
const SUBNET = 8;
/** Size that upstreams may answer with when the client has not said any. */
const UDP_SIZE = 1232;

type Action = 'set' | 'append' | 'replace' | 'unset';
const ACTIONS: readonly string[] = ['set', 'append', 'replace', 'unset'];

/** Data of an option for one query; undefined when it cannot be made. */
type Data = (request: Request, query: Query) => Uint8Array | undefined;

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

/** What `{NAME}` stands for in the data of a local option. */
const VARIABLES: Readonly<Record<string, Data>> = {
  '{qname}': (request) => Buffer.from(request.name),
  '{qtype}': (_request, query) => u16(query.type),
  '{client_ip}': ({ context }) => parseIp(context.remoteAddress)?.bytes,
  '{client_port}': ({ context }) => u16(context.remotePort),
  '{server_ip}': ({ local }) => parseIp(local.address.replace(/%.*$/, ''))?.bytes,
  '{server_port}': ({ local }) => u16(local.port),
  '{protocol}': ({ context }) => Buffer.from(context.proto),
};

/** Reads `edns0 local|nsid|subnet …`: options of the query that later plugins see. @throws CorefileError */
export function edns0Rule(mode: Rule['mode'], kind: Token, words: readonly Token[]): Rule {
  const given = words.at(-1)?.text.toLowerCase() === 'revert' ? words.slice(0, -1) : words;
  const [type, action, ...args] = given;
  if (type === undefined || action === undefined) throw parsingError(kind, 'too few arguments for an EDNS0 rule');
  const what = action.text.toLowerCase();
  if (!ACTIONS.includes(what)) throw parsingError(action, `invalid action: "${action.text}"`);
  const { code, data } = optionOf(type, what as Action, args);
  return {
    mode,
    apply: (request, query) => {
      const before = query.edns?.options ?? new Uint8Array();
      const options = changed(before, what as Action, code, () => data(request, query));
      if (options === undefined) return undefined;
      const edns = query.edns ?? { udpSize: UDP_SIZE, version: 0, flags: 0, options };
      return { query: { ...query, edns: { ...edns, options } } };
    },
  };
}

function optionOf(type: Token, action: Action, args: readonly Token[]): { code: number; data: Data } {
  const count = (wanted: number): void => {
    if (args.length !== wanted) {
      throw parsingError(type, `EDNS0 ${type.text} rules with ${action} take ${wanted} more arguments`);
    }
  };
  const none: Data = () => new Uint8Array();
  switch (type.text.toLowerCase()) {
    case 'local': {
      count(action === 'unset' ? 1 : 2);
      const [codeToken, dataToken] = args as [Token, Token];
      const code = Number(codeToken.text);
      if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(codeToken.text) || code > 0xffff) {
        throw parsingError(codeToken, `invalid EDNS0 option code "${codeToken.text}"`);
      }
      return { code, data: action === 'unset' ? none : localData(dataToken) };
    }
    case 'nsid':
      count(0);
      return { code: NSID, data: none };
    case 'subnet': {
      count(action === 'unset' ? 0 : 2);
      if (action === 'unset') return { code: SUBNET, data: none };
      const [v4, v6] = [32, 128].map((max, i) => {
        const token = args[i] as Token;
        const bits = /^[0-9]+$/.test(token.text) ? Number(token.text) : Number.NaN;
        if (!(bits <= max)) throw parsingError(token, `invalid subnet length "${token.text}"`);
        return bits;
      }) as [number, number];
      return { code: SUBNET, data: ({ context }) => subnet(context.remoteAddress, v4, v6) };
    }
    default:
      throw parsingError(type, `invalid rule type "${type.text}"`, 'local, nsid and subnet options can be changed');
  }
}

function localData(token: Token): Data {
  const { text } = token;
  if (text.startsWith('{')) {
    const known = VARIABLES[text.toLowerCase()];
    // Any other name with a slash inside is something that plugins say of the query, when `metadata` gathers it.
    if (known === undefined && /^\{[^/{}]+\/[^{}]+\}$/.test(text)) {
      const label = text.slice(1, -1);
      return (request) => {
        const value = request.label(label);
        return value === '' ? undefined : Buffer.from(value);
      };
    }
    if (known === undefined) {
      throw parsingError(token, `unsupported variable name "${text}"`, `known: ${Object.keys(VARIABLES).join(', ')}`);
    }
    return known;
  }
  if (!text.startsWith('0x')) return () => Buffer.from(text);
  const bytes = Buffer.from(text.slice(2), 'hex');
  if (bytes.length * 2 !== text.length - 2) throw parsingError(token, `invalid EDNS0 data "${text}"`);
  return () => bytes;
}

/** The client's network (RFC 7871 section 6): bits beyond the length are zero, bytes beyond it are left out. */
function subnet(address: string, v4: number, v6: number): Uint8Array | undefined {
  const ip = parseIp(address.split('%')[0] as string);
  if (ip === undefined) return undefined;
  const length = ip.family === 4 ? v4 : v6;
  const bytes = Uint8Array.from(ip.bytes.subarray(0, Math.ceil(length / 8)));
  const last = bytes.length - 1;
  if (length % 8 !== 0) bytes[last] = (bytes[last] as number) & (0xff << (8 - (length % 8)));
  return concat([Uint8Array.of(0, ip.family === 4 ? 1 : 2, length, 0), bytes]);
}

/** The options after the action; undefined when it does not apply. */
function changed(
  options: Uint8Array,
  action: Action,
  code: number,
  make: () => Uint8Array | undefined,
): Uint8Array | undefined {
  const kept: Uint8Array[] = [];
  let found = false;
  for (let at = 0; at + 4 <= options.length; ) {
    const known = ((options[at] as number) << 8) | (options[at + 1] as number);
    const end = at + 4 + (((options[at + 2] as number) << 8) | (options[at + 3] as number));
    if (known === code) found = true;
    else kept.push(options.subarray(at, end));
    at = end;
  }
  if (action === 'unset') return found ? concat(kept) : undefined;
  if ((action === 'append' && found) || (action === 'replace' && !found)) return undefined;
  const data = make();
  return data === undefined ? undefined : concat([...kept, u16(code), u16(data.length), data]);
}
