// IPVS and ipset, which the usual kernel of a development machine lacks, held against ipvsadm and ipset.
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IPVS_HASHED, IPVS_PERSISTENT, IPVS_SCHED2, IpSets, Ipvs, NetNs } from '../../src/index.ts';

let ns: NetNs;
const sh = (...argv: string[]): string =>
  ns.run(() => execFileSync(argv[0] as string, argv.slice(1), { encoding: 'utf8' }));

beforeAll(() => {
  ns = NetNs.anonymous();
  // Without its local routing table the namespace takes every address for a broadcast one.
  sh('ip', 'link', 'set', 'lo', 'up');
});

afterAll(() => ns?.close());

describe('IPVS', () => {
  let ipvs: Ipvs;
  const service = { address: '10.96.0.1', protocol: 6 as const, port: 80 };
  const plain = { scheduler: 'rr', flags: 0, timeout: 0 };
  const server = (address: string, weight = 1) => ({ address, port: 8080, weight });

  beforeAll(async () => {
    ipvs = await Ipvs.open(ns);
  });

  afterAll(() => ipvs?.close());

  it('makes, lists, changes and removes services and servers as ipvsadm shows them', async () => {
    const six = { address: 'fd00::1', protocol: 17 as const, port: 53 };
    await ipvs.apply([
      { do: 'addService', service: { ...service, ...plain } },
      { do: 'addService', service: { ...six, scheduler: 'mh', flags: IPVS_PERSISTENT | IPVS_SCHED2, timeout: 300 } },
      { do: 'addDestination', service, destination: server('10.244.0.1') },
      { do: 'addDestination', service, destination: server('10.244.0.2', 3) },
      { do: 'addDestination', service: six, destination: { address: 'fd00:2::1', port: 5353, weight: 1 } },
    ]);
    const rules = sh('ipvsadm', '-Sn')
      .split('\n')
      .map((line) => line.trim());
    expect(rules).toContain('-A -t 10.96.0.1:80 -s rr');
    expect(rules).toContain('-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1');
    expect(rules).toContain('-a -t 10.96.0.1:80 -r 10.244.0.2:8080 -m -w 3');
    expect(
      rules.some((rule) => /^-A -u \[fd00::1\]:53 -s mh .*-p 300/.test(rule)),
      rules.join('\n'),
    ).toBe(true);
    expect(rules).toContain('-a -u [fd00::1]:53 -r [fd00:2::1]:5353 -m -w 1');

    const found = await ipvs.services();
    expect(found.map(({ stats: _, ...rest }) => rest)).toEqual(
      expect.arrayContaining([
        { ...service, ...plain, flags: IPVS_HASHED },
        { ...six, scheduler: 'mh', flags: IPVS_HASHED | IPVS_PERSISTENT | IPVS_SCHED2, timeout: 300 },
      ]),
    );
    await ipvs.apply([
      { do: 'setService', service: { ...service, ...plain, scheduler: 'lc' } },
      { do: 'setDestination', service, destination: server('10.244.0.1', 0) },
      { do: 'delDestination', service, destination: server('10.244.0.2') },
      { do: 'delService', service: six },
    ]);
    expect(await ipvs.services()).toEqual([expect.objectContaining({ address: '10.96.0.1', scheduler: 'lc' })]);
    expect(await ipvs.destinations(service)).toEqual([
      expect.objectContaining({ address: '10.244.0.1', port: 8080, weight: 0, active: 0, inactive: 0 }),
    ]);
    await ipvs.apply([{ do: 'delService', service }]);
    expect(await ipvs.services()).toEqual([]);
  });

  it('says which change was refused, and makes the others', async () => {
    const refusals = await ipvs.change([
      { do: 'addService', service: { ...service, ...plain, scheduler: 'nosuch' } },
      { do: 'addService', service: { ...service, ...plain, port: 81 } },
      { do: 'delService', service: { ...service, port: 82 } },
    ]);
    expect(refusals.map((r) => r.error.message)).toEqual([
      expect.stringContaining('cannot add virtual service TCP 10.96.0.1:80'),
      expect.stringContaining('cannot delete virtual service TCP 10.96.0.1:82'),
    ]);
    expect(refusals[0]?.error.hint).toContain('ip_vs_nosuch');
    expect(await ipvs.services()).toHaveLength(1);
    await ipvs.apply([{ do: 'delService', service: { ...service, port: 81 } }]);
  });

  it.each(['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'sh', 'dh', 'sed', 'nq', 'mh'])(
    'has the scheduler %s',
    async (scheduler) => {
      await ipvs.apply([{ do: 'addService', service: { ...service, ...plain, scheduler } }]);
      expect(await ipvs.services()).toEqual([expect.objectContaining({ scheduler })]);
      await ipvs.apply([{ do: 'delService', service }]);
    },
  );

  it('sets timeouts, and leaves those of 0 alone', async () => {
    const before = await ipvs.timeouts();
    await ipvs.setTimeouts({ tcp: 0, tcpFin: 77, udp: 0 });
    expect(await ipvs.timeouts()).toEqual({ ...before, tcpFin: 77 });
  });
});

describe('sets', () => {
  let sets: IpSets;

  beforeAll(() => {
    sets = IpSets.open(ns);
  });

  afterAll(() => sets?.close());

  const cases = [
    ['hash:ip', { ip: '10.96.0.1' }, '10.96.0.1'],
    ['hash:ip,port', { ip: '10.96.0.1', protocol: 6, port: 80 }, '10.96.0.1,tcp:80'],
    ['hash:ip,port,ip', { ip: '10.1.0.1', protocol: 17, port: 53, ip2: '10.1.0.1' }, '10.1.0.1,udp:53,10.1.0.1'],
    [
      'hash:ip,port,net',
      { ip: '10.96.0.1', protocol: 132, port: 9, ip2: '192.0.2.0', length2: 24 },
      '10.96.0.1,sctp:9,192.0.2.0/24',
    ],
    ['bitmap:port', { port: 30080 }, '30080'],
  ] as const;
  it.each(cases)('of type %s hold what ipset shows', async (type, element, shown) => {
    await sets.create({ name: 'test', type });
    await sets.create({ name: 'test', type });
    await sets.change([
      { do: 'add', set: 'test', element },
      { do: 'add', set: 'test', element },
    ]);
    expect(sh('ipset', 'list', 'test')).toContain(shown);
    expect(await sets.list('test')).toEqual([element]);
    await sets.change([
      { do: 'del', set: 'test', element },
      { do: 'del', set: 'test', element },
    ]);
    expect(await sets.list('test')).toEqual([]);
    expect(await sets.destroy('test')).toBe(true);
    expect(await sets.destroy('test')).toBe(false);
    expect(await sets.list('test')).toBeUndefined();
  });

  it('of IPv6', async () => {
    const element = { ip: 'fd00::1', protocol: 6, port: 80, ip2: 'fd00:1::', length2: 64 };
    await sets.create({ name: 'six', type: 'hash:ip,port,net', family: 6 });
    await sets.change([{ do: 'add', set: 'six', element }]);
    expect(await sets.list('six')).toEqual([element]);
    expect(await sets.flush('six')).toBe(true);
    expect(await sets.list('six')).toEqual([]);
    await sets.destroy('six');
  });

  it('many thousands of elements, in one go and back', async () => {
    await sets.create({ name: 'many', type: 'hash:ip,port' });
    const element = (i: number) => ({ ip: `10.${i >> 8}.${i & 255}.1`, protocol: 6, port: 80 });
    await sets.change(
      Array.from({ length: 5000 }, (_, i) => ({ do: 'add' as const, set: 'many', element: element(i) })),
    );
    expect(await sets.list('many')).toHaveLength(5000);
    await sets.destroy('many');
  });

  it('name the element or set that is refused', async () => {
    await sets.create({ name: 'small', type: 'hash:ip', maxElements: 64 });
    await expect(sets.create({ name: 'small', type: 'bitmap:port' })).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(sets.change([{ do: 'add', set: 'small', element: { ip: 'fd00::1' } }])).rejects.toThrow(
      'add element to set small: fd00::1',
    );
    await expect(sets.change([{ do: 'add', set: 'none', element: { ip: '10.0.0.1' } }])).rejects.toThrow('none');
    await sets.destroy('small');
  });
});
