import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Certificates of one CA: `ca.pem`, `cert.pem` and `key.pem` of a server, `client.pem` and `client-key.pem`. */
export interface Certificates {
  readonly folder: string;
  path(name: string): string;
  read(name: string): string;
  remove(): void;
}

/** Makes them in a folder of their own. The server is `localhost`, 127.0.0.1 and ::1, or what `names` says. */
export function makeCertificates(names = 'DNS:localhost,IP:127.0.0.1,IP:::1'): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'weft-dns-tls-'));
  const path = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca-key.pem', '-out', 'ca.pem', '-subj', '/CN=test CA', '-days', '2');
  for (const [name, keyName, extension] of [
    ['cert', 'key', `subjectAltName=${names}`],
    ['client', 'client-key', 'extendedKeyUsage=clientAuth'],
  ] as const) {
    openssl('req', ...key, '-keyout', `${keyName}.pem`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(path(`${name}.ext`), `${extension}\n`);
    const sign = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...sign, '-out', `${name}.pem`, '-extfile', `${name}.ext`);
  }
  return {
    folder,
    path,
    read: (name) => readFileSync(path(name), 'utf8'),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
