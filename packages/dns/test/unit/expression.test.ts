import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileExpression } from '../../src/expression/evaluate.ts';
import { queryEnvironment } from '../../src/expression/query.ts';
import { packetContext, Request } from '../../src/server/request.ts';
import { isRejected, parseQuery } from '../../src/wire/index.ts';
import { question } from '../support/dig.ts';

function request(name = 'Web.example.com', client = '192.168.1.7'): Request {
  const query = parseQuery(question(name, 'A', { edns: { udpSize: 1232, flags: 0x8000 } }));
  if (isRejected(query)) throw new Error('not a query');
  const made = new Request(query, packetContext('udp', client, 5353));
  made.bound = { address: '::', port: 53 };
  made.metadata = new Map([['kubernetes/namespace', () => 'default']]);
  return made;
}

function run(text: string, about = request()): unknown {
  const environment = queryEnvironment(about);
  return compileExpression(text, environment)(environment);
}

describe('expressions', () => {
  it.each<[string, unknown]>([
    ["type() == 'A' && name() == 'web.example.com.'", true],
    ["(type() == 'AAAA') || client_ip() == '192.168.1.7'", true],
    ["type() in ['A', 'AAAA']", true],
    ["type() not in ['MX']", true],
    ["name() matches '^web\\\\..*\\\\.com\\\\.$'", true],
    ["name() matches '(?i)^WEB'", true],
    ["name() not matches 'z'", true],
    ["name() startsWith 'web.' and name() endsWith `com.` and name() contains 'example'", true],
    ["incidr(client_ip(), '192.168.0.0/16')", true],
    ["incidr(client_ip(), '2001:db8::/32')", false],
    ["incidr('10.1.2.3', '10.1.2.3/8')", true],
    ['port()', '5353'],
    ['proto()', 'udp'],
    ['class()', 'IN'],
    ['do()', true],
    ['bufsize()', 1232],
    ['id()', 4711],
    ['opcode()', 0],
    ['size()', 12 + 17 + 4 + 11],
    ['server_ip() + server_port()', '::53'],
    ["metadata('kubernetes/namespace')", 'default'],
    ["metadata('no/such')", ''],
    ['1 + 2 * 3 ** 2', 19],
    ['2 ** 3 ** 2', 512],
    ['-2 ** 2', -4],
    ['10 % 4 - 7', -5],
    ['0x10 + 1_000', 1016],
    ['.5 + 1e1', 10.5],
    ['not true or true', true],
    ['!(1 < 2)', false],
    ['true ? 1 : 2', 1],
    ['nil ?? 3', 3],
    ['[1, 2, 3][-1]', 3],
    ['[1, 2, 3][1:]', [2, 3]],
    ["{a: 1, 'b': 2}.b", 2],
    ["'a' in {a: 1}", true],
    ['2 in 1..3', true],
    ['len(1..10)', 10],
    ["any(['a', 'b'], # == 'b')", true],
    ["all(['a', 'b'], {# != 'c'})", true],
    ["filter(split('a.b.c', '.'), # != 'b')", ['a', 'c']],
    ["name() | split('.') | len()", 4],
    ['let n = name(); n == lower(n)', true],
    ["trimSuffix(name(), '.') | upper()", 'WEB.EXAMPLE.COM'],
    ['"a\\n\\x41\\u0042" == "a\\nAB"', true],
    ['nil?.a', undefined],
    ['1 == 1 /* so */ // it is', true],
    ['[1] == [1]', true],
  ])('%s', (text, value) => expect(run(text)).toEqual(value));

  it.each([
    ['', 'unexpected token "end of expression" (1:1)'],
    ['nosuch() == 1', 'unknown name nosuch'],
    ['nosuch', 'unknown name nosuch (1:1)'],
    ['type', 'unknown name type (1:1)'],
    ["type('A')", 'wrong number of arguments to call type: 1'],
    ['1 +', 'unexpected token "end of expression" (1:4)'],
    ['(1', 'unexpected token "end of expression" (1:3)'],
    ["'open", 'unrecognized character: "\'" (1:1)'],
    ["name() matches '('", 'error parsing regexp'],
    ['1 2', 'unexpected token "2" (1:3)'],
    ['#', 'unexpected token "#" (1:1)'],
    ['let len = 1; 2', 'cannot redeclare len'],
    ['('.repeat(300), 'nested too deeply'],
  ])('%s is not read', (text, message) => {
    expect(() => compileExpression(text, queryEnvironment())).toThrow(message);
  });

  it.each([
    ["1 == 1 && 'x'", 'mismatched types'],
    ["1 < 'a'", 'mismatched types'],
    ['[1][3]', 'index out of range'],
    ["incidr('x', '10.0.0.0/8')", 'first argument is not an IP address'],
    ["incidr('10.0.0.1', 'x')", 'invalid CIDR address: x'],
    ['nil.a', 'cannot fetch "a" from nil'],
    ['len(1..1000000)', 'the range is too long'],
  ])('%s cannot be carried out', (text, message) => expect(() => run(text)).toThrow(message));

  it('reads or refuses any text, and throws nothing else', () => {
    const words = fc.constantFrom(
      'name()',
      "'a'",
      '1',
      '(',
      ')',
      '[',
      ']',
      '{',
      '}',
      ':',
      '?',
      '.',
      ',',
      '==',
      'in',
      'not',
      'let',
      '#',
      'any(',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((list) => list.join(' ')),
        ),
        (text) => {
          try {
            run(text);
          } catch (error) {
            expect((error as Error).name).toBe('ExpressionError');
          }
        },
      ),
    );
  });
});
