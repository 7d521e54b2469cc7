import { DEFAULTS } from './settings.ts';
import { admitted, type ProtocolFactory, tlsOptions, watchTls, withTls } from './secure.ts';
import { serveStream } from './stream.ts';

/** DNS over TLS (RFC 7858); without certificates the same in the clear, as CoreDNS has it. */
export const dnsOverTls: ProtocolFactory = async (site, log, name) => {
  const { tls, readMs = DEFAULTS.readMs } = site().settings;
  if (tls === undefined) return { accept: (connection) => serveStream(connection, site), close: () => {} };
  const { createServer } = await import('node:tls');
  const server = withTls(name, () => createServer(tlsOptions(tls, readMs)));
  watchTls(server, tls, log, name);
  server.on('secureConnection', (connection) => {
    if (admitted(tls, connection)) serveStream(connection, site);
    else connection.destroy();
  });
  return { accept: (connection) => void server.emit('connection', connection), close: () => {} };
};
