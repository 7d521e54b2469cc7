import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkCorefile, defaultCorefile } from '../../src/index.ts';
import { directivesOf } from '../../src/corefile/directive.ts';
import { tokenize } from '../../src/corefile/lexer.ts';
import { parseDuration } from '../../src/corefile/options.ts';
import { type ImportSource, parseCorefile } from '../../src/corefile/parser.ts';
import { addressesFromKey } from '../../src/corefile/zones.ts';
import { isDirective, PLUGINS } from '../../src/plugins/index.ts';

const words = (text: string): string[] => tokenize(text, 'Corefile').map((token) => token.text);

function files(table: Record<string, string>): ImportSource {
  return {
    read: (path) => {
      const text = table[path];
      if (text === undefined) throw Object.assign(new Error(`ENOENT ${path}`), { code: 'ENOENT' });
      return text;
    },
    resolve: (path) => path,
    glob: (pattern) => {
      const [before, after] = pattern.split('*') as [string, string];
      return Object.keys(table).filter((path) => path.startsWith(before) && path.endsWith(after));
    },
  };
}

/** `keys -> directive(args){property args; …}` */
function outline(text: string, options: { env?: Record<string, string>; imports?: ImportSource } = {}): string[] {
  return parseCorefile(text, 'Corefile', { isDirective, ...options }).map((block) => {
    const directives = [...block.directives.values()].flatMap((tokens) =>
      directivesOf(tokens).map((directive) => {
        const args = [directive.name, ...directive.args].map((token) => token.text).join(' ');
        const lines = directive.block?.map((line) => [line.name, ...line.args].map((token) => token.text).join(' '));
        return lines === undefined ? args : `${args} {${lines.join('; ')}}`;
      }),
    );
    return `${block.keys.map((key) => key.text).join(',')} -> ${directives.join(' | ')}`;
  });
}

describe('tokenize', () => {
  it.each([
    ['a b', ['a', 'b']],
    ['a "b c" d', ['a', 'b c', 'd']],
    ['"a \\"b\\" \\n"', ['a "b" \\n']],
    ['a"b c', ['a"b', 'c']],
    ['# all\nb', ['b']],
    ['a # b\nc', ['a', 'c']],
    // A comment glued to a word ends at the next blank, as in CoreDNS.
    ['foo#bar baz', ['foo', 'baz']],
    ['\uFEFFa\r\nb', ['a', 'b']],
    ['""', ['']],
    ['', []],
  ])('%j', (text, expected) => {
    expect(words(text)).toEqual(expected);
  });

  it('counts lines, those inside quotes too', () => {
    expect(tokenize('a\n"b\nc" d', 'x').map(({ line, endLine }) => [line, endLine])).toEqual([
      [1, 1],
      [2, 3],
      [3, 3],
    ]);
  });
});

