import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { KubeObject, UserInfo } from '@weft/kube';

/** What a streaming request asks for; authentication is done, and the pod exists. */
export interface StreamRoute {
  readonly kind: 'exec' | 'attach' | 'portforward' | 'log';
  readonly namespace: string;
  readonly pod: KubeObject;
  /** The node of the pod; empty when it is not scheduled. */
  readonly node: string;
  readonly query: URLSearchParams;
  readonly user: UserInfo;
}

/** Serves what is not request and response: exec, attach, port-forward (WebSocket and SPDY) and logs. */
export interface StreamingHandler {
  /** An `Upgrade` request on exec, attach or portforward. The handler owns the socket from here on. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, route: StreamRoute): void;
  /** GET …/pods/NAME/log. Answers the response; a throw before the first byte becomes a Status. */
  log(request: IncomingMessage, response: ServerResponse, route: StreamRoute): Promise<void>;
}
