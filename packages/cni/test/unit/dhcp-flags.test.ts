import { describe, expect, it } from 'vitest';
import { parseDhcpFlags, parseTime } from '../../src/dhcp/flags.ts';

describe('flags of the DHCP daemon', () => {
  it('are written as Go reads them', () => {
    const args = ['-socketpath', '/s', '--hostprefix=/host', '-pidfile', '/p', '-timeout=1m30s', '-resendmax', '500ms'];
    expect(parseDhcpFlags([...args, '-resendtimeout', '1.5s', '-broadcast'])).toEqual({
      socketPath: '/s',
      hostPrefix: '/host',
      pidFile: '/p',
      timeoutMs: 90_000,
      resendMaxMs: 500,
      resendTimeoutMs: 1500,
      broadcast: true,
    });
    expect(parseDhcpFlags(['-broadcast=false'])).toEqual({ broadcast: false });
    expect(parseDhcpFlags(['-help'])).toBeUndefined();
  });

  it('are refused by name', () => {
    expect(() => parseDhcpFlags(['-nope'])).toThrow(/unknown flag -nope/);
    expect(() => parseDhcpFlags(['word'])).toThrow(/unknown flag word/);
    expect(() => parseDhcpFlags(['-timeout'])).toThrow(/-timeout wants a value/);
    expect(() => parseDhcpFlags(['-timeout', '10'])).toThrow(/-timeout 10: not a length of time/);
    for (const text of ['', '0s', '-1s', '1d', 's']) expect(parseTime(text)).toBeUndefined();
  });
});
