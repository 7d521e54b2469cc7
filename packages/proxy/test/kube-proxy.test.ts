import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultConfiguration } from '../src/kube-proxy/configuration.ts';
import { conntrackSysctls } from '../src/kube-proxy/conntrack.ts';
import { decodeConfiguration, encodeConfiguration } from '../src/kube-proxy/decode.ts';
import { formatDuration, parseDuration } from '../src/kube-proxy/duration.ts';
import { klogLogger } from '../src/kube-proxy/klog.ts';
import { readCommand, writeConfiguration } from '../src/kube-proxy/main.ts';
import { validate } from '../src/kube-proxy/validate.ts';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';
const decode = (text: string) => decodeConfiguration(HEAD + text, 'config.conf');

describe('durations', () => {
  it.each([
    ['30s', 30_000],
    ['1m', 60_000],
    ['1m30s', 90_000],
    ['24h0m0s', 86_400_000],
    ['1.5s', 1500],
    ['250ms', 250],
    ['0', 0],
    ['0s', 0],
    ['-1s', -1000],
  ] as const)('%s is read', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', '30', 's', '1 s', '1s1', '1x'])('%j is none', (text) => expect(parseDuration(text)).toBeUndefined());

  it('are written as Go writes them', () => {
    expect([0, 250, 1500, 60_000, 90_000, 3_600_000, 86_400_000].map(formatDuration)).toEqual([
      '0s',
      '250ms',
      '1.5s',
      '1m0s',
      '1m30s',
      '1h0m0s',
      '24h0m0s',
    ]);
  });

  it('come back from their text', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 1e10 }), (ms) => parseDuration(formatDuration(ms)) === ms));
  });
});

describe('a KubeProxyConfiguration', () => {
  it('of kubeadm is read, with empty fields as their defaults', async () => {
    const { config, unknown } = await decode(
      [
        'bindAddress: 0.0.0.0',
        'bindAddressHardFail: false',
        'clientConnection:',
        '  acceptContentTypes: ""',
        '  burst: 0',
        '  contentType: ""',
        '  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf',
        '  qps: 0',
        'clusterCIDR: 10.244.0.0/16',
        'configSyncPeriod: 0s',
        'conntrack:',
        '  maxPerCore: null',
        '  min: null',
        '  tcpBeLiberal: false',
        '  tcpCloseWaitTimeout: null',
        'iptables:',
        '  localhostNodePorts: null',
        '  masqueradeAll: false',
        '  masqueradeBit: null',
        '  syncPeriod: 0s',
        'logging:',
        '  flushFrequency: 0',
        '  verbosity: 0',
        'mode: ""',
        'healthzBindAddress: ""',
        'metricsBindAddress: 0.0.0.0',
        'nodePortAddresses: null',
      ].join('\n'),
    );
    expect(unknown).toEqual([]);
    expect(config.clusterCIDR).toBe('10.244.0.0/16');
    expect(config.conntrack).toEqual(defaultConfiguration().conntrack);
    // Zero is what kubeadm writes for "not said".
    expect(config.iptables).toEqual(defaultConfiguration().iptables);
    expect(config.configSyncPeriod).toBe(900_000);
    expect([config.healthzBindAddress, config.metricsBindAddress]).toEqual(['0.0.0.0:10256', '0.0.0.0:10249']);
    expect(config.clientConnection).toMatchObject({
      qps: 5,
      burst: 10,
      contentType: 'application/vnd.kubernetes.protobuf',
    });
    expect(validate(config)).toEqual([]);
  });

  it('names fields that do not exist, and takes the rest', async () => {
    const { config, unknown } = await decode('mode: iptables\nmodes: x\niptables:\n  masqueradeBits: 3\n');
    expect(unknown).toEqual(['modes', 'iptables.masqueradeBits']);
    expect(config.mode).toBe('iptables');
  });

  it.each([
    ['mode: 3', 'config.conf: mode: must be a string, not 3'],
    ['iptables: yes', 'config.conf: iptables: must be an object, not true'],
    ['iptables: {syncPeriod: soon}', 'config.conf: iptables.syncPeriod: "soon" is not a duration'],
    ['iptables: {masqueradeBit: 1.5}', 'config.conf: iptables.masqueradeBit: must be a whole number, not 1.5'],
    ['nodePortAddresses: 10.0.0.0/8', 'config.conf: nodePortAddresses: must be a list of strings, not "10.0.0.0/8"'],
    ['mode: a\nmode: b', 'config.conf: error converting YAML to JSON'],
  ])('%j is refused', async (text, message) => {
    await expect(decode(text)).rejects.toThrow(message);
  });

  it('of another kind or version is refused', async () => {
    await expect(decodeConfiguration('a: 1', 'f')).rejects.toThrow("f: Object 'Kind' is missing");
    await expect(decodeConfiguration('kind: Pod\napiVersion: v1', 'f')).rejects.toThrow(
      'no kind "Pod" is registered for version "v1"',
    );
    await expect(decodeConfiguration('- a', 'f')).rejects.toThrow('no KubeProxyConfiguration in it');
  });

  it('comes back from its text', async () => {
    const config = defaultConfiguration();
    config.mode = 'iptables';
    config.nodePortAddresses = ['primary', 'fd00::/8'];
    config.conntrack.tcpEstablishedTimeout = 90_000;
    config.featureGates = { A: true, B: false };
    expect((await decodeConfiguration(await encodeConfiguration(config), 'f')).config).toEqual(config);
  });
});

