import { existsSync } from 'node:fs';
import type { NodeNetwork } from '../wiring/node.ts';
import { differs } from './common/interface.ts';
import { type Finished, programFailed, runProgram } from './common/program.ts';

/** firewalld's own command, which is where firewalld is, and speaks D-Bus for us. */
const PROGRAM = 'firewall-cmd';
const PLACES = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];

/** firewalld of the node: addresses of pods as sources of a zone, as the reference plugin adds them. */
export class Firewalld {
  readonly #node: NodeNetwork;
  readonly #zone: string;

  constructor(node: NodeNetwork, zone: string) {
    this.#node = node;
    this.#zone = zone;
  }

  #run(args: readonly string[]): Promise<Finished> {
    return runProgram(this.#node, { program: PROGRAM, args, debianPackage: 'firewalld' });
  }

  /** Whether it runs. Where it is not installed that costs nothing. */
  async running(): Promise<boolean> {
    if (!PLACES.some((dir) => existsSync(`${dir}/${PROGRAM}`))) return false;
    return (await this.#run(['--state'])).code === 0;
  }

  /** Puts addresses into the zone; they may be in it already. */
  async add(hosts: readonly string[]): Promise<void> {
    if (hosts.length === 0) return;
    const done = await this.#run([`--zone=${this.#zone}`, ...hosts.map((host) => `--add-source=${host}`)]);
    if (done.code !== 0) throw programFailed(`${PROGRAM} --zone=${this.#zone} --add-source`, done);
  }

  /** Takes addresses out, one by one: what is not in the zone, or a firewalld that is away, keeps no pod from going. */
  async remove(hosts: readonly string[]): Promise<void> {
    for (const host of hosts) await this.#run([`--zone=${this.#zone}`, `--remove-source=${host}`]).catch(() => {});
  }

  async check(hosts: readonly string[]): Promise<void> {
    for (const host of hosts) {
      const { code } = await this.#run([`--zone=${this.#zone}`, `--query-source=${host}`]);
      if (code !== 0) throw differs(`${host} is no source of firewalld's zone ${this.#zone}`);
    }
  }
}
