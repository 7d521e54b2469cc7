import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTemplate } from '../../src/plugins/template/language.ts';
import { nameToText, recordFromText, TYPE, typeName } from '../../src/wire/index.ts';

describe('records as text', () => {
  it.each([
    ['a.org. 60 IN A 10.0.0.1', 'A', '0a000001', 60],
    ['a.org IN 60 A 10.0.0.1', 'A', '0a000001', 60],
    ['a.org. A 10.0.0.1', 'A', '0a000001', 3600],
    ['a.org. 1h30m AAAA fd00::1', 'AAAA', 'fd000000000000000000000000000001', 5400],
    ['a.org. 5 CNAME b.', 'CNAME', '016200', 5],
    ['a.org. 5 MX 10 b.', 'MX', '000a016200', 5],
    ['a.org. 5 SRV 1 2 80 b.', 'SRV', '000100020050016200', 5],
    ['a.org. 5 TXT "x y" z', 'TXT', '0378207901' + '7a', 5],
    ['a.org. 5 TXT "a\\"b\\065"', 'TXT', '04' + '61226241', 5],
    ['a.org. 5 CAA 0 issue "ca.org"', 'CAA', '0005697373756563612e6f7267', 5],
    ['a.org. 5 TYPE65280 \\# 2 abcd', 'TYPE65280', 'abcd', 5],
    ['a.org. 5 A 10.0.0.1 ; the first', 'A', '0a000001', 5],
  ])('%s', (text, type, data, ttl) => {
    const rr = recordFromText(text);
    expect([
      nameToText(rr.name as Uint8Array),
      typeName(rr.type),
      Buffer.from(rr.rdata).toString('hex'),
      rr.ttl,
    ]).toEqual(['a.org.', type, data, ttl]);
  });

  it.each([
    ['', 'empty record'],
    ['a.org.', 'no type of record'],
    ['a.org. 5 IN', 'no type of record'],
    ['a.org. A fd00::1', 'no address of the type'],
    ['a.org. A', 'too few fields'],
    ['a.org. A 10.0.0.1 10.0.0.2', 'too many fields'],
    ['a.org. MX x b.', 'is no number up to 65535'],
    ['a..org. A 10.0.0.1', 'is no domain name'],
    ['a.org. TYPE65280 xyz', 'can only be given as'],
    ['a.org. TYPE65280 \\# 3 abcd', 'length and data differ'],
  ])('%j is refused', (text, message) => expect(() => recordFromText(text)).toThrow(message));

  it('never breaks, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          expect(recordFromText(`a.org. ${text}`).type).toBeGreaterThan(0);
        } catch (error) {
          expect((error as Error).name).toBe('RecordTextError');
        }
      }),
    );
  });

  it('splits long texts', () => {
    expect(recordFromText(`a. TXT ${'x'.repeat(300)}`).rdata.length).toBe(302);
    expect(TYPE.TXT).toBe(16);
  });
});

describe('templates', () => {
  const data = {
    Name: 'a.org.',
    Match: ['x', 'y'],
    Group: new Map([['k', 'v']]),
    N: 3,
    Empty: '',
    List: ['p', 'q'],
    Meta: (key: string) => `<${key}>`,
  };
  it.each([
    ['plain', 'plain'],
    ['{{ .Name }}', 'a.org.'],
    ['{{.Group.k}}{{.Group.none}}', 'v'],
    ['{{ index .Match 1 }}', 'y'],
    ['{{ .Name | printf "%s!" }}', 'a.org.!'],
    ['{{ printf "%03d-%x" .N .N }}', '003-3'],
    ['{{ if .Empty }}a{{ else if eq .N 3 }}b{{ else }}c{{ end }}', 'b'],
    ['{{ range .List }}[{{ . }}{{ $.N }}]{{ end }}', '[p3][q3]'],
    ['{{ range .Empty }}x{{ else }}none{{ end }}', 'none'],
    ['{{ with .Group }}{{ .k }}{{ end }}', 'v'],
    ['{{ $x := .Name }}{{ $x }}', 'a.org.'],
    ['a {{- /* nothing */ -}} b{{- " c" }}', 'ab c'],
    ['{{ (index .Match 0) | len }}', '1'],
    ['{{ and .Name .Empty }}{{ or .Empty "z" }}{{ not .Empty }}', 'ztrue'],
    ['{{ .Meta "kubernetes/ns" }}', '<kubernetes/ns>'],
    ['{{ parseInt "ff" 16 8 }}', '255'],
  ])('%s', (text, expected) => expect(readTemplate(text)(data)).toBe(expected));

  it.each(['{{ .Name', '{{ if .Name }}', '{{ end }}', '{{ }}', '{{ .Name | }}', '{{ (.Name }}', '{{ unknown }}'])(
    '%s is refused',
    (text) => {
      expect(() => readTemplate(text)).toThrow();
    },
  );

  it('says what a value lacks', () => {
    expect(() => readTemplate('{{ .None }}')(data)).toThrow("can't evaluate field None");
    expect(() => readTemplate('{{ index .Match 9 }}')(data)).toThrow('out of range');
    expect(() => readTemplate('{{ $y }}')(data)).toThrow('undefined variable');
    expect(() => readTemplate('{{ parseInt "x" 10 8 }}')(data)).toThrow('ParseUint');
  });
});
