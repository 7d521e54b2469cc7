import { EPROTO } from '../errno.ts';
import { KernelError } from '../errors.ts';
import * as C from './constants.ts';
import type { NlSocket } from './socket.ts';
import { NlReader, NlWriter } from './wire.ts';

const GENL_ID_CTRL = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
/** Size of `struct genlmsghdr`, which follows `nlmsghdr`. */
export const GENL_HDRLEN = 4;

/**
 * Message type of a generic netlink family in this running kernel (genetlink(7)). Rejects with ENOENT where no module has
 * registered it.
 */
export async function genlFamily(socket: NlSocket, name: string): Promise<number> {
  const w = new NlWriter(64);
  w.begin(GENL_ID_CTRL, C.NLM_F_REQUEST);
  w.put8(CTRL_CMD_GETFAMILY, 1);
  w.str(CTRL_ATTR_FAMILY_NAME, name);
  w.end();
  let id: number | undefined;
  const { failures } = await socket.request(w, {
    onMessage: (m) => {
      const a = new NlReader(m.bytes, m.start + GENL_HDRLEN, m.end);
      while (a.next()) if (a.type === CTRL_ATTR_FAMILY_ID) id = a.u16();
    },
  });
  if (id !== undefined) return id;
  const errno = failures[0]?.errno ?? EPROTO;
  throw new KernelError({ errno, operation: 'find generic netlink family', object: name });
}
