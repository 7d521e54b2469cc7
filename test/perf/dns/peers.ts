import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { has } from './load.ts';

const ZONE = 'cluster.local';

/** Another DNS server with the same names. */
export interface Peer {
  readonly name: string;
  readonly command: string;
  /** Writes its configuration and gives the arguments that keep it in the foreground with one thread. */
  setUp(folder: string, port: number, services: number, upstream: number): readonly string[];
  /** Can it forward and remember? */
  readonly forwards: boolean;
}

function records(services: number): string[] {
  const lines: string[] = [];
  for (let i = 0; i < services; i++) {
    const owner = `svc-${i}.ns-${i % 10}.svc.${ZONE}.`;
    lines.push(`${owner} 30 IN A 10.96.${i >> 8}.${i & 255}`);
    lines.push(`_http._tcp.${owner} 30 IN SRV 0 100 80 ${owner}`);
  }
  return lines;
}

function zoneFile(folder: string, services: number): string {
  const file = path.join(folder, 'zone');
  const soa = `${ZONE}. 30 IN SOA ns.dns.${ZONE}. hostmaster.${ZONE}. 1 7200 1800 86400 30`;
  const ns = [`${ZONE}. 30 IN NS ns.dns.${ZONE}.`, `ns.dns.${ZONE}. 30 IN A 127.0.0.1`];
  writeFileSync(file, `${[soa, ...ns, ...records(services)].join('\n')}\n`);
  return file;
}

export const PEERS: readonly Peer[] = [
  {
    name: 'Knot',
    command: 'knotd',
    forwards: false,
    setUp(folder, port, services) {
      const config = path.join(folder, 'knot.conf');
      writeFileSync(
        config,
        `server:
    rundir: "${folder}"
    listen: 127.0.0.1@${port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "${folder}"
zone:
  - domain: ${ZONE}
    file: "${zoneFile(folder, services)}"
    zonefile-sync: -1
    journal-content: none
`,
      );
      return ['-c', config];
    },
  },
  {
    name: 'Unbound',
    command: 'unbound',
    forwards: true,
    setUp(folder, port, services, upstream) {
      const config = path.join(folder, 'unbound.conf');
      writeFileSync(
        config,
        `server:
    interface: 127.0.0.1
    port: ${port}
    num-threads: 1
    username: ""
    chroot: ""
    directory: "${folder}"
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    do-not-query-localhost: no
    module-config: "iterator"
    local-zone: "${ZONE}." static
    local-data: '${ZONE}. 30 IN SOA ns.dns.${ZONE}. hostmaster.${ZONE}. 1 7200 1800 86400 30'
${records(services)
  .map((line) => `    local-data: '${line}'`)
  .join('\n')}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@${upstream}
remote-control:
    control-enable: no
`,
      );
      return ['-d', '-c', config];
    },
  },
  {
    name: 'BIND',
    command: 'named',
    forwards: true,
    setUp(folder, port, services, upstream) {
      const config = path.join(folder, 'named.conf');
      writeFileSync(
        config,
        `options {
    directory "${folder}";
    listen-on port ${port} { 127.0.0.1; };
    listen-on-v6 { none; };
    pid-file none;
    session-keyfile none;
    lock-file none;
    dnssec-validation no;
    recursion yes;
    forwarders { 127.0.0.1 port ${upstream}; };
    forward only;
    allow-query { any; };
};
controls { };
zone "${ZONE}" { type primary; file "${zoneFile(folder, services)}"; };
`,
      );
      return ['-f', '-n', '1', '-c', config];
    },
  },
];

export interface RunningPeer {
  readonly pid: number;
  stop(): void;
}

/** Starts a peer on the first core; undefined when it is not installed. */
export async function startPeer(
  peer: Peer,
  root: string,
  port: number,
  services: number,
  upstream: number,
): Promise<RunningPeer | undefined> {
  if (!has(peer.command)) return undefined;
  const folder = path.join(root, peer.name);
  mkdirSync(folder);
  const args = peer.setUp(folder, port, services, upstream);
  const child: ChildProcess = spawn('taskset', ['-c', '0', peer.command, ...args], { stdio: 'ignore' });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return { pid: child.pid as number, stop: () => void child.kill() };
}
