import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { addTuntap, type NetNs, type TuntapSpec } from '@weft/kernel';
import { checkKnownArgs } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { booleanField, stringField } from '../spec/json.ts';
import type { PluginRequest } from '../spec/types.ts';
import { intField, invalid, mtuField, wantedMac } from './common/conf.ts';
import { differs } from './common/interface.ts';
import type { Sandbox } from './common/sandbox.ts';
import { singleInterface } from './common/single.ts';

const IDS = { min: 0, max: 0xfffffffe } as const;

/** A device that a program, such as a virtual machine's monitor, reads frames from. */
export const tap = singleInterface({
  name: 'tap',
  kind: 'tun',
  ipam: 'optional',
  notify: ['arp'],
  async create(_node, sandbox, request) {
    checkKnownArgs(request.args, ['MAC', 'IP', 'GATEWAY']);
    const [mtu, mac] = [mtuField(request.config), wantedMac(request)];
    const bridge = stringField(request.config, 'bridge');
    const spec = readSpec(request);
    make(spec, stringField(request.config, 'selinuxContext'), sandbox.ns);
    try {
      const master = bridge ? await bridgeIndex(sandbox, bridge) : undefined;
      await sandbox.rtnl.links.set(spec.name, {
        ...(mtu === undefined ? {} : { mtu }),
        ...(mac === undefined ? {} : { mac }),
        ...(master === undefined ? {} : { master }),
      });
    } catch (error) {
      await sandbox.rtnl.links.del(spec.name, { missingOk: true });
      throw error;
    }
  },
  async check(_node, sandbox, request, link) {
    const bridge = stringField(request.config, 'bridge');
    if (bridge && link.master !== (await bridgeIndex(sandbox, bridge))) {
      throw differs(`${link.name} is no port of the bridge ${bridge}`);
    }
    const { owner, group } = readSpec(request);
    for (const [what, wanted, found] of [
      ['owner', owner, link.tun?.owner],
      ['group', group, link.tun?.group],
    ] as const) {
      if (wanted !== found) throw differs(`${what} of ${link.name} is ${found ?? 'nobody'}, not ${wanted ?? 'nobody'}`);
    }
  },
});

function readSpec(request: PluginRequest): TuntapSpec {
  const { config } = request;
  const [owner, group] = [intField(config, 'owner', IDS), intField(config, 'group', IDS)];
  return {
    name: request.ifname,
    mode: 'tap',
    ...(booleanField(config, 'multiQueue') === true ? { multiQueue: true } : {}),
    ...(owner === undefined ? {} : { owner }),
    ...(group === undefined ? {} : { group }),
    // The reference makes those with an owner and a group by another way than the rest.
    ...(owner === undefined || group === undefined ? {} : { vnetHdr: true }),
  };
}

async function bridgeIndex(sandbox: Sandbox, name: string): Promise<number> {
  const bridge = await sandbox.rtnl.links.get(name);
  if (bridge?.kind === 'bridge') return bridge.index;
  throw invalid(`bridge: there is no bridge ${name} in the sandbox`);
}

function make(spec: TuntapSpec, label: string | undefined, ns: NetNs): void {
  if (label && existsSync('/sys/fs/selinux/enforce')) makeLabelled(spec, label, ns);
  else addTuntap(spec, ns);
}

/** The kernel labels a device as the process that makes it, so another process must make it (setexeccon(3)). */
function makeLabelled(spec: TuntapSpec, label: string, ns: NetNs): void {
  const args = ['tuntap', 'add', 'mode', 'tap', 'name', spec.name];
  if (spec.multiQueue === true) args.push('multi_queue');
  if (spec.owner !== undefined) args.push('user', String(spec.owner));
  if (spec.group !== undefined) args.push('group', String(spec.group));
  const done = ns.run(() => {
    writeFileSync('/proc/thread-self/attr/exec', label);
    return spawnSync('ip', args, { encoding: 'utf8' });
  });
  if (done.status === 0) return;
  const why = done.error?.message ?? done.stderr.trim();
  throw new CniError(CniCode.io, `selinuxContext: cannot make ${spec.name} as ${label}: ${why}`);
}
