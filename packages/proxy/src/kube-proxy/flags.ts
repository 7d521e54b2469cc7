import { WeftError } from '@weft/plan';
import { type FieldKind, FIELDS, type KubeProxyConfiguration, setField } from './configuration.ts';
import { parseDuration } from './duration.ts';

/** kube-proxy's flags that set a field of the configuration. */
const CONFIG_FLAGS: Readonly<Record<string, string>> = {
  kubeconfig: 'clientConnection.kubeconfig',
  'kube-api-content-type': 'clientConnection.contentType',
  'kube-api-burst': 'clientConnection.burst',
  'kube-api-qps': 'clientConnection.qps',
  'hostname-override': 'hostnameOverride',
  'bind-address': 'bindAddress',
  'healthz-bind-address': 'healthzBindAddress',
  'metrics-bind-address': 'metricsBindAddress',
  'bind-address-hard-fail': 'bindAddressHardFail',
  profiling: 'enableProfiling',
  'show-hidden-metrics-for-version': 'showHiddenMetricsForVersion',
  'proxy-mode': 'mode',
  'iptables-masquerade-bit': 'iptables.masqueradeBit',
  'masquerade-all': 'iptables.masqueradeAll',
  'iptables-localhost-nodeports': 'iptables.localhostNodePorts',
  'iptables-sync-period': 'iptables.syncPeriod',
  'iptables-min-sync-period': 'iptables.minSyncPeriod',
  'ipvs-sync-period': 'ipvs.syncPeriod',
  'ipvs-min-sync-period': 'ipvs.minSyncPeriod',
  'ipvs-scheduler': 'ipvs.scheduler',
  'ipvs-exclude-cidrs': 'ipvs.excludeCIDRs',
  'ipvs-strict-arp': 'ipvs.strictARP',
  'ipvs-tcp-timeout': 'ipvs.tcpTimeout',
  'ipvs-tcpfin-timeout': 'ipvs.tcpFinTimeout',
  'ipvs-udp-timeout': 'ipvs.udpTimeout',
  'detect-local-mode': 'detectLocalMode',
  'pod-bridge-interface': 'detectLocal.bridgeInterface',
  'pod-interface-name-prefix': 'detectLocal.interfaceNamePrefix',
  'cluster-cidr': 'clusterCIDR',
  'nodeport-addresses': 'nodePortAddresses',
  'oom-score-adj': 'oomScoreAdj',
  'conntrack-max-per-core': 'conntrack.maxPerCore',
  'conntrack-min': 'conntrack.min',
  'conntrack-tcp-timeout-established': 'conntrack.tcpEstablishedTimeout',
  'conntrack-tcp-timeout-close-wait': 'conntrack.tcpCloseWaitTimeout',
  'conntrack-tcp-be-liberal': 'conntrack.tcpBeLiberal',
  'conntrack-udp-timeout': 'conntrack.udpTimeout',
  'conntrack-udp-timeout-stream': 'conntrack.udpStreamTimeout',
  'config-sync-period': 'configSyncPeriod',
  'proxy-port-range': 'portRange',
  'feature-gates': 'featureGates',
  'logging-format': 'logging.format',
  v: 'logging.verbosity',
};

/** Flags that say what to do rather than how. */
const OWN_FLAGS: Readonly<Record<string, FieldKind>> = {
  config: 'string',
  'write-config-to': 'string',
  cleanup: 'bool',
  master: 'string',
  'init-only': 'bool',
  version: 'bool',
  help: 'bool',
  // Deprecated: ports of the two servers.
  'healthz-port': 'int',
  'metrics-port': 'int',
  // Log flags of klog that change nothing here.
  vmodule: 'string',
  'log-flush-frequency': 'duration',
  'log-text-info-buffer-size': 'string',
  'log-text-split-stream': 'bool',
  'log-json-info-buffer-size': 'string',
  'log-json-split-stream': 'bool',
};

/** One letter for some. */
const SHORT: Readonly<Record<string, string>> = { h: 'help' };

export interface Flags {
  readonly values: ReadonlyMap<string, unknown>;
  /** Names of flags that set a field. */
  readonly config: readonly string[];
}

function unknownFlag(text: string): WeftError {
  const known = [...Object.keys(CONFIG_FLAGS), ...Object.keys(OWN_FLAGS)];
  const name = text.replace(/^-+/, '');
  const near = known.filter((flag) => flag.startsWith(name.slice(0, 5))).slice(0, 5);
  return new WeftError({
    code: 'KUBE_PROXY_FLAG',
    message: `unknown flag: ${text}`,
    hint:
      near.length > 0
        ? `did you mean ${near.map((flag) => `--${flag}`).join(', ')}?`
        : 'weft kube-proxy --help lists the flags',
  });
}