describe('validation', () => {
  const with_ = (change: (config: ReturnType<typeof defaultConfiguration>) => void): string[] => {
    const config = defaultConfiguration();
    change(config);
    return validate(config);
  };

  it('finds nothing wrong with the defaults', () => expect(validate(defaultConfiguration())).toEqual([]));

  it.each([
    [
      'mode',
      'KubeProxyConfiguration.mode: Unsupported value: "x": supported values: "iptables", "ipvs", "nftables", "userspace", "ebpf"',
      'x',
    ],
    ['bindAddress', 'KubeProxyConfiguration.bindAddress: Invalid value: "x"', 'x'],
    [
      'healthzBindAddress',
      'KubeProxyConfiguration.healthzBindAddress: Invalid value: "0.0.0.0:0": must be IP:port',
      '0.0.0.0:0',
    ],
    [
      'metricsBindAddress',
      'KubeProxyConfiguration.metricsBindAddress: Invalid value: "::1:1": must be IP:port',
      '::1:1',
    ],
    ['oomScoreAdj', 'KubeProxyConfiguration.oomScoreAdj: Invalid value: -1001', -1001],
    ['clusterCIDR', 'KubeProxyConfiguration.clusterCIDR: Invalid value: "10.0.0.0"', '10.0.0.0'],
    ['clusterCIDR', 'must be a valid DualStack CIDR pair', '10.0.0.0/8,11.0.0.0/8'],
    [
      'nodePortAddresses',
      'KubeProxyConfiguration.nodePortAddresses[1]: Invalid value: "secondary"',
      ['primary', 'secondary'],
    ],
    ['detectLocalMode', 'KubeProxyConfiguration.detectLocalMode: Unsupported value: "Guess"', 'Guess'],
    [
      'detectLocalMode',
      'KubeProxyConfiguration.detectLocal.bridgeInterface: Invalid value: "": must not be empty',
      'BridgeInterface',
    ],
  ])('of %s says %s', (field, message, value) => {
    const errors = with_((config) => Object.assign(config, { [field]: value }));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(message);
  });

  it('lets [::]:10256 and no address at all pass', () => {
    expect(
      with_((config) => Object.assign(config, { healthzBindAddress: '[::]:10256', metricsBindAddress: '' })),
    ).toEqual([]);
  });

  it('wants periods in order', () => {
    expect(with_((config) => Object.assign(config.iptables, { syncPeriod: 500 }))).toEqual([
      'KubeProxyConfiguration.iptables.syncPeriod: Invalid value: "500ms": must be greater than or equal to KubeProxyConfiguration.iptables.minSyncPeriod',
    ]);
  });
});

