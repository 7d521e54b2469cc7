// Tells every client, over HTTP (8080), UDP (8081) and TCP lines (8082), who answers and where the client seems to be.
import dgram from 'node:dgram';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';

const plain = (address) => address?.replace(/^::ffff:/, '');
const answer = (remote, local, extra) => JSON.stringify({ pod: os.hostname(), remote, local, ...extra });

http
  .createServer((request, response) => {
    const { remoteAddress, localAddress } = request.socket;
    response.writeHead(200, { 'content-type': 'application/json', connection: 'close' });
    response.end(`${answer(plain(remoteAddress), plain(localAddress), { path: request.url })}\n`);
  })
  .listen(8080);

const udp = dgram.createSocket('udp4');
udp.on('message', (text, from) =>
  udp.send(answer(from.address, undefined, { text: text.toString() }), from.port, from.address),
);
udp.bind(8081);

net
  .createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  })
  .listen(8082);

process.on('SIGTERM', () => process.exit(0));
