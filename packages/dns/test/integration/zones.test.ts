import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { checkCorefile, startDns } from '../../src/index.ts';
import { FLAG, type Message, RCODE } from '../../src/wire/index.ts';
import { ask, rrText, short } from '../support/dig.ts';

const running: (() => Promise<void> | void)[] = [];
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-zones-'));
});
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
  rmSync(folder, { recursive: true });
});

async function serve(text: string): Promise<number> {
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'] });
  running.push(() => dns.close());
  return dns.addresses[0]?.port as number;
}

const zone = (serial: number, rest: string): string =>
  `$TTL 60\n@ SOA ns hostmaster ${serial} 7200 1800 86400 30\n@ NS ns\nns A 10.0.0.53\n${rest}\n`;
const write = (name: string, text: string): string => {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
};

const RICH = `www A 10.0.0.1
www AAAA fd00::1
alias CNAME www
alias2 CNAME alias
gone CNAME nothing
loop1 CNAME loop2
loop2 CNAME loop1
a.b.ent A 10.0.0.2
*.wild A 10.0.0.3
*.wild TXT "any"
x.wild TXT here
sub NS ns.sub
ns.sub A 10.0.0.54
mail MX 10 www
srv SRV 1 2 80 www
tree DNAME wild
cw CNAME q.wild
cs CNAME a.sub`;

