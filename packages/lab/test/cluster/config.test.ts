import { WeftError } from '@weft/plan';
import { describe, expect, it } from 'vitest';
import { dnsServiceIp, kubernetesServiceIp } from '../../src/cluster/addons.ts';
import { type ClusterRequest, nodePlaces, resolveConfig } from '../../src/cluster/config.ts';
import { clusterPaths } from '../../src/cluster/paths.ts';
import { underlayAddresses } from '../../src/topology/addresses.ts';

const context = { index: 0, rootless: false, apiPort: 6443, taken: [] };

function refusal(
  request: ClusterRequest,
  taken: readonly { what: string; cidr: string }[] = [],
): { code: string; message: string; hint?: string } {
  try {
    resolveConfig(request, { ...context, taken });
  } catch (error) {
    if (error instanceof WeftError) return { code: error.code, message: error.message, hint: error.hint ?? '' };
    throw error;
  }
  throw new Error('accepted');
}

describe('resolveConfig', () => {
  it('fills in the defaults that kubeadm users know', () => {
    expect(resolveConfig({}, context)).toMatchObject({
      name: 'weft',
      nodes: 3,
      subnets: 1,
      backend: 'vxlan',
      podCidr: '10.244.0.0/16',
      nodeCidrMaskSize: 24,
      serviceCidr: '10.96.0.0/12',
      underlayCidr: '10.89.0.0/21',
      apiPort: 6443,
    });
  });

  it('gives clusters side by side blocks that do not overlap', () => {
    const configs = [0, 1, 2, 3, 4, 5, 6, 7].map((index) => resolveConfig({}, { ...context, index }));
    for (const key of ['podCidr', 'serviceCidr', 'underlayCidr'] as const) {
      expect(new Set(configs.map((c) => c[key])).size).toBe(configs.length);
    }
    for (const [i, config] of configs.entries()) {
      const taken = configs
        .slice(0, i)
        .flatMap((c) => [c.podCidr, c.serviceCidr, c.underlayCidr].map((cidr) => ({ what: c.name, cidr })));
      expect(resolveConfig({}, { ...context, index: i, taken })).toEqual(config);
    }
  });

  it.each<[string, ClusterRequest, string]>([
    ['BAD_NAME', { name: 'Weft!' }, '--name'],
    ['BAD_NAME', { name: 'much-too-long' }, '--name'],
    ['BAD_NAME', { name: 'images' }, '--name'],
    ['BAD_NODES', { nodes: 0 }, '--nodes'],
    ['BAD_NODES', { nodes: 241 }, '--nodes'],
    ['BAD_SUBNETS', { subnets: 3 }, '--subnets'],
    ['BAD_BACKEND', { backend: 'ipsec' }, '--backend'],
    ['BACKEND_NEEDS_ONE_SUBNET', { backend: 'host-gw', subnets: 2 }, '--backend'],
    ['BAD_CIDR', { podCidr: '224.0.0.0/16' }, 'multicast'],
    ['BAD_CIDR', { serviceCidr: '240.0.0.0/12' }, 'reserved'],
    ['BAD_CIDR', { underlayCidr: '169.254.0.0/20' }, 'link-local'],
    ['BAD_CIDR', { podCidr: '127.0.0.0/16' }, 'loopback'],
    ['BAD_CIDR', { podCidr: '0.0.0.0/0' }, '0.0.0.0/8'],
    ['BAD_CIDR', { podCidr: '10.244.0.0' }, '--pod-cidr'],
    ['BAD_CIDR', { podCidr: '10.244.0.1/16' }, 'has host bits set'],
    ['BAD_CIDR', { serviceCidr: 'fd00::/108' }, '--service-cidr'],
    ['CIDR_OVERLAP', { podCidr: '10.96.0.0/16' }, '--service-cidr'],
    ['CIDR_OVERLAP', { podCidr: '10.89.0.0/16', serviceCidr: '10.96.0.0/12' }, '--underlay-cidr'],
    ['CIDR_TOO_SMALL', { podCidr: '10.244.0.0/24', nodeCidrMaskSize: 24 }, '1 blocks of /24, too few for 3 nodes'],
    ['CIDR_TOO_SMALL', { serviceCidr: '10.96.0.0/29' }, '--service-cidr'],
    ['CIDR_TOO_SMALL', { underlayCidr: '10.89.0.0/24', subnets: 2 }, '--underlay-cidr'],
    ['BAD_PORT', { apiPort: 70_000 }, '--api-port'],
  ])('refuses %s %j', (code, request, named) => {
    const refused = refusal(request);
    expect(refused.code).toBe(code);
    expect(refused.hint).not.toBe('');
    expect(refused.message + JSON.stringify(request)).toContain(named);
  });

  it('names what an overlapping block belongs to', () => {
    expect(refusal({}, [{ what: "the host's route on eth1", cidr: '10.244.128.0/17' }])).toMatchObject({
      code: 'CIDR_OVERLAP',
      message: "--pod-cidr 10.244.0.0/16 overlaps the host's route on eth1 10.244.128.0/17",
    });
  });
});

describe('addresses of a cluster', () => {
  it('follow from the configuration alone', () => {
    const config = resolveConfig({ nodes: 3, subnets: 2 }, context);
    expect(nodePlaces(config)).toEqual([
      { name: 'n1', subnet: 0, offset: 11 },
      { name: 'n2', subnet: 1, offset: 11 },
      { name: 'n3', subnet: 0, offset: 12 },
    ]);
    const { nodes, routers, host } = underlayAddresses(config);
    expect([...nodes.values()].map((n) => n.address)).toEqual(['10.89.0.11', '10.89.1.11', '10.89.0.12']);
    expect(routers).toEqual(['10.89.0.1', '10.89.1.1']);
    expect(host).toBe('10.89.0.254');
    expect(kubernetesServiceIp(config)).toBe('10.96.0.1');
    expect(dnsServiceIp(config)).toBe('10.96.0.10');
  });

  it('differ from node to node in the largest cluster', () => {
    const { nodes, routers, host } = underlayAddresses(
      resolveConfig({ nodes: 480, subnets: 2, podCidr: '10.128.0.0/10' }, context),
    );
    const all = [...[...nodes.values()].map((n) => n.address), ...routers, host];
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('clusterPaths', () => {
  it('keeps unix sockets shorter than the 107 bytes that the kernel takes', () => {
    const paths = clusterPaths('abcdefghij', { HOME: '/home/a-rather-long-user-name' }, 4_000_000_000);
    for (const socket of [
      paths.controlSocket,
      paths.apiSocket,
      paths.apiTlsSocket,
      `${paths.runDir}/nodes/n240/kubelet.sock`,
    ]) {
      expect(Buffer.byteLength(socket)).toBeLessThan(108);
    }
  });

  it('finds a cluster of an ordinary user from every session, whatever runtime directory that has', () => {
    const home = { HOME: '/home/u', XDG_DATA_HOME: '/d' };
    const paths = clusterPaths('weft', { ...home, XDG_RUNTIME_DIR: '/run/user/1000' }, 1000);
    expect(paths.stateDir).toBe('/d/weft/weft');
    expect(paths.runDir).toBe('/d/weft/run/weft');
    expect(clusterPaths('weft', home, 1000)).toEqual(paths);
    expect(clusterPaths('weft', {}, 0).stateDir).toBe('/var/lib/weft/weft');
  });
});
