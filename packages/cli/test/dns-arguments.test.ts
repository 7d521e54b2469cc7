import { describe, expect, it } from 'vitest';
import { parseDnsArguments } from '../src/dns/arguments.ts';

describe('the command line of weft dns', () => {
  it.each<[string, object]>([
    ['', { conf: undefined, port: undefined, quiet: false, check: false, plugins: false, version: false }],
    ['-conf C -dns.port 1053 -quiet -pidfile /p', { conf: 'C', port: 1053, quiet: true, pidfile: '/p' }],
    ['--conf=stdin -p=53 --check -o json', { conf: 'stdin', port: 53, check: true, json: true }],
    ['-plugins=false -version=true', { plugins: false, version: true }],
    ['-inspect :1 -in-kernel eth0', { inspect: ':1', inKernel: 'eth0' }],
    ['-conf a=b', { conf: 'a=b' }],
    ['-h', { help: true }],
  ])('%j', (line, expected) => {
    expect(parseDnsArguments(line.split(' ').filter(Boolean))).toMatchObject(expected);
  });

  it.each([
    ['serve', 'extra command line arguments: [serve]'],
    ['-conf C what else', 'extra command line arguments: [what else]'],
    ['-conf', 'flag needs an argument: -conf'],
    ['-nosuch', 'flag provided but not defined: -nosuch'],
    ['-quiet=perhaps', 'invalid boolean value "perhaps" for -quiet: parse error'],
    ['-p dns', '-dns.port dns: not a port'],
    ['-p 65536', '-dns.port 65536: not a port'],
    ['-o yaml', '-o: the one format is json'],
  ])('%s is refused', (line, message) => {
    expect(() => parseDnsArguments(line.split(' '))).toThrow(`weft dns: ${message}`);
  });
});
