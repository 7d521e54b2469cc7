import { WeftError } from '@weft/plan';

/** The command line of `weft dns`: CoreDNS's flags, and Weft's own. */
export interface DnsArguments {
  /** A file, or `stdin`. Undefined for `Corefile` of the working directory, if it is there. */
  readonly conf: string | undefined;
  /** Port of blocks that name none. */
  readonly port: number | undefined;
  readonly pidfile: string | undefined;
  readonly plugins: boolean;
  readonly version: boolean;
  readonly quiet: boolean;
  readonly help: boolean;
  readonly check: boolean;
  readonly json: boolean;
  readonly inspect: string | undefined;
  readonly inKernel: string | undefined;
}

const TEXTS = { conf: 'conf', 'dns.port': 'port', p: 'port', pidfile: 'pidfile', inspect: 'inspect' } as const;
const FLAGS = {
  plugins: 'plugins',
  version: 'version',
  quiet: 'quiet',
  check: 'check',
  h: 'help',
  help: 'help',
} as const;

export const USAGE = `Usage of weft dns:
  -check
        Read the Corefile, tell what is wrong or hardly meant, and end
  -conf FILE
        Corefile to load, or stdin (default "Corefile")
  -dns.port PORT, -p PORT
        Default port (default "53")
  -in-kernel LINK[,native]
        Answer what needs no plugins in the kernel, where queries come in
  -inspect ADDRESS
        Where weft dns query and weft dns top may ask
  -node-local
        A cache on the node, with the flags of node-cache
  -o json
        Write the output of -check and -plugins as JSON
  -pidfile FILE
        Path to write pid file
  -plugins
        List installed plugins
  -quiet
        Quiet mode (no initialization output)
  -version
        Show version
`;

function bad(message: string): WeftError {
  return new WeftError({ code: 'BAD_FLAG', message: `weft dns: ${message}`, hint: 'weft dns -help lists the flags' });
}

/** Reads flags as Go's flag package does: one dash or two, the value behind a blank or an equals sign. @throws WeftError. */
export function parseDnsArguments(args: readonly string[]): DnsArguments {
  const texts: { -readonly [K in 'conf' | 'port' | 'pidfile' | 'inspect' | 'inKernel']?: string } = {};
  const flags = { plugins: false, version: false, quiet: false, help: false, check: false };
  let json = false;
  for (let i = 0; i < args.length; i++) {
    const word = args[i] as string;
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word);
    if (match === null) throw bad(`extra command line arguments: [${args.slice(i).join(' ')}]`);
    const [, name = '', inline] = match;
    const value = (): string => {
      const given = inline ?? args[++i];
      if (given === undefined) throw bad(`flag needs an argument: -${name}`);
      return given;
    };
    if (name === 'o') {
      if (value() !== 'json') throw bad('-o: the one format is json');
      json = true;
    } else if (name === 'in-kernel') texts.inKernel = value();
    else if (name in TEXTS) texts[TEXTS[name as keyof typeof TEXTS]] = value();
    else if (name in FLAGS) flags[FLAGS[name as keyof typeof FLAGS]] = truth(name, inline);
    else throw bad(`flag provided but not defined: -${name}`);
  }
  return {
    conf: texts.conf === '' ? undefined : texts.conf,
    port: texts.port === undefined ? undefined : portOf(texts.port),
    pidfile: texts.pidfile,
    ...flags,
    json,
    inspect: texts.inspect,
    inKernel: texts.inKernel,
  };
}

function truth(name: string, inline: string | undefined): boolean {
  if (inline === undefined || /^(1|t|T|true|TRUE|True)$/.test(inline)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(inline)) return false;
  throw bad(`invalid boolean value "${inline}" for -${name}: parse error`);
}

function portOf(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65535)) throw bad(`-dns.port ${text}: not a port`);
  return port;
}