describe('parseCorefile', () => {
  it.each([
    ['. {\n errors\n log\n}', ['. -> errors | log']],
    ['.:53\n{\n errors\n}', ['.:53 -> errors']],
    ['a.org,\nb.org c.org {\n whoami\n}', ['a.org,b.org,c.org -> whoami']],
    ['. \nwhoami\nlog', ['. -> whoami | log']],
    ['. {\n cache 30 {\n  success 10\n  prefetch 1\n }\n}', ['. -> cache 30 {success 10; prefetch 1}']],
    ['. {\n kubernetes a { }\n}', ['. -> kubernetes a {}']],
    ['a {\n errors\n}\nb {\n log\n}', ['a -> errors', 'b -> log']],
    ['a {\n errors\n}\n}', ['a -> errors', '} -> ']],
    ['. {\n forward . 1.1.1.1\n forward b 2.2.2.2\n}', ['. -> forward . 1.1.1.1 | forward b 2.2.2.2']],
    ['(s) {\n errors\n log\n}\n. {\n import s\n whoami\n}', ['. -> errors | log | whoami']],
    ['(s) {\n success 10\n}\n. {\n cache {\n  import s\n  prefetch 2\n }\n}', ['. -> cache {success 10; prefetch 2}']],
    ['', []],
    ['# nothing\n', []],
  ])('%j', (text, expected) => {
    expect(outline(text)).toEqual(expected);
  });

  it('fills in variables, unset ones as nothing', () => {
    const text = '.:{$PORT} {\n forward . {%UP%} {$NONE}\n}';
    expect(outline(text, { env: { PORT: '5353', UP: '9.9.9.9' } })).toEqual(['.:5353 -> forward . 9.9.9.9 ']);
  });

  it('imports files and globs', () => {
    const imports = files({ 'a.override': 'log\n', 'b.override': 'errors', 'x.server': 'x.org {\n whoami\n}' });
    expect(outline('. {\n import *.override\n whoami\n}\nimport *.server', { imports })).toEqual([
      '. -> log | errors | whoami',
      'x.org -> whoami',
    ]);
  });

  it('accepts a glob that matches nothing and warns', () => {
    const warned: string[] = [];
    const warn = (_: unknown, message: string): void => void warned.push(message);
    parseCorefile('. {\n import *.none\n whoami\n}', 'Corefile', { isDirective, imports: files({}), warn });
    expect(warned).toEqual(['No files matching import glob pattern: *.none']);
  });

  it.each([
    ['. {\n bogus\n}', "Corefile:2 - Error during parsing: Unknown directive 'bogus'"],
    ['. {\n Errors\n}', "Corefile:2 - Error during parsing: Unknown directive 'Errors'"],
    ['. {\n errors', "Corefile:2 - Syntax error: Unexpected token 'errors', expecting '}'"],
    ['. {\n errors {\n', 'Corefile:2 - Error during parsing: Unexpected EOF'],
    ['a,\n', 'Corefile:1 - Error during parsing: Unexpected EOF'],
    ['a, {\n}', "Corefile:1 - Error during parsing: Expected another address but had '{' - check for extra comma"],
    [
      '(s) {\n log\n}\n(s) {\n log\n}',
      'Corefile:4 - Error during parsing: redeclaration of previously declared snippet s',
    ],
    ['import nowhere', 'Corefile:1 - Error during parsing: File to import not found: nowhere'],
    [
      '. {\n import\n}',
      "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'",
    ],
    ['. {\n import a b\n}', 'Corefile:2 - Error during parsing: Import takes only one argument (glob pattern or file)'],
    [
      '. {\n import a*b*c\n}',
      'Corefile:2 - Error during parsing: Glob pattern may only contain one wildcard (*), but has others: a*b*c',
    ],
    ['(a) {\n import a\n}\n. {\n import a\n}', 'Corefile:2 - Error during parsing: Too many snippet imports'],
  ])('%j is wrong', (text, message) => {
    expect(() => parseCorefile(text, 'Corefile', { isDirective, imports: files({}) })).toThrow(message);
  });

  it('names the imported file in errors', () => {
    const imports = files({ '/etc/x': '\nbogus' });
    expect(() => parseCorefile('. {\n import /etc/x\n}', 'Corefile', { isDirective, imports })).toThrow(
      "/etc/x:2 - Error during parsing: Unknown directive 'bogus'",
    );
  });
});

describe('keys', () => {
  const zones = (text: string): string[] =>
    addressesFromKey({ text, file: 'Corefile', line: 1, endLine: 1 }).map(
      ({ transport, zone, port }) => `${transport}://${zone}:${port}`,
    );

  it.each([
    ['.', ['dns://.:53']],
    ['Example.ORG:5353', ['dns://example.org.:5353']],
    ['dns://a.org', ['dns://a.org.:53']],
    ['tls://a.org', ['tls://a.org.:853']],
    ['10.0.0.0/8', ['dns://10.in-addr.arpa.:53']],
    ['10.244.1.0/24:54', ['dns://1.244.10.in-addr.arpa.:54']],
    ['10.96.0.0/15', ['dns://96.10.in-addr.arpa.:53', 'dns://97.10.in-addr.arpa.:53']],
    ['2001:db8::/32', ['dns://8.b.d.0.1.0.0.2.ip6.arpa.:53']],
  ])('%s', (text, expected) => {
    expect(zones(text)).toEqual(expected);
  });

  it('expands a /25 to 128 zones', () => {
    expect(zones('10.0.0.0/25')).toHaveLength(128);
  });
});

describe('parseDuration', () => {
  it.each([
    ['5s', 5],
    ['1m30s', 90],
    ['500ms', 0.5],
    ['0', 0],
    ['1.5h', 5400],
    ['5', undefined],
    ['abc', undefined],
  ])('%s', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });
});

