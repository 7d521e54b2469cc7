import { parseIp } from '@weft/net';
import { WeftError } from '@weft/plan';

/** What CoreDNS's node-cache takes on its command line, with its defaults. */
export interface NodeLocalOptions {
  /** `-localip`: addresses that the node answers at. */
  readonly localIps: readonly string[];
  /** `-conf`: the Corefile that is written and served. */
  readonly conf: string;
  /** `-basecorefile`: the template it is written from. */
  readonly baseCorefile: string;
  /** `-upstreamsvc`: Service whose address takes the place of `__PILLAR__CLUSTER__DNS__`. */
  readonly upstreamService: string;
  /** `-kubednscm`: directory of the ConfigMap kube-dns, with stubDomains and upstreamNameservers. */
  readonly kubeDnsConfig: string;
  readonly interfaceName: string;
  /** `-interfacekind`, our own: what the link is. A kernel without dummy links has bridges. */
  readonly interfaceKind: 'dummy' | 'bridge';
  readonly setupInterface: boolean;
  /** `-setupiptables`: rules that keep DNS at the local addresses out of connection tracking; ours are nftables'. */
  readonly setupRules: boolean;
  readonly skipTeardown: boolean;
  /** `-syncinterval`, in seconds. */
  readonly syncInterval: number;
  /** `-metrics-listen-address`, of the metrics of the setup. */
  readonly metricsAddress: string;
  /** `-health-port`, which the rules cover too. */
  readonly healthPort: number;
  /** `-dns.port`, `-p`. */
  readonly port: number;
}

type Values = { -readonly [K in keyof NodeLocalOptions]: NodeLocalOptions[K] };

const DEFAULTS: NodeLocalOptions = {
  localIps: [],
  conf: '/etc/Corefile',
  baseCorefile: '/etc/coredns/Corefile.base',
  upstreamService: 'kube-dns',
  kubeDnsConfig: '/etc/kube-dns',
  interfaceName: 'nodelocaldns',
  interfaceKind: 'dummy',
  setupInterface: true,
  setupRules: true,
  skipTeardown: false,
  syncInterval: 60,
  metricsAddress: '0.0.0.0:9353',
  healthPort: 8080,
  port: 53,
};

function bad(message: string, hint: string): WeftError {
  return new WeftError({ code: 'BAD_FLAG', message: `weft dns --node-local: ${message}`, hint });
}

function number(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value > 0 && value <= most) return value;
  throw bad(`-${flag} ${text}: not a number from 1 to ${most}`, `leave -${flag} out for the default`);
}

function addresses(text: string): string[] {
  const list = text.split(',').map((part) => part.trim());
  for (const part of list) {
    if (parseIp(part) === undefined)
      throw bad(`-localip ${text}: "${part}" is not an address`, 'separate addresses by commas');
  }
  return [...new Set(list)];
}

type Setter = (values: Values, text: string, flag: string) => void;

const VALUES: Readonly<Record<string, Setter>> = {
  localip: (v, text) => {
    v.localIps = addresses(text);
  },
  conf: (v, text) => {
    v.conf = text;
  },
  basecorefile: (v, text) => {
    v.baseCorefile = text;
  },
  upstreamsvc: (v, text) => {
    v.upstreamService = text;
  },
  kubednscm: (v, text) => {
    v.kubeDnsConfig = text;
  },
  interfacename: (v, text) => {
    if (!/^[^\s/]{1,15}$/.test(text)) throw bad(`-interfacename ${text}: no name of a link`, 'at most 15 characters');
    v.interfaceName = text;
  },
  interfacekind: (v, text) => {
    if (text !== 'dummy' && text !== 'bridge') throw bad(`-interfacekind ${text}: unknown`, 'dummy or bridge');
    v.interfaceKind = text;
  },
  syncinterval: (v, text, flag) => {
    v.syncInterval = number(flag, text.replace(/s$/, ''), 86_400);
  },
  'metrics-listen-address': (v, text) => {
    v.metricsAddress = text;
  },
  'health-port': (v, text, flag) => {
    v.healthPort = number(flag, text, 65_535);
  },
  'dns.port': (v, text, flag) => {
    v.port = number(flag, text, 65_535);
  },
  p: (v, text, flag) => {
    v.port = number(flag, text, 65_535);
  },
  // Taken and of no effect: klog's and CoreDNS's own, which manifests set.
  v: () => {},
  stderrthreshold: () => {},
  pidfile: () => {},
};

const SWITCHES: Readonly<Record<string, (values: Values, on: boolean) => void>> = {
  setupinterface: (v, on) => {
    v.setupInterface = on;
  },
  setupiptables: (v, on) => {
    v.setupRules = on;
  },
  setupebtables: (_, on) => {
    if (on) throw bad('-setupebtables is not served', 'bridges that filter need no rules of this program');
  },
  skipteardown: (v, on) => {
    v.skipTeardown = on;
  },
  logtostderr: () => {},
  quiet: () => {},
};

/**
 * Reads node-cache's command line: one dash or two, values behind a blank or an equals sign, switches alone or with
 * `=true` and `=false`, as Go's flag package has it.
 *
 * @throws WeftError BAD_FLAG
 */
export function parseNodeLocal(args: readonly string[]): NodeLocalOptions {
  const values: Values = { ...DEFAULTS };
  for (let i = 0; i < args.length; i++) {
    const word = args[i] ?? '';
    const [, flag = '', inline] = /^--?([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    const set = VALUES[flag];
    const turn = SWITCHES[flag];
    if (turn !== undefined) {
      if (inline !== undefined && !/^(true|false|1|0|t|f)$/i.test(inline))
        throw bad(`${word}: neither true nor false`, `write -${flag} or -${flag}=false`);
      turn(values, inline === undefined || /^(true|1|t)$/i.test(inline));
    } else if (set !== undefined) {
      const text = inline ?? args[++i];
      if (text === undefined || text === '') throw bad(`-${flag} needs a value`, `write -${flag} VALUE`);
      set(values, text, flag);
    } else {
      const known = [...Object.keys(VALUES), ...Object.keys(SWITCHES)].map((name) => `-${name}`).join(' ');
      throw bad(`unknown flag ${word}`, `flags are those of CoreDNS's node-cache: ${known}`);
    }
  }
  if (values.localIps.length === 0)
    throw bad('-localip is missing', 'give the addresses to answer at, as in -localip 169.254.20.10,10.96.0.10');
  return values;
}