describe('file', () => {
  it('answers, refers, follows aliases and denies', async () => {
    const db = write('db', zone(1, `${RICH}\nout CNAME other.test.`));
    const port = await serve(`example.org:0 {\n file ${db}\n}`);
    const at = async (name: string, type = 'A'): Promise<string> =>
      short(await ask(port, `${name}.example.org.`, type));
    expect(await at('www')).toBe('NOERROR | A 10.0.0.1');
    expect(await at('alias2')).toBe('NOERROR | A 10.0.0.1 | CNAME alias.example.org. | CNAME www.example.org.');
    expect(await at('gone')).toBe('NXDOMAIN | CNAME nothing.example.org.');
    expect(await at('z.tree')).toContain('A 10.0.0.3');
    expect(await at('nope')).toBe('NXDOMAIN');
    const message = await ask(port, 'WwW.Example.org.', 'A');
    expect(message.answers.map(rrText)).toEqual(['WwW.Example.org. 60 A 10.0.0.1']);
    expect(message.authority.map(rrText)).toEqual(['example.org. 60 NS ns.example.org.']);
    const referral = await ask(port, 'deep.sub.example.org.', 'A');
    expect([referral.flags & FLAG.AA, referral.authority.map(rrText), referral.additional.map(rrText)]).toEqual([
      0,
      ['sub.example.org. 60 NS ns.sub.example.org.'],
      ['ns.sub.example.org. 60 A 10.0.0.54'],
    ]);
    // Nobody here knows where the alias leads: the alias alone is the answer.
    expect(await at('out')).toBe('NOERROR | CNAME other.test.');
    expect(await at('www', 'AXFR')).toBe('REFUSED');
  });

  it('asks the server itself for aliases that leave the zone', async () => {
    const one = write('one', zone(1, 'out CNAME www.two.test.'));
    const two = write('two', zone(1, 'www A 10.2.2.2'));
    const port = await serve(`.:0 {\n file ${one} one.test\n file ${two} two.test\n whoami\n}`);
    expect(short(await ask(port, 'out.one.test.'))).toBe('NOERROR | A 10.2.2.2 | CNAME www.two.test.');
    // What is in none of the zones goes on.
    expect((await ask(port, 'other.test.')).additional.length).toBeGreaterThan(0);
  });

  it('lets names fall through that do not exist', async () => {
    const db = write('db', zone(1, RICH));
    const port = await serve(`.:0 {\n file ${db} example.org {\n  fallthrough\n }\n whoami\n}`);
    expect((await ask(port, 'nope.example.org.')).additional.length).toBeGreaterThan(0);
    expect(short(await ask(port, 'www.example.org.'))).toBe('NOERROR | A 10.0.0.1');
  });

  it('serves a new serial, and keeps what it has when the file breaks', async () => {
    const db = write('db', zone(1, 'www A 10.0.0.1'));
    const port = await serve(`example.org:0 {\n file ${db} {\n  reload 10ms\n }\n}`);
    const www = async (): Promise<string> => short(await ask(port, 'www.example.org.'));
    expect(await www()).toBe('NOERROR | A 10.0.0.1');
    write('db', zone(2, 'www A 10.0.0.222'));
    await vi.waitFor(async () => expect(await www()).toBe('NOERROR | A 10.0.0.222'), { timeout: 5000 });
    write('db', 'nonsense (');
    expect(await www()).toBe('NOERROR | A 10.0.0.222');
    write('db', zone(3, 'www A 10.0.0.3'));
    await vi.waitFor(async () => expect(await www()).toBe('NOERROR | A 10.0.0.3'), { timeout: 5000 });
  });

  it('is SERVFAIL until its file is there', async () => {
    const port = await serve(`example.org:0 {\n file ${folder}/later {\n  reload 10ms\n }\n}`);
    expect((await ask(port, 'www.example.org.')).rcode).toBe(RCODE.SERVFAIL);
    write('later', zone(2, 'www A 10.0.0.2'));
    await vi.waitFor(async () => expect(short(await ask(port, 'www.example.org.'))).toBe('NOERROR | A 10.0.0.2'), {
      timeout: 5000,
    });
  });

  it.each([
    ['file', "Wrong argument count or unexpected line ending after 'file'"],
    ['file /a {\n transfer to *\n}', "unknown property 'transfer'"],
    ['file /a {\n reload soon\n}', 'invalid duration'],
    ['auto', "Wrong argument count or unexpected line ending after 'auto'"],
    ['auto {\n directory /a (\\w*)\n}', 'Wrong argument count'],
    ['auto {\n directory /a ( {1}\n}', 'error parsing regexp'],
    ['auto {\n directory /a (.*) x\n}', 'expecting {X}, got x'],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n}`)[0]?.message).toContain(message);
  });
});

describe('auto', () => {
  it('serves what is in the directory, as it comes and goes', async () => {
    write('db.one.org', zone(1, 'www A 10.0.0.1'));
    write('below/db.two.org', zone(1, 'www A 10.0.0.2'));
    write('db.else.net', zone(1, 'www A 10.0.0.9'));
    const port = await serve(`.:0 {\n auto org {\n  directory ${folder}\n  reload 10ms\n }\n}`);
    const www = async (origin: string): Promise<string> => short(await ask(port, `www.${origin}.`));
    expect(await www('one.org')).toBe('NOERROR | A 10.0.0.1');
    expect(await www('two.org')).toBe('NOERROR | A 10.0.0.2');
    expect(await www('else.net')).toBe('REFUSED');
    write('db.three.org', zone(1, 'www A 10.0.0.3'));
    await vi.waitFor(async () => expect(await www('three.org')).toBe('NOERROR | A 10.0.0.3'), { timeout: 5000 });
    rmSync(path.join(folder, 'db.one.org'));
    await vi.waitFor(async () => expect(await www('one.org')).toBe('REFUSED'), { timeout: 5000 });
    write('below/db.two.org', zone(2, 'www A 10.0.0.22'));
    await vi.waitFor(async () => expect(await www('two.org')).toBe('NOERROR | A 10.0.0.22'), { timeout: 5000 });
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function hasKnot(): boolean {
  try {
    execFileSync('knotd', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.runIf(hasKnot())('beside Knot', () => {
  it('gives the same answers for the same zone', async () => {
    const db = write('db', zone(1, RICH));
    const knotPort = await freePort();
    write(
      'knot.conf',
      [
        `server:\n    rundir: ${folder}\n    listen: 127.0.0.1@${knotPort}`,
        `database:\n    storage: ${folder}/knotdb`,
        `zone:\n  - domain: example.org\n    file: ${db}\n    storage: ${folder}\n`,
      ].join('\n'),
    );
    const knot: ChildProcess = spawn('knotd', ['-c', path.join(folder, 'knot.conf')], { stdio: 'ignore' });
    const ended = new Promise<void>((resolve) => knot.once('exit', () => resolve()));
    running.push(async () => {
      knot.kill('SIGKILL');
      await ended;
    });
    await vi.waitFor(async () => expect((await ask(knotPort, 'www.example.org.', 'A', { tcp: true })).rcode).toBe(0), {
      timeout: 15_000,
      interval: 100,
    });
    const port = await serve(`example.org:0 {\n file ${db}\n}`);
    const own = RICH.split('\n').map((line) => line.split(' ')[0] as string);
    const names = [
      ...own,
      '@',
      'ent',
      'b.ent',
      'c.ent',
      'q.wild',
      'p.q.wild',
      'y.x.wild',
      'wild',
      'nope',
      'a.sub',
      'q.tree',
      'x.tree',
      'x.q.tree',
      'a.www',
    ];
    const picture = (message: Message): unknown => ({
      short: short(message),
      aa: message.flags & FLAG.AA,
      denial: message.authority.filter((rr) => rr.type === 6).length,
      referral: (message.flags & FLAG.AA) === 0 ? message.authority.map(rrText).sort() : [],
    });
    for (const label of new Set(names)) {
      // Answers that go round in circles end where each server likes.
      if (label.startsWith('loop')) continue;
      const name = label === '@' ? 'example.org.' : `${label}.example.org.`;
      for (const type of ['A', 'AAAA', 'TXT', 'MX', 'CNAME', 'NS', 'SOA', 'DS', 'SRV']) {
        const [theirs, ours] = await Promise.all([ask(knotPort, name, type, { tcp: true }), ask(port, name, type)]);
        expect(picture(ours), `${name} ${type}`).toEqual(picture(theirs));
      }
    }
  });
});
