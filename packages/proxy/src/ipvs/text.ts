import { IPVS_PERSISTENT, type IpvsChange, type IpvsKey, type IpSetChange, type IpSetElement } from '@weft/kernel';
import type { Steps } from './family.ts';
import { LINK } from './names.ts';

const OPTIONS: Readonly<Record<IpvsKey['protocol'], string>> = { 6: '-t', 17: '-u', 132: '--sctp-service' };
const PROTOCOLS = new Map<number, string>([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);

function end(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function serverLine(change: IpvsChange): string {
  const { service } = change;
  const name = `${OPTIONS[service.protocol]} ${end(service.address, service.port)}`;
  if ('destination' in change) {
    const { address, port, weight } = change.destination;
    return `-a ${name} -r ${end(address, port)} -m -w ${weight}`;
  }
  if (change.do === 'delService') return `-A ${name}`;
  const sticky = (change.service.flags & IPVS_PERSISTENT) !== 0 ? ` -p ${change.service.timeout}` : '';
  return `-A ${name} -s ${change.service.scheduler}${sticky}`;
}

function elementText({ ip, port, protocol, ip2, length2 }: IpSetElement): string {
  const number = protocol === undefined ? port : `${PROTOCOLS.get(protocol) ?? protocol}:${port}`;
  const block = length2 === undefined ? ip2 : `${ip2}/${length2}`;
  return [ip, number, block].filter((part) => part !== undefined).join(',');
}

function setLine({ set, element }: IpSetChange): string {
  return `add ${set} ${elementText(element)}`;
}

/** What a state consists of, in the words of `ipvsadm -S`, `ipset save` and `ip address`. */
export function stepLines(steps: Steps): string[] {
  return [
    ...steps.servers.map(serverLine),
    ...steps.addElements.map(setLine),
    ...steps.bind.map((address) => `address add ${address}/${address.includes(':') ? 128 : 32} dev ${LINK}`),
  ];
}