/** The Corefile of the article that users start from, its double `pods` included. */
const SEED = `.:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        endpoint https://kubernetes.default.svc:443
        pods verified
    }
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 30
    loop
    reload
    loadbalance
}
`;

describe('checkCorefile', () => {
  const check = (text: string): string[] =>
    checkCorefile(text, 'Corefile', { env: {}, imports: files({}) }).map(
      ({ severity, file, line, message }) => `${severity} ${file}:${line} ${message}`,
    );
  const inBlock = (lines: string): string => `.:5399 {\n${lines}\n}\n`;
  const kubernetes = (lines: string): string => inBlock(`kubernetes cluster.local {\n${lines}\n}`);

  it('accepts the default', () => {
    expect(check(defaultCorefile({ upstream: '9.9.9.9' }))).toEqual([]);
  });

  it('accepts the article, and says that of two `pods` the last counts', () => {
    expect(check(SEED.replace('/etc/resolv.conf', '9.9.9.9'))).toEqual([
      "warning Corefile:7 plugin/kubernetes: 'pods' is given again: the last one counts",
      'warning Corefile:7 plugin/kubernetes: pods verified keeps every pod of the cluster in memory',
      'warning Corefile:12 plugin/cache: CoreDNS would answer names of cluster.local from memory after they have changed; here they are never remembered',
    ]);
  });

  it('warns of a server that asks itself, and of no other', () => {
    expect(check('.:5399 {\n forward . 127.0.0.1:5399 10.0.0.1:5399 127.0.0.1 [::1]:5399\n}\n')).toEqual([
      'warning Corefile:2 plugin/forward: 127.0.0.1:5399 is this server itself: queries go round',
      'warning Corefile:2 plugin/forward: [::1]:5399 is this server itself: queries go round',
    ]);
  });

  it('does not warn of a cache that leaves the cluster out', () => {
    const lines = (more: string): string => inBlock(`kubernetes cluster.local\ncache {\n${more}\n}`);
    expect(check(lines('disable success cluster.local\ndisable denial'))).toEqual([]);
    expect(check(lines('disable success cluster.local'))).toHaveLength(1);
  });

  it('warns of a stray brace', () => {
    expect(check('. {\n whoami\n}\n}\n')).toEqual([
      "warning Corefile:4 '}' is read as the name of a zone: a brace too many",
      'warning Corefile:4 a block without plugins refuses every query',
    ]);
  });

  const parsing = (line: number, plugin: string, message: string): string =>
    `error Corefile:${line} plugin/${plugin}: Corefile:${line} - Error during parsing: ${message}`;

  it.each([
    [
      kubernetes('apiserver_qps x'),
      'error Corefile:3 plugin/kubernetes: Corefile:3 - Error during parsing: invalid apiserver_qps "x": invalid syntax',
    ],
    [
      kubernetes('apiserver_burst 1.5'),
      'error Corefile:3 plugin/kubernetes: Corefile:3 - Error during parsing: invalid apiserver_burst "1.5": invalid syntax',
    ],
    [
      kubernetes('apiserver_max_inflight -1'),
      'error Corefile:3 plugin/kubernetes: Corefile:3 - Error during parsing: apiserver_max_inflight must be >= 0',
    ],
    [
      kubernetes('labels a>1'),
      `error Corefile:3 plugin/kubernetes: Corefile:3 - Error during parsing: unable to parse label selector value: 'a>1': "Gt" isn't supported in label selectors`,
    ],
    [kubernetes('labels ,'), expect.stringContaining("unable to parse label selector value: ',': ") as string],
    [
      kubernetes('tls a b'),
      "error Corefile:3 plugin/kubernetes: Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'b'",
    ],
    [kubernetes('bogus'), parsing(3, 'kubernetes', "unknown property 'bogus'")],
    [kubernetes('upstream'), parsing(3, 'kubernetes', "unknown property 'upstream'")],
    [kubernetes('resyncperiod 5m'), parsing(3, 'kubernetes', "unknown property 'resyncperiod'")],
    [
      kubernetes('pods sometimes'),
      parsing(3, 'kubernetes', 'wrong value for pods: sometimes,  must be one of: disabled, verified, insecure'),
    ],
    [kubernetes('ttl 3601'), parsing(3, 'kubernetes', 'ttl must be in range [0, 3600]: 3601')],
    [kubernetes('ttl'), parsing(3, 'kubernetes', "Wrong argument count or unexpected line ending after 'ttl'")],
    [
      kubernetes('namespaces a\nnamespace_labels b=c'),
      parsing(2, 'kubernetes', 'namespaces and namespace_labels cannot both be set'),
    ],
    [inBlock('kubernetes in-addr.arpa'), parsing(2, 'kubernetes', 'non-reverse zone name must be used')],
    [
      inBlock('kubernetes a.org\nkubernetes b.org'),
      parsing(3, 'kubernetes', 'this plugin can only be used once per Server Block'),
    ],
    [inBlock('errors\nerrors'), parsing(3, 'errors', 'this plugin can only be used once per Server Block')],
    [inBlock('cache 0'), parsing(2, 'cache', 'cache TTL can not be zero or negative: 0')],
    [
      inBlock('cache 30 {\nservfail 6m\n}'),
      parsing(3, 'cache', 'caching SERVFAIL responses over 5 minutes is not permitted'),
    ],
    [inBlock('reload 1s'), parsing(2, 'reload', 'interval value must be greater or equal to 2s')],
    [inBlock('forward .'), parsing(2, 'forward', "Wrong argument count or unexpected line ending after '.'")],
    [inBlock('forward . 1.1.1.1 {\npolicy best\n}'), parsing(3, 'forward', "unknown policy 'best'")],
    [inBlock('forward . /no/such/file'), parsing(2, 'forward', 'not an IP address or file: "/no/such/file"')],
    [
      inBlock(`forward . ${Array.from({ length: 16 }, (_, i) => `10.0.0.${i}`).join(' ')}`),
      parsing(2, 'forward', 'more than 15 TOs configured: 16'),
    ],
    [inBlock('health {\nlameduck soon\n}'), parsing(3, 'health', 'time: invalid duration "soon"')],
    [inBlock('loop x'), parsing(2, 'loop', "Wrong argument count or unexpected line ending after 'x'")],
    [
      inBlock('route53 a'),
      "error Corefile:2 Corefile:2 - Error during parsing: plugin 'route53' is not served: it reads the API of one cloud provider, which a cluster DNS server does not need",
    ],
    ['.:5399 .:5399 {\nwhoami\n}', 'error Corefile:1 cannot serve dns://.:5399 - it is already defined'],
    ['a:5399 {\nwhoami\n}\na:5399 {\nwhoami\n}', 'error Corefile:4 cannot serve dns://a.:5399 - it is already defined'],
    ['.:{$UNSET} {\nwhoami\n}', 'error Corefile:1 expecting data after last colon: ".:"'],
    ['.:99999 {\nwhoami\n}', 'error Corefile:1 listen: address 99999: invalid port'],
    ['kubernetes: { a }', "error Corefile:1 Corefile:1 - Error during parsing: Unknown directive 'a'"],
  ])('%j', (text, expected) => {
    expect(check(text)).toEqual([expected]);
  });

  it.each([
    ['forward a 1.1.1.1\nforward b 1.1.1.1'],
    ['log\nlog'],
    ['health\nhealth'],
    ['reload\nreload'],
    ['loadbalance\nloadbalance'],
    ['kubernetes cluster.local {\nfallthrough a\nfallthrough b\n}'],
    ['kubernetes cluster.local {\nnamespaces a\nnamespaces b c\n}'],
  ])('accepts twice: %j', (lines) => {
    expect(check(inBlock(lines)).filter((line) => line.startsWith('error'))).toEqual([]);
  });

  const piece = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '\n',
      ' ',
      '"',
      '#',
      ',',
      'import x',
      '(s)',
      'import s',
      '{$A}',
      '{%A%}',
      '.',
      'a.org:53',
      '10.0.0.0/9',
    ),
    fc.constantFrom(
      ...PLUGINS.keys(),
      'pods verified',
      'ttl 5',
      'fallthrough',
      'success 1',
      'policy random',
      '1.1.1.1',
      '5s',
    ),
    fc.string({ maxLength: 6 }),
  );

  it('says what is wrong with any text, and throws at none', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        for (const { line, message } of checkCorefile(pieces.join(' '), 'Corefile', { env: {}, imports: files({}) })) {
          expect(line).toBeGreaterThan(0);
          expect(message).not.toBe('');
        }
      }),
      { numRuns: 1000 },
    );
  });
});
