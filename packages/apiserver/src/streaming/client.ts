/** The client's side of a session, whatever carries it: WebSocket messages or SPDY streams. */
export interface ClientSession {
  /** Sends bytes on a channel. False asks the caller to wait for `drain`. */
  send(channel: number, payload: Buffer): boolean;
  /** Says that nothing more comes on a channel. */
  closeChannel(channel: number): void;
  /** Ends the session after what was sent has gone out. */
  end(): void;
  /** Stops and restarts what arrives, to keep pace with a slow node. */
  pause(): void;
  resume(): void;
  onData: (channel: number, payload: Buffer) => void;
  /** The client closed its side of one channel. */
  onChannelClosed: (channel: number) => void;
  onClosed: () => void;
  onDrain: () => void;
}

/** Handlers of a session before anybody listens. */
export const UNHEARD = { onData: () => {}, onChannelClosed: () => {}, onClosed: () => {}, onDrain: () => {} };
