import { WeftError } from '@weft/plan';

/** What the flags of the DHCP daemon say; times in milliseconds. */
export interface DhcpFlags {
  readonly socketPath?: string;
  readonly hostPrefix?: string;
  readonly pidFile?: string;
  readonly timeoutMs?: number;
  readonly resendMaxMs?: number;
  readonly resendTimeoutMs?: number;
  readonly broadcast?: boolean;
}

export const DHCP_HELP = `Usage: weft dhcp daemon [flags], or as the plugin's executable: dhcp daemon [flags]

Keeps the leases of the CNI plugin "dhcp", with the flags of the reference plugin's daemon:
  -socketpath PATH    socket that the plugin calls (default /run/cni/dhcp.sock)
  -hostprefix DIR     put before the socket's path and those of network namespaces
  -pidfile FILE       write the process id there; an absolute path
  -timeout TIME       how long one server is asked (default 10s)
  -resendmax TIME     longest pause between two attempts (default 62s)
  -resendtimeout TIME when acquiring is given up (default 3m28s)
  -broadcast          have servers answer by broadcast
Times are written as 500ms, 10s, 1m30s.
`;

const TEXTS = { socketpath: 'socketPath', hostprefix: 'hostPrefix', pidfile: 'pidFile' } as const;
const TIMES = { timeout: 'timeoutMs', resendmax: 'resendMaxMs', resendtimeout: 'resendTimeoutMs' } as const;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function bad(message: string): WeftError {
  return new WeftError({
    code: 'BAD_FLAG',
    message: `weft dhcp daemon: ${message}`,
    hint: 'weft dhcp daemon -help lists the flags',
  });
}

/** A length of time as Go writes it: `500ms`, `10s`, `1m30s`. Milliseconds; undefined when it is none, or not above 0. */
export function parseTime(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const total = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit as string] as number), 0);
  return total > 0 ? total : undefined;
}

/** Reads the flags: one dash or two, the value behind a blank or an equals sign. Undefined: help is asked for. Pure. */
export function parseDhcpFlags(args: readonly string[]): DhcpFlags | undefined {
  const flags: { -readonly [K in keyof DhcpFlags]: DhcpFlags[K] } = {};
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(args[i] as string);
    const name = match?.[1] ?? '';
    const value = (): string => {
      const text = match?.[2] ?? args[++i];
      if (text === undefined) throw bad(`-${name} wants a value`);
      return text;
    };
    if (name === 'h' || name === 'help') return undefined;
    if (name === 'broadcast') flags.broadcast = match?.[2] !== 'false';
    else if (Object.hasOwn(TEXTS, name)) flags[TEXTS[name as keyof typeof TEXTS]] = value();
    else if (Object.hasOwn(TIMES, name)) {
      const text = value();
      const time = parseTime(text);
      if (time === undefined) throw bad(`-${name} ${text}: not a length of time, such as 10s`);
      flags[TIMES[name as keyof typeof TIMES]] = time;
    } else throw bad(`unknown flag ${args[i]}`);
  }
  return flags;
}
