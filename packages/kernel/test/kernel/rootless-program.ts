// Runs in a user namespace without privilege over the machine (see rootless.test.ts); prints what worked as JSON.
import { readFileSync } from 'node:fs';
import {
  Conntrack,
  features,
  isKernelError,
  NetNs,
  Nft,
  NftBatch,
  Rtnl,
  type SetSpec,
  values as v,
} from '../../src/index.ts';

const set: SetSpec = { family: 'ip', table: 't', name: 's', key: 'ipv4_addr', data: 'mark' };
// A little more than the largest send buffer an unprivileged process can have; an element takes 156 bytes.
const limit = 2 * Number(readFileSync('/proc/sys/net/core/wmem_max', 'utf8'));
const count = Math.ceil((limit + 500_000) / 156);
const comment = 'x'.repeat(120);

function load(): NftBatch {
  const b = new NftBatch();
  b.addTable({ family: 'ip', name: 't' });
  b.addSet(set);
  b.addElements(
    set,
    Array.from({ length: count }, (_, i) => ({ key: v.u32be(0x0a000000 + i), data: v.u32ne(i), comment })),
  );
  return b;
}

const here = Rtnl.open();
await here.links.set('lo', { up: true });
const pod = NetNs.anonymous();
await here.links.add({ name: 'br0', kind: 'bridge', up: true });
await here.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'eth0', ns: pod, up: true } });
await here.links.add({ name: 'vx0', kind: 'vxlan', vxlan: { id: 1, port: 4789 } });
const inPod = Rtnl.open(pod);
const podLinks = (await inPod.links.list()).map((l) => l.name);
inPod.close();
const announced = new Promise<string>((resolve) => {
  const sub = here.subscribe(
    ['link'],
    (e) => {
      if (e.type !== 'link' || e.action !== 'del' || e.link.name !== 'v0') return;
      sub.close();
      resolve(e.link.name);
    },
    () => resolve('lost'),
  );
});
await here.links.del('v0');

const nft = Nft.open();
const whole = await nft.commit(load()).then(
  () => 'committed',
  (error: unknown) => (isKernelError(error) ? error.code : String(error)),
);
await nft.commit(load(), { allowSplit: true });
const loaded = (await nft.listElements(set)).length;
const conntrack = Conntrack.open();
const flows = (await conntrack.dump()).length;
const result = {
  podLinks,
  announced: await announced,
  whole,
  loaded: loaded === count,
  flows,
  nftables: (await features()).nftables,
};
conntrack.close();
nft.close();
here.close();
pod.close();
console.log(JSON.stringify(result));