describe('the command line', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'weft-kube-proxy-'));
    return () => rmSync(directory, { recursive: true });
  });

  it('sets fields in every form that pflag takes', async () => {
    const { config, action } = await readCommand([
      '--proxy-mode=iptables',
      '--cluster-cidr',
      '10.244.0.0/16',
      '--masquerade-all',
      '--iptables-localhost-nodeports=false',
      '--nodeport-addresses=primary,10.0.0.0/8',
      '--nodeport_addresses',
      'fd00::/8',
      '--conntrack-tcp-timeout-established=1h',
      '--feature-gates=A=true,B=false',
      '-v=4',
      '--healthz-port=0',
    ]);
    expect(action).toBe('run');
    expect(config).toMatchObject({
      mode: 'iptables',
      clusterCIDR: '10.244.0.0/16',
      iptables: { masqueradeAll: true, localhostNodePorts: false },
      nftables: { masqueradeAll: true },
      nodePortAddresses: ['primary', '10.0.0.0/8', 'fd00::/8'],
      conntrack: { tcpEstablishedTimeout: 3_600_000 },
      featureGates: { A: true, B: false },
      logging: { verbosity: 4 },
      healthzBindAddress: '',
    });
  });

  it.each([
    [['--nope'], 'unknown flag: --nope'],
    [['x'], 'unexpected argument "x"'],
    [['--proxy-mode'], 'flag needs an argument: --proxy-mode'],
    [['--masquerade-all=maybe'], 'invalid argument "maybe" for "--masquerade-all" flag: must be true or false'],
    [['--oom-score-adj=low'], 'invalid argument "low" for "--oom-score-adj" flag: must be a whole number'],
    [['--config-sync-period=1'], 'invalid argument "1" for "--config-sync-period" flag: must be a duration'],
    [['--config', '/does/not/exist'], '--config: cannot read /does/not/exist'],
    [['--proxy-mode=userland', '--oom-score-adj=2000'], '[KubeProxyConfiguration.mode: Unsupported value'],
  ])('%j is refused', async (args, message) => {
    await expect(readCommand(args)).rejects.toThrow(message);
  });

  it('lets the file count, but for the host name, and says so', async () => {
    const file = path.join(directory, 'config.conf');
    writeFileSync(file, `${HEAD}mode: iptables\nhostnameOverride: a\ntypo: 1\n`);
    const { config, warnings } = await readCommand([
      '--config',
      file,
      '--proxy-mode',
      'nftables',
      '--hostname-override=b',
    ]);
    expect([config.mode, config.hostnameOverride]).toEqual(['iptables', 'b']);
    expect(warnings).toEqual([
      `${file}: strict decoding error: unknown field "typo"; it is ignored`,
      '--proxy-mode has no effect: --config is given, and the file counts',
    ]);
  });

  it('writes the configuration that it has read', async () => {
    const file = path.join(directory, 'out.yaml');
    const { config, action, output } = await readCommand(['--write-config-to', file, '--cluster-cidr=10.0.0.0/8']);
    expect([action, output]).toEqual(['write-config', file]);
    await writeConfiguration(config, file);
    expect(readFileSync(file, 'utf8')).toContain('clusterCIDR: 10.0.0.0/8\n');
    expect((await readCommand(['--config', file])).config).toEqual(config);
  });
});

describe('settings of the connection table', () => {
  it('are as many entries as the cores ask for, and times in seconds', () => {
    expect(Object.fromEntries(conntrackSysctls(defaultConfiguration().conntrack, 2))).toEqual({
      'net.netfilter.nf_conntrack_max': 131_072,
      'net.netfilter.nf_conntrack_tcp_timeout_established': 86_400,
      'net.netfilter.nf_conntrack_tcp_timeout_close_wait': 3600,
    });
    expect(conntrackSysctls(defaultConfiguration().conntrack, 8).get('net.netfilter.nf_conntrack_max')).toBe(262_144);
  });

  it('are left alone where the configuration says zero', () => {
    const none = {
      maxPerCore: 0,
      min: 0,
      tcpEstablishedTimeout: 0,
      tcpCloseWaitTimeout: 0,
      tcpBeLiberal: false,
      udpTimeout: 0,
      udpStreamTimeout: 0,
    };
    expect(conntrackSysctls(none).size).toBe(0);
  });
});

describe('log lines', () => {
  const lines: string[] = [];
  afterEach(() => void lines.splice(0));

  it('are klog lines', () => {
    const log = klogLogger((line) => lines.push(line), 0, { component: 'proxy' });
    log.info('Using nftables Proxier');
    log.child({ ns: 'a' }).error('cannot "do" it', { error: new Error('no'), count: 2 });
    log.debug('hidden');
    expect(lines).toEqual([
      expect.stringMatching(/^I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ proxy\] "Using nftables Proxier"\n$/),
      expect.stringMatching(
        /^E\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ proxy\] "cannot \\"do\\" it" ns="a" err="no" count=2\n$/,
      ),
    ]);
  });
});
