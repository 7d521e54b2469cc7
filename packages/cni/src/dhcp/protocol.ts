import { connect } from 'node:net';
import { errorMessage } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { type JsonObject, numberField, objectField, parseObject, stringField } from '../spec/json.ts';

/** Where the daemon listens when nobody says otherwise, as the reference's. */
export const DHCP_SOCKET = '/run/cni/dhcp.sock';
/** Longest request or answer, bytes. */
export const MESSAGE_LIMIT = 1 << 20;

/** What the plugin asks of the daemon: one JSON object a line, one answer a connection. */
export interface DhcpRequest {
  readonly method: 'allocate' | 'release' | 'check' | 'status' | 'gc';
  readonly containerId: string;
  readonly ifname: string;
  /** Absolute path as the runtime sees it. */
  readonly netns: string;
  readonly network: string;
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>;
  /** The `ipam` object. */
  readonly ipam: JsonObject;
  /** GC: what is valid, as `CONTAINERID/IFNAME`. */
  readonly valid?: readonly string[];
}

/** Asks the daemon; resolves with its answer, rejects with the CniError it reports, or says that it is not there. */
export function askDaemon(socketPath: string, request: DhcpRequest, timeoutMs: number): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let text = '';
    const fail = (why: string): void => {
      socket.destroy();
      const hint = 'start it on this node: weft dhcp daemon';
      reject(new CniError(CniCode.tryAgainLater, `dhcp: the DHCP daemon at ${socketPath}: ${why}`, hint));
    };
    socket.setTimeout(timeoutMs, () => fail('no answer in time'));
    socket.setEncoding('utf8');
    socket.on('error', (error) => fail(errorMessage(error)));
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MESSAGE_LIMIT) fail('its answer is too long');
    });
    socket.on('end', () => {
      socket.destroy();
      try {
        const answer = parseObject(text, 'answer of the DHCP daemon');
        const error = objectField(answer, 'error');
        if (error === undefined) return resolve(answer);
        const code = numberField(error, 'code') ?? CniCode.internal;
        return reject(new CniError(code, stringField(error, 'msg') ?? 'dhcp: failed', stringField(error, 'details')));
      } catch (error) {
        return reject(error);
      }
    });
  });
}