/** Reads a command line as kube-proxy does: `--flag=value`, `--flag value`, `--bool`. Throws WeftError `KUBE_PROXY_FLAG`. */
export function parseFlags(args: readonly string[]): Flags {
  const values = new Map<string, unknown>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const match = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s.exec(arg);
    if (match === null) {
      throw new WeftError({
        code: 'KUBE_PROXY_FLAG',
        message: `unexpected argument ${JSON.stringify(arg)}`,
        hint: 'everything is a flag: weft kube-proxy --help lists them',
      });
    }
    const written = match[1] as string;
    // pflag takes _ for -.
    const name = SHORT[written] ?? written.replaceAll('_', '-');
    const kind = OWN_FLAGS[name] ?? FIELDS.get(CONFIG_FLAGS[name] ?? '');
    if (kind === undefined) throw unknownFlag(`--${written}`);
    let text = match[2];
    if (text === undefined && kind === 'bool') text = 'true';
    if (text === undefined) {
      i += 1;
      text = args[i];
    }
    if (text === undefined) throw wrong(name, '', 'flag needs an argument');
    values.set(name, convert(name, kind, text, values.get(name)));
  }
  return { values, config: [...values.keys()].filter((name) => name in CONFIG_FLAGS) };
}

function wrong(name: string, text: string, why: string): WeftError {
  return new WeftError({
    code: 'KUBE_PROXY_FLAG',
    message:
      text === '' ? `${why}: --${name}` : `invalid argument ${JSON.stringify(text)} for "--${name}" flag: ${why}`,
    hint: 'weft kube-proxy --help lists the flags',
  });
}

function convert(name: string, kind: FieldKind, text: string, before: unknown): unknown {
  switch (kind) {
    case 'string':
      return text;
    case 'bool':
      if (/^(1|t|true|T|TRUE|True)$/.test(text)) return true;
      if (/^(0|f|false|F|FALSE|False)$/.test(text)) return false;
      throw wrong(name, text, 'must be true or false');
    case 'int':
      if (/^-?\d+$/.test(text)) return Number(text);
      throw wrong(name, text, 'must be a whole number');
    case 'float':
      if (text !== '' && Number.isFinite(Number(text))) return Number(text);
      throw wrong(name, text, 'must be a number');
    case 'duration': {
      const ms = parseDuration(text);
      if (ms === undefined) throw wrong(name, text, 'must be a duration such as 30s or 1m');
      return ms;
    }
    case 'strings': {
      const list = text === '' ? [] : text.split(',').map((part) => part.trim());
      return [...((before as string[] | undefined) ?? []), ...list];
    }
    case 'gates': {
      const gates: Record<string, boolean> = { ...(before as Record<string, boolean> | undefined) };
      for (const part of text.split(',').filter((p) => p !== '')) {
        const [gate = '', value = ''] = part.split('=');
        if (value !== 'true' && value !== 'false') throw wrong(name, text, `${part} must be NAME=true or NAME=false`);
        gates[gate] = value === 'true';
      }
      return gates;
    }
  }
}

/** Puts flags into a configuration. The masquerade flags hold for every data plane. */
export function applyFlags(config: KubeProxyConfiguration, flags: Flags): void {
  for (const name of flags.config) {
    const path = CONFIG_FLAGS[name] as string;
    const value = flags.values.get(name);
    setField(config, path, value);
    if (/^iptables\.(masqueradeBit|masqueradeAll|syncPeriod|minSyncPeriod)$/.test(path)) {
      setField(config, path.replace('iptables.', 'nftables.'), value);
    }
  }
  const port = (flag: string, path: 'healthzBindAddress' | 'metricsBindAddress', host: string): void => {
    const value = flags.values.get(flag) as number | undefined;
    if (value !== undefined) config[path] = value === 0 ? '' : `${host}:${value}`;
  };
  port('healthz-port', 'healthzBindAddress', '0.0.0.0');
  port('metrics-port', 'metricsBindAddress', '127.0.0.1');
}

/** The text of `--help`. */
export function flagHelp(): string {
  const lines = Object.entries({
    ...OWN_FLAGS,
    ...Object.fromEntries(Object.entries(CONFIG_FLAGS).map(([f, p]) => [f, FIELDS.get(p)])),
  })
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, kind]) => `      --${name}${kind === 'bool' ? '' : ` ${kind}`}`.padEnd(46) + (CONFIG_FLAGS[name] ?? ''),
    );
  return [
    'weft kube-proxy: kube-proxy, with its flags and its configuration file',
    '',
    'Flags, and the field of the configuration each sets:',
    ...lines,
    '',
  ].join('\n');
}
