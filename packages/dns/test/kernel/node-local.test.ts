// Node-local cache mode on the real kernel. The test moves into a network namespace of its own, with all its sockets.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '@weft/plan';
import koffi from 'koffi';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NodeLocal, type NodeLocalOptions, parseNodeLocal } from '../../src/index.ts';
import { ask, exchangeUdp, question, short } from '../support/dig.ts';
import { always, TestUpstream } from '../support/upstream.ts';

const LOCAL = '169.254.20.10';
const CLUSTER = '10.96.0.10';
const CLONE_NEWNET = 0x40000000;

let folder: string;
let upstream: TestUpstream;
let options: NodeLocalOptions;

const sh = (...argv: string[]): string => execFileSync(argv[0] as string, argv.slice(1), { encoding: 'utf8' });
const links = (): string => sh('ip', '-o', 'link');
const tables = (): string => sh('nft', 'list', 'tables');
const start = (): Promise<NodeLocal> => NodeLocal.start(options, { log: silentLogger, env: {} });

beforeAll(async () => {
  // Only this thread moves, and it is the one that opens sockets and starts programs.
  expect(koffi.load(null).func('unshare', 'int', ['int'])(CLONE_NEWNET)).toBe(0);
  sh('ip', 'link', 'set', 'lo', 'up');
  // Connection tracking begins with the first rule that asks for it.
  sh(
    'nft',
    'add table ip probe; add chain ip probe c { type filter hook output priority 0; }; add rule ip probe c ct state new',
  );
  folder = mkdtempSync(path.join(tmpdir(), 'weft-node-local-'));
  upstream = new TestUpstream(always(7));
  await upstream.start();
  options = {
    ...parseNodeLocal(['-localip', `${LOCAL},${CLUSTER}`, '-interfacekind', 'bridge', '-health-port', '8085']),
    conf: path.join(folder, 'Corefile'),
    baseCorefile: path.join(folder, 'Corefile.base'),
    kubeDnsConfig: folder,
    metricsAddress: '127.0.0.1:9353',
  };
});
afterAll(async () => {
  await upstream.stop();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  upstream.behaviour = always(7);
  writeFileSync(
    options.baseCorefile,
    `.:53 {\n errors\n bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__\n health ${LOCAL}:8085\n forward . 127.0.0.1:${upstream.port}\n}\n`,
  );
});

describe('node-local mode', () => {
  it('answers at the local addresses, untracked, and leaves nothing behind', async () => {
    const mode = await start();
    try {
      for (const host of [LOCAL, CLUSTER]) {
        for (const tcp of [false, true])
          expect(short(await ask(53, `x-${tcp}.example`, 'A', { host, tcp }))).toBe('NOERROR | A 10.0.0.7');
      }
      expect(links()).toContain('nodelocaldns');
      const rules = sh('nft', 'list', 'table', 'inet', 'weft-node-local-dns');
      expect(rules).toContain(`ip daddr ${CLUSTER} udp dport 53 notrack comment "-localip ${CLUSTER}"`);
      const tracked = sh('conntrack', '-L');
      expect(tracked).toContain(`dport=${upstream.port}`);
      expect(tracked).not.toMatch(/dport=53 /);
      expect(await (await fetch(`http://${LOCAL}:8085/health`)).text()).toBe('OK');
    } finally {
      await mode.close();
    }
    expect(links()).not.toContain('nodelocaldns');
    expect(tables()).not.toContain('node-local');
  });

  it('puts back what has got lost, and counts what it cannot', async () => {
    const mode = await start();
    try {
      sh('ip', 'link', 'del', 'nodelocaldns');
      sh('nft', 'delete', 'table', 'inet', 'weft-node-local-dns');
      await mode.sync();
      expect(short(await ask(53, 'back.example', 'A', { host: CLUSTER }))).toBe('NOERROR | A 10.0.0.7');
      expect(tables()).toContain('node-local');
      writeFileSync(path.join(folder, 'upstreamNameservers'), 'nonsense');
      await mode.sync();
      const metrics = await (await fetch('http://127.0.0.1:9353/metrics')).text();
      expect(metrics).toContain('coredns_nodecache_setup_errors_total{errortype="configmap"} 1');
      expect(metrics).toContain('coredns_nodecache_setup_errors_total{errortype="iptables"} 0');
    } finally {
      rmSync(path.join(folder, 'upstreamNameservers'), { force: true });
      await mode.close();
    }
  });

  it('follows its template', async () => {
    const mode = await start();
    try {
      const text = readFileSync(options.baseCorefile, 'utf8');
      writeFileSync(
        options.baseCorefile,
        text.replace('forward', 'hosts {\n 192.0.2.1 own.example\n fallthrough\n }\n forward'),
      );
      await mode.sync();
      expect(short(await ask(53, 'own.example', 'A', { host: LOCAL }))).toBe('NOERROR | A 192.0.2.1');
    } finally {
      await mode.close();
    }
  });

  it('is replaced without a query lost, and the new one keeps link and rules', async () => {
    const old = await start();
    let next: NodeLocal | undefined;
    let going = true;
    const results: (string | undefined)[] = [];
    const pending = new Set<Promise<void>>();
    // Answers that take a while are under way when the old one is told to stop.
    upstream.behaviour = async (query) => {
      await new Promise((resolve) => setTimeout(resolve, 5 + (query.id % 50)));
      return always(7)(query);
    };
    const asking = (async () => {
      for (let i = 0; going; i++) {
        const one = exchangeUdp(53, question(`n${i}.example`, 'A'), CLUSTER, 4000).then((answer) => {
          results.push(answer === undefined ? undefined : 'answered');
        });
        pending.add(one);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await Promise.all(pending);
    })();
    try {
      next = await start();
      const taken = results.length;
      while (results.length < taken + 50) await new Promise((resolve) => setTimeout(resolve, 5));
      await old.close();
      const after = results.length;
      while (results.length < after + 50) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(links()).toContain('nodelocaldns');
      expect(tables()).toContain('node-local');
    } finally {
      going = false;
      await asking;
      await old.close();
      await next?.close();
    }
    expect(results.length).toBeGreaterThan(100);
    expect(results.filter((result) => result === undefined)).toEqual([]);
    expect(links()).not.toContain('nodelocaldns');
    expect(tables()).not.toContain('node-local');
  });

  it('leaves all in place when told to', async () => {
    const full = options;
    options = { ...full, skipTeardown: true };
    await (await start()).close();
    expect(links()).toContain('nodelocaldns');
    expect(tables()).toContain('node-local');
    options = full;
    await (await start()).close();
    expect(links()).not.toContain('nodelocaldns');
  });
});
