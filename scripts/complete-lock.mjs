// Completes package-lock.json after a dependency has changed. A registry that does not carry the packages of every
// platform makes npm leave them out, and `npm ci` then refuses the file as out of step, everywhere. The entries added
// here say only which platform a package is for; npm fetches none of them elsewhere.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const OS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const CPU = [
  'arm',
  'arm64',
  'ia32',
  'loong64',
  'loongarch64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'x64',
  'wasm32',
];

const file = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const [where, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${where}/node_modules/${name}`;
    if (nested in lock.packages || `node_modules/${name}` in lock.packages) continue;
    const words = name.split(/[-_/]/);
    const os = words.filter((w) => OS.includes(w)).concat(words.includes('win') ? ['win32'] : []);
    const cpu = words.filter((w) => CPU.includes(w));
    lock.packages[`node_modules/${name}`] = {
      version: version.replace(/^[^\d]*/, ''),
      ...(cpu.length > 0 ? { cpu } : {}),
      ...(words.includes('musl') || words.includes('musleabihf') ? { libc: ['musl'] } : {}),
      ...(entry.dev === true ? { dev: true } : {}),
      optional: true,
      // A package whose name tells no system must not be fetched either.
      os: os.length > 0 ? os : ['none'],
    };
    added += 1;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`);
console.log(`${added} entries added`);
