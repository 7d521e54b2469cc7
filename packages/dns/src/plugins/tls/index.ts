import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import type { Directive } from '../../corefile/directive.ts';
import type { Plugin, SetupContext } from '../../server/plugin.ts';
import type { ServerTls } from '../../server/settings.ts';

const schema = {
  client_auth: option.choice(
    ['nocert', 'request', 'require', 'verify_if_given', 'require_and_verify'],
    'What clients must show: nothing (default), a certificate if they like, any certificate, a certificate of CA if one, or a certificate of CA.',
    (value) => `unknown authentication type '${value}'`,
  ),
  keylog: option.text('FILE', 'Append the secrets of connections to FILE, for those who look into captures.'),
} satisfies OptionSchema;

const ACME = new Set(['acme', 'email', 'ca', 'storage', 'ca_root', 'resolver']);

/** Certificates for `tls://` and `https://` addresses. */
export const tls: Plugin = {
  name: 'tls',
  once: false,
  options: schema,
  setup(directives, context) {
    for (const directive of directives) context.listen.tls = readTls(directive, context);
    return undefined;
  },
};

function readTls(directive: Directive, { path, warn }: SetupContext): ServerTls {
  const acme = directive.block?.find(({ name }) => ACME.has(name.text));
  if (directive.args.length === 0 && (acme !== undefined || directive.block === undefined)) {
    throw parsingError(
      acme?.name ?? directive.name,
      'certificates by ACME are not served',
      'write tls CERT KEY [CA], and let cert-manager or another ACME client keep the files',
    );
  }
  if (directive.args.length < 2 || directive.args.length > 3) throw argumentError(directive.name, 'tls');
  const { client_auth: clientAuth = 'nocert', keylog } = parseOptions(schema, directive.block, warn);
  const read = (file: string, what: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw parsingError(directive.name, `${what}: ${(error as Error).message}`);
    }
  };
  const [cert, key, ca] = directive.args.map(({ text }) => path(text)) as [string, string, string?];
  const context = {
    cert: read(cert, 'could not load TLS cert'),
    key: read(key, 'could not load TLS cert'),
    ...(ca === undefined ? {} : { ca: read(ca, `error reading ${ca}`) }),
  };
  try {
    // Not imported: most servers need no TLS, and it costs memory.
    process.getBuiltinModule('node:tls').createSecureContext(context);
  } catch (error) {
    throw parsingError(directive.name, `could not load TLS cert: ${(error as Error).message}`);
  }
  return { context, clientAuth, keylog: keylog === undefined ? undefined : resolve(path(keylog)) };
}
