// A cluster whose nodes tell each other their routes by BGP.
import { expect, it } from 'vitest';
import type { BgpStatus } from '@weft/fabric';
import { useCluster } from './support/cluster.ts';
import { until } from './support/run.ts';

const cluster = useCluster({ name: 'bgp', flags: ['--backend', 'bgp', '--nodes', '2'] });

async function status(): Promise<BgpStatus[]> {
  const ran = await cluster.shell(`weft bgp status --name ${cluster.name} -o json`);
  return JSON.parse(ran.stdout) as BgpStatus[];
}

it('connects nodes by sessions, and pods by routes that they tell', async () => {
  await until('sessions are established', async () =>
    (await status()).every((node) => node.peers.every((p) => p.state === 'Established')),
  );
  const [n1] = await status();
  expect(n1).toMatchObject({ node: 'n1', as: 64512, problems: [], peers: [{ name: 'n2', type: 'node-to-node mesh' }] });
  const routes = await cluster.shell(`weft node exec --name ${cluster.name} n1 -- ip route show proto 88`);
  expect(routes.stdout).toMatch(/^10\.\S+ via \S+12 dev eth0 metric 2000/m);
  await cluster.shell('kubectl wait --for=condition=Available deployment/web --timeout=60s');
  const fetched = await cluster.shell(
    'kubectl run box --image=busybox --restart=Never -i --rm -- wget -qO- http://web',
  );
  expect(fetched.stdout).toContain('<html');
});

it("follows Calico's objects", async () => {
  await cluster.shell(`kubectl apply -f - <<'YAML'
apiVersion: crd.projectcalico.org/v1
kind: BGPConfiguration
metadata: { name: default }
spec: { asNumber: 64999, serviceExternalIPs: [{ cidr: 192.0.2.0/24 }] }
YAML`);
  await until('the new AS is in effect', async () =>
    (await status()).every(
      (node) => node.as === 64999 && node.peers.every((p) => p.state === 'Established' && p.routes.received === 2),
    ),
  );
  const text = await cluster.shell(`weft bgp status --name ${cluster.name} --node n1`);
  expect(text.stdout).toMatch(/announces \S+, 192\.0\.2\.0\/24/);
});
