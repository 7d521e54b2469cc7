import { singleInterface } from './common/single.ts';

/** An interface that leads nowhere, for addresses of services. */
export const dummy = singleInterface({
  name: 'dummy',
  kind: 'dummy',
  ipam: 'required',
  ipamDns: true,
  async create(_node, sandbox, request) {
    await sandbox.rtnl.links.add({ name: request.ifname, kind: 'dummy' });
  },
});
