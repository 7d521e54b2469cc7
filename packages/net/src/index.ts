export { addToIp, compareIp, type Family, formatIp, type Ip, ipBytes, ipDistance, ipFromBytes, parseIp } from './ip.ts';
export {
  addressAt,
  formatPrefix,
  indexIn,
  lastAddress,
  parseInterfaceAddress,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  prefixFamily,
  prefixOf,
  prefixSize,
  subnetAt,
  subnetCount,
} from './prefix.ts';
