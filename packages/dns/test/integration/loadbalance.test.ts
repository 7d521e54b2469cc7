import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { ask, rrText } from '../support/dig.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-dns-lb-'));
});
const running: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0)) await stop();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(text: string): Promise<{ dns: DnsServer; port: number }> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'] });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

const HOSTS = 'hosts /dev/null {\n 10.0.0.1 a.test\n 10.0.0.2 a.test\n 10.1.0.3 a.test\n 10.2.0.4 a.test\n }';

async function orders(port: number, count: number): Promise<string[]> {
  const out: string[] = [];
  for (let i = 0; i < count; i++) {
    const { answers } = await ask(port, 'a.test');
    out.push(answers.map((rr) => rrText(rr).split('.').at(-1)).join(''));
  }
  return out;
}

describe('loadbalance', () => {
  it('changes the order', async () => {
    const { port } = await serve(`.:0 {\n loadbalance\n ${HOSTS}\n}`);
    const seen = new Set<string>();
    // Fifty answers in one of 24 orders are the same with a chance of 24 to the minus 49.
    for (const order of await orders(port, 50)) seen.add(order);
    expect(seen.size).toBeGreaterThan(1);
  });

  it('prefer puts blocks first, in their order', async () => {
    const { port } = await serve(`.:0 {\n loadbalance {\n prefer 10.2.0.0/16 10.1.0.0/16\n }\n ${HOSTS}\n}`);
    for (const order of await orders(port, 10)) expect(order.slice(0, 2)).toBe('43');
  });

  it('weighted puts one address first, and follows its file', async () => {
    const file = join(folder, 'weights');
    const { port } = await serve(
      `.:0 {\n root ${folder}\n loadbalance weighted weights {\n reload 10ms\n }\n ${HOSTS}\n}`,
    );
    // Weights of one each would put another address first in nearly every series.
    const heavy = (last: string): string =>
      ['10.0.0.1', '10.0.0.2', '10.1.0.3', '10.2.0.4'].map((ip) => `${ip} ${ip.endsWith(last) ? 255 : 1}`).join('\n');
    const firsts = async (): Promise<number> => {
      const order = await orders(port, 20);
      return order.filter((text) => text.startsWith('4')).length;
    };
    writeFileSync(file, `a.test\n${heavy('4')}\n`);
    await expect.poll(firsts, { timeout: 5000 }).toBeGreaterThan(14);
    // What cannot be read changes nothing.
    writeFileSync(file, 'a.test\nwhat 1\n');
    expect(await firsts()).toBeGreaterThan(14);
    const [order] = (await orders(port, 20)).filter((text) => text.startsWith('4'));
    // The others keep their places but for the one that changed with the first.
    expect(order).toBe('4231');
  });

  it('a file that is missing and never looked at again stops the start', async () => {
    await expect(serve(`.:0 {\n loadbalance weighted ${folder}/no {\n reload 0s\n }\n ${HOSTS}\n}`)).rejects.toThrow(
      'ENOENT',
    );
    const { port } = await serve(`.:0 {\n loadbalance weighted ${folder}/no\n ${HOSTS}\n}`);
    expect(await orders(port, 1)).toHaveLength(1);
  });

  it.each([
    ['loadbalance weighted', 'missing weight file argument'],
    ['loadbalance weighted a b', 'unexpected argument(s)'],
    ['loadbalance round_robin a', 'unknown property for round_robin'],
    ['loadbalance least', 'unknown policy: least'],
    ['loadbalance weighted a {\n reload\n }', 'reload duration value is missing'],
    ['loadbalance weighted a {\n reload x\n }', "invalid reload duration 'x'"],
    ['loadbalance weighted a {\n prefer 10.0.0.0/8\n }', "unknown property 'prefer'"],
    ['loadbalance {\n reload 1s\n }', "unknown property 'reload'"],
    ['loadbalance {\n prefer 10.0.0.0\n }', 'invalid CIDR "10.0.0.0"'],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n whoami\n}`)).toMatchObject([{ message: expect.stringContaining(message) }]);
  });
});
