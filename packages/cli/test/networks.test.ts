import type { NetworkAttachmentDefinition, Pod } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { interfaceRows, networkRows } from '../src/networks/model.ts';

const network = (name: string, config: string): NetworkAttachmentDefinition => ({
  metadata: { name, namespace: 'default' },
  spec: { config },
});
const definitions = [
  network('lan', '{"cniVersion":"1.0.0","plugins":[{"type":"macvlan"},{"type":"tuning"}]}'),
  network('file', ''),
  network('bad', '{"type":""}'),
];
const pod = (name: string, annotations: Record<string, string>): Pod => ({
  metadata: { name, namespace: 'default', annotations },
  spec: { containers: [] },
  status: { podIPs: [{ ip: '10.244.0.5' }] },
});
const STATUS = JSON.stringify([
  { name: 'weft', interface: 'eth0', ips: ['10.244.0.5'], default: true, gateway: ['169.254.1.1'] },
  { name: 'default/lan', interface: 'lan0', ips: ['10.1.0.5'], mac: '02:00:00:00:00:01' },
]);
const attached = pod('a', {
  'k8s.v1.cni.cncf.io/networks': 'lan@lan0, red, bad',
  'k8s.v1.cni.cncf.io/network-status': STATUS,
});

describe('what is shown of networks', () => {
  it('is who uses them, and why nobody can', () => {
    expect(networkRows(definitions, [attached, pod('b', { 'k8s.v1.cni.cncf.io/network-status': 'nonsense' })])).toEqual(
      [
        {
          network: 'default/bad',
          plugins: [],
          pods: [],
          problem: 'plugins[0].type is missing: which plugin is to be called?',
        },
        { network: 'default/file', plugins: [], pods: [] },
        { network: 'default/lan', plugins: ['macvlan', 'tuning'], pods: ['default/a'] },
      ],
    );
  });

  it('is what a pod has, and what it asks for and has not', () => {
    const rows = interfaceRows(attached, definitions).map((r) => [r.interface, r.network, r.ips.join(), r.problem]);
    expect(rows).toEqual([
      ['eth0', 'weft', '10.244.0.5', undefined],
      ['lan0', 'default/lan', '10.1.0.5', undefined],
      ['', 'default/red', '', 'there is no such definition'],
      ['', 'default/bad', '', 'plugins[0].type is missing: which plugin is to be called?'],
    ]);
    expect(interfaceRows(pod('c', {}), definitions)).toEqual([
      { interface: 'eth0', network: "the node's first network", ips: ['10.244.0.5'], gateway: [], default: true },
    ]);
    const wrong = interfaceRows(pod('d', { 'k8s.v1.cni.cncf.io/networks': 'a/b/c' }), definitions);
    expect(wrong[1]?.problem).toContain('k8s.v1.cni.cncf.io/networks[0]');
  });
});
