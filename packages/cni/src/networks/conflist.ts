import { CURRENT_VERSION } from '../spec/versions.ts';

/** Capabilities that runtimes know of; which of them a plugin gets is said by the delegates. */
const CAPABILITIES = [
  'aliases',
  'bandwidth',
  'cgroupPath',
  'deviceID',
  'dns',
  'infinibandGUID',
  'io.kubernetes.cri.pod-annotations',
  'ipRanges',
  'ips',
  'mac',
  'portMappings',
] as const;

/**
 * A node's network as a list of one plugin that attaches pods to it, and to whatever other networks their annotations
 * ask for. `first` is the network list that pods get otherwise; the new list has its name.
 */
export function networksConflist(
  first: Readonly<Record<string, unknown>>,
  options: { readonly agentSocket: string },
): Readonly<Record<string, unknown>> {
  return {
    // Runtimes that do not know `cniVersions` take this one, and some of them know no newer.
    cniVersion: '1.0.0',
    cniVersions: ['0.4.0', '1.0.0', CURRENT_VERSION],
    name: first['name'],
    plugins: [
      {
        type: 'weft-networks',
        agentSocket: options.agentSocket,
        capabilities: Object.fromEntries(CAPABILITIES.map((name) => [name, true])),
        delegates: [first],
      },
    ],
  };
}
