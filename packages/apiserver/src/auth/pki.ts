import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorMessage, WeftError } from '@weft/plan';

const run = promisify(execFile);
const DAYS = 3650;
const RENEW_BEFORE_MS = 30 * 24 * 3600 * 1000;

/** A certificate and its private key, in PEM. */
export interface KeyedCert {
  readonly cert: string;
  readonly key: string;
}

/**
 * The server's certificate authority and what it signed, kept in one directory: `ca.*`, `server.*`, `admin.*` and
 * `service-account.key`. All keys are EC P-256. The `openssl` program makes the certificates: a library that does costs
 * more start-up time than the rest of the server.
 */
export class Pki {
  readonly directory: string;
  readonly ca: KeyedCert;
  readonly server: KeyedCert;
  /** Client certificate of `system:admin` in `system:masters`. */
  readonly admin: KeyedCert;
  /** Signs service-account tokens. */
  readonly tokenKey: KeyObject;

  private constructor(directory: string, ca: KeyedCert, server: KeyedCert, admin: KeyedCert, tokenKey: KeyObject) {
    this.directory = directory;
    this.ca = ca;
    this.server = server;
    this.admin = admin;
    this.tokenKey = tokenKey;
  }

  /** Loads the directory and makes what is missing, about to expire, or (server) lacks one of `names`. */
  static async open(directory: string, names: readonly string[]): Promise<Pki> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const tokenKey = tokenSigningKey(join(directory, 'service-account.key'));
    let ca = load(directory, 'ca');
    const fresh = ca === undefined;
    ca ??= await issue(directory, 'ca', { commonName: 'weft-ca', groups: [], extensions: CA_EXTENSIONS });
    const san = names.map((name) => `${isIP(name) ? 'IP' : 'DNS'}:${name}`).join(',');
    const [server, admin] = await Promise.all([
      keep(load(directory, 'server'), fresh, (cert) => names.every((name) => covers(cert, name))) ??
        issue(directory, 'server', {
          commonName: 'kube-apiserver',
          groups: [],
          extensions: [...LEAF_EXTENSIONS, 'extendedKeyUsage=serverAuth', `subjectAltName=${san}`],
        }),
      keep(load(directory, 'admin'), fresh, () => true) ??
        issue(directory, 'admin', { ...ADMIN, extensions: CLIENT_EXTENSIONS }),
    ]);
    return new Pki(directory, ca, server, admin, tokenKey);
  }

  /** A new client certificate: `groups` become its organizations, `commonName` the user's name. */
  async issueClient(commonName: string, groups: readonly string[]): Promise<KeyedCert> {
    const directory = mkdtempSync(join(this.directory, 'client-'));
    try {
      return await issue(this.directory, join(directory, 'client'), {
        commonName,
        groups,
        extensions: CLIENT_EXTENSIONS,
      });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

interface Wanted {
  readonly commonName: string;
  readonly groups: readonly string[];
  /** Lines of an OpenSSL extension section. */
  readonly extensions: readonly string[];
}

const ADMIN = { commonName: 'system:admin', groups: ['system:masters'] };
const CA_EXTENSIONS = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign,digitalSignature',
  'subjectKeyIdentifier=hash',
];
const LEAF_EXTENSIONS = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'authorityKeyIdentifier=keyid',
];
const CLIENT_EXTENSIONS = [...LEAF_EXTENSIONS, 'extendedKeyUsage=clientAuth'];

function load(directory: string, name: string): KeyedCert | undefined {
  const cert = join(directory, `${name}.crt`);
  const key = join(directory, `${name}.key`);
  if (!existsSync(cert) || !existsSync(key)) return undefined;
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

function keep(
  pair: KeyedCert | undefined,
  fresh: boolean,
  fits: (cert: X509Certificate) => boolean,
): KeyedCert | undefined {
  if (pair === undefined || fresh) return undefined;
  try {
    const cert = new X509Certificate(pair.cert);
    return Date.parse(cert.validTo) - Date.now() > RENEW_BEFORE_MS && fits(cert) ? pair : undefined;
  } catch {
    return undefined;
  }
}

function covers(cert: X509Certificate, name: string): boolean {
  return (isIP(name) ? cert.checkIP(name) : cert.checkHost(name)) !== undefined;
}

function tokenSigningKey(path: string): KeyObject {
  if (existsSync(path)) return createPrivateKey(readFileSync(path));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeWhole(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return privateKey;
}

/** A torn key file would lock every client out: written aside and renamed. */
function writeWhole(path: string, content: string | Buffer): void {
  writeFileSync(`${path}.tmp`, content, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

/** Makes a key and a certificate: self-signed for `ca`, else signed by the CA in `directory`. */
async function issue(directory: string, name: string, wanted: Wanted): Promise<KeyedCert> {
  const base = name.startsWith('/') ? name : join(directory, name);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  writeWhole(`${base}.key`, key);
  const config = `${base}.cnf`;
  // `prompt = no` needs a section with at least one value; -subj replaces it.
  writeFileSync(
    config,
    `[req]\nprompt=no\nutf8=yes\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\nCN=x\n[ext]\n${wanted.extensions.join('\n')}\n`,
  );
  const subject = [...wanted.groups.map((group) => `/O=${escape(group)}`), `/CN=${escape(wanted.commonName)}`].join('');
  const signer = name === 'ca' ? [] : ['-CA', join(directory, 'ca.crt'), '-CAkey', join(directory, 'ca.key')];
  const out = `${base}.crt.tmp`;
  try {
    await run('openssl', [
      'req',
      '-x509',
      '-new',
      '-sha256',
      '-key',
      `${base}.key`,
      '-config',
      config,
      '-subj',
      subject,
      '-days',
      String(DAYS),
      ...signer,
      '-out',
      out,
    ]);
  } catch (error) {
    const missing = (error as { code?: unknown }).code === 'ENOENT';
    throw new WeftError({
      code: missing ? 'OPENSSL_MISSING' : 'PKI_FAILED',
      message: missing
        ? 'the program openssl was not found; it makes the certificates of the API server'
        : `openssl could not make the certificate ${name}: ${errorMessage(error)}`,
      hint: missing
        ? 'Install the package openssl.'
        : 'Check the directory of the certificates; removing it makes new ones.',
      cause: error,
    });
  } finally {
    rmSync(config, { force: true });
  }
  renameSync(out, `${base}.crt`);
  return { cert: readFileSync(`${base}.crt`, 'utf8'), key };
}

function escape(text: string): string {
  return text.replace(/[\\/+=]/g, '\\$&');
}
