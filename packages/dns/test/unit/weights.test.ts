import { describe, expect, it } from 'vitest';
import { parseWeights, pick } from '../../src/plugins/loadbalance/weights.ts';
import { keyFromText } from '../../src/wire/index.ts';

describe('weight files', () => {
  it('have weights by name and address', () => {
    const weights = parseWeights(
      '# so\n\nWWW.example.com\n 100.64.1.1 3\n2001:DB8::1\t255\nb.test.\n10.0.0.1 1\n',
      'w',
    );
    expect(Object.fromEntries(weights.get(keyFromText('www.example.com.')) ?? [])).toEqual({
      '100.64.1.1': 3,
      '2001:db8::1': 255,
    });
    expect(weights.size).toBe(2);
  });

  it.each([
    ['10.0.0.1', 'wrong domain name:"10.0.0.1" in weight file w. (Maybe a missing weight value?)'],
    ['a.test\nx 1', 'wrong IP address:"x" in weight file w'],
    ['a.test\n10.0.0.1 0', 'wrong weight value:"0" in weight file w'],
    ['a.test\n10.0.0.1 256', 'wrong weight value:"256" in weight file w'],
    ['10.0.0.1 1', 'missing domain name in weight file w'],
    ['a b c', 'could not parse weight line:"a b c" in weight file w'],
  ])('%j is refused', (text, message) => expect(() => parseWeights(text, 'w')).toThrow(message));

  it('an item is picked as often as it weighs', () => {
    const counts = [0, 0, 0];
    for (let at = 0; at < 6; at++) {
      const index = pick([3, 1, 2], at);
      counts[index] = (counts[index] as number) + 1;
    }
    expect(counts).toEqual([3, 1, 2]);
  });
});
