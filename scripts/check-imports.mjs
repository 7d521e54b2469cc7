// Fails when a package imports from its own floor or a higher one (the floors of docs/architecture.md), or reaches
// into another package's files instead of its public entry.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const FLOOR = {
  net: 0,
  plan: 0,
  kernel: 0,
  kube: 1,
  cni: 2,
  fabric: 2,
  proxy: 2,
  policy: 2,
  dns: 2,
  ingress: 2,
  controllers: 2,
  agent: 3,
  flows: 3,
  apiserver: 4,
  lab: 4,
  doctor: 4,
  cli: 5,
  ui: 5,
};
// `kernel` builds on the pure values of its own floor.
const SAME_FLOOR = new Set(['kernel>net', 'kernel>plan']);

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const problems = [];

function entriesOf(pkg) {
  return JSON.parse(readFileSync(path.join(root, 'packages', pkg, 'package.json'), 'utf8')).exports ?? {};
}

function* sources(dir) {
  for (const name of readdirSync(dir)) {
    const file = path.join(dir, name);
    if (statSync(file).isDirectory()) yield* sources(file);
    else if (/\.m?ts$/.test(name)) yield file;
  }
}

for (const pkg of readdirSync(path.join(root, 'packages'))) {
  if (!(pkg in FLOOR)) {
    problems.push(`packages/${pkg}: not on any floor; add it to scripts/check-imports.mjs and docs/architecture.md`);
    continue;
  }
  const declared =
    JSON.parse(readFileSync(path.join(root, 'packages', pkg, 'package.json'), 'utf8')).dependencies ?? {};
  for (const part of ['src', 'test']) {
    const dir = path.join(root, 'packages', pkg, part);
    try {
      statSync(dir);
    } catch {
      continue;
    }
    for (const file of sources(dir)) {
      const where = path.relative(root, file);
      for (const match of readFileSync(file, 'utf8').matchAll(
        /(?:from|import)\s*\(?\s*'(@weft\/[^']+|(?:\.\.\/)+[^']+)'/g,
      )) {
        const target = match[1];
        if (target.startsWith('.')) {
          const inside = path.resolve(path.dirname(file), target);
          if (!inside.startsWith(path.join(root, 'packages', pkg) + path.sep))
            problems.push(`${where}: ${target} leaves the package; import it by name`);
          continue;
        }
        const [name, ...rest] = target.slice('@weft/'.length).split('/');
        if (name === pkg) continue;
        if (!(name in FLOOR) || !(['.', ...rest].join('/') in entriesOf(name)))
          problems.push(`${where}: ${target} is not a package's public entry`);
        else if (part === 'src' && FLOOR[name] >= FLOOR[pkg] && !SAME_FLOOR.has(`${pkg}>${name}`)) {
          problems.push(`${where}: ${pkg} (floor ${FLOOR[pkg]}) imports ${name} (floor ${FLOOR[name]})`);
        } else if (part === 'src' && !(`@weft/${name}` in declared))
          problems.push(`${where}: ${target} is not in the package's dependencies`);
      }
    }
  }
}

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exitCode = 1;
}
