import { readFileSync } from 'node:fs';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniDns } from '../spec/types.ts';

/** Reads a file like resolv.conf(5) as DNS settings of a result. Throws a CniError when there is no such file. */
export function readResolvConf(path: string): CniDns {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new CniError(CniCode.io, `ipam.resolvConf: ${(error as Error).message}`, undefined, error);
  }
  const nameservers: string[] = [];
  let domain: string | undefined;
  const search: string[] = [];
  const options: string[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    const [key, ...words] = line.split(/\s+/);
    if (words[0] === undefined) continue;
    if (key === 'nameserver') nameservers.push(words[0]);
    else if (key === 'domain') domain = words[0];
    else if (key === 'search') search.push(...words);
    else if (key === 'options') options.push(...words);
  }
  return {
    nameservers,
    ...(domain === undefined ? {} : { domain }),
    ...(search.length === 0 ? {} : { search }),
    ...(options.length === 0 ? {} : { options }),
  };
}
