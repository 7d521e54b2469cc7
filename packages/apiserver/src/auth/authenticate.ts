import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { failure, StatusError, type UserInfo } from '@weft/kube';
import type { Tokens } from './tokens.ts';

const AUTHENTICATED = 'system:authenticated';
/** Whoever can open the plain Unix socket owns the cluster: the file's mode decides. */
const TRUSTED: UserInfo = { username: 'system:admin', groups: ['system:masters', AUTHENTICATED] };
export const ANONYMOUS: UserInfo = { username: 'system:anonymous', groups: ['system:unauthenticated'] };

const certificateUsers = new WeakMap<Socket, UserInfo | 'none'>();

/**
 * Who sends a request: the owner of the trusted socket, a client certificate of our CA (O are groups, CN is the user),
 * or a service-account token. Throws 401 for a token that is not valid; undefined when there is no credential.
 */
export function authenticate(request: IncomingMessage, trusted: boolean, tokens: Tokens): UserInfo | undefined {
  const authorization = request.headers.authorization;
  let user: UserInfo | undefined;
  if (trusted) user = TRUSTED;
  else user = certificateUser(request.socket);
  const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? protocolToken(request);
  if (user === undefined && bearer !== undefined) {
    const checked = tokens.check(bearer);
    if (typeof checked === 'string' || !checked.audiences.includes(tokens.issuer)) throw unauthorized();
    ({ user } = checked);
  }
  return user === undefined ? undefined : impersonated(request, user);
}

/** Browsers cannot set headers on a WebSocket: the token comes as a subprotocol. */
function protocolToken(request: IncomingMessage): string | undefined {
  const header = request.headers['sec-websocket-protocol'];
  const encoded = /base64url\.bearer\.authorization\.k8s\.io\.([\w-]+)/.exec(header ?? '')?.[1];
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url').toString();
}

export function unauthorized(): StatusError {
  return new StatusError(failure('Unauthorized', 'Unauthorized'));
}

function certificateUser(socket: Socket): UserInfo | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  let user = certificateUsers.get(socket);
  if (user === undefined) {
    user = readCertificate(socket) ?? 'none';
    certificateUsers.set(socket, user);
  }
  return user === 'none' ? undefined : user;
}

function readCertificate(socket: TLSSocket): UserInfo | undefined {
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as { CN?: string | string[]; O?: string | string[] } | undefined;
  const username = [subject?.CN].flat()[0];
  if (username === undefined) return undefined;
  const groups = subject?.O === undefined ? [] : [subject.O].flat();
  return { username, groups: [...groups, AUTHENTICATED] };
}

/** `kubectl --as` and `--as-group`. Everyone who is authenticated may do everything, so everyone may impersonate. */
function impersonated(request: IncomingMessage, user: UserInfo): UserInfo {
  const name = request.headers['impersonate-user'];
  if (typeof name !== 'string' || name === '') return user;
  const groups = request.headersDistinct['impersonate-group'] ?? [];
  return { username: name, groups: [...new Set([...groups, AUTHENTICATED])] };
}
