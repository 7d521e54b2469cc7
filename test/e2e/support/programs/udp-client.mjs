// One UDP socket with one source port for ever: asks ADDRESS PORT every 100 ms and prints who answered when that changes.
import dgram from 'node:dgram';

const [address, port] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
let last;
socket.on('message', (text) => {
  const { pod } = JSON.parse(text.toString());
  if (pod !== last) console.log(`answer from ${pod}`);
  last = pod;
});
socket.on('error', (error) => console.log(error.code));
socket.bind(40000, () => setInterval(() => socket.send('hello', Number(port), address), 100));
process.on('SIGTERM', () => process.exit(0));
