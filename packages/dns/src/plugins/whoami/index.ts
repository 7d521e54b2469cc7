import { ipBytes } from '@weft/net';
import { argumentError } from '../../corefile/error.ts';
import { authoritative, type Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { concat, labelKey, rdata, record, TYPE } from '../../wire/index.ts';

/** Tells the client its own address and port: what a server without configuration does. */
export const whoami: Plugin = {
  name: 'whoami',
  once: true,
  setup(directives) {
    const extra = directives[0]?.args[0] ?? directives[0]?.block?.[0]?.name;
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const handler: Handler = {
      name: 'whoami',
      serve(request) {
        const { context, query } = request;
        const type = context.family === 4 ? TYPE.A : TYPE.AAAA;
        const address = ipBytes(context.remoteAddress.split('%')[0] as string);
        const owner = concat([Buffer.from(labelKey(`_${context.proto}`) ?? '', 'latin1'), query.qname]);
        const additional = [record(undefined, type, 0, address)];
        if (owner.length <= 255) {
          additional.push(record(owner, TYPE.SRV, 0, rdata.srv(0, 0, context.remotePort, Uint8Array.of(0))));
        }
        return authoritative('whoami', { additional, own: true });
      },
    };
    return handler;
  },
};
