// Asks one name at a fixed rate as resolvers do: a socket per query, asked again after a while (glibc waits 5 s).
//   node dns-load.mjs SERVER QUERIES-PER-SECOND NAME
// Ends when its input ends, and prints what happened as JSON.
import dgram from 'node:dgram';

const [server, rate, name] = process.argv.slice(2);
const RETRY_MS = 5000;
const TRIES = 2;

const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
const query = Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
const stats = { sent: 0, answered: 0, retried: 0, lost: 0, wrong: 0, retriedAt: [] };

function ask() {
  stats.sent += 1;
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    const packet = Buffer.from(query);
    packet.writeUInt16BE(stats.sent & 0xffff, 0);
    let tries = 0;
    let timer;
    const end = () => {
      clearTimeout(timer);
      socket.close();
      resolve();
    };
    const send = () => {
      tries += 1;
      if (tries > TRIES) {
        stats.lost += 1;
        end();
        return;
      }
      if (tries > 1) {
        stats.retried += 1;
        stats.retriedAt.push(new Date().toISOString());
      }
      socket.send(packet, 53, server, () => {});
      timer = setTimeout(send, RETRY_MS);
    };
    socket.on('error', () => {});
    socket.on('message', (answer) => {
      if (answer.readUInt16BE(0) !== packet.readUInt16BE(0)) return;
      stats.answered += 1;
      if ((answer[3] & 15) !== 0) stats.wrong += 1;
      end();
    });
    send();
  });
}

const began = performance.now();
const open = new Set();
const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - began) / 1000) * Number(rate));
  // After a pause of the machine the rest is made up for in pieces: a burst would measure the socket's buffer.
  for (let i = 0; i < 20 && stats.sent < due; i++) {
    const one = ask().then(() => open.delete(one));
    open.add(one);
  }
}, 2);
process.stdin.resume().on('end', async () => {
  clearInterval(timer);
  while (open.size > 0) await Promise.all(open);
  process.stdout.write(`${JSON.stringify(stats)}\n`);
});
console.error('asking');
