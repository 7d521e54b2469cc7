// Asks one name at a fixed rate as resolvers do: a socket has one query at a time, asked again after a while (glibc waits 5 s).
//   node dns-load.mjs SERVER QUERIES-PER-SECOND NAME [SOCKETS]
// Without SOCKETS every query has a socket of its own, as those of resolvers have. With it, answered sockets are used again: tens
// of thousands of new ports a second would measure how many flows the kernel can remember.
// Ends when its input ends, and prints what happened as JSON.
import dgram from 'node:dgram';

const [server, rate, name, sockets = '0'] = process.argv.slice(2);
const RETRY_MS = 5000;
const TRIES = 2;
const TICK_MS = 2;
const keep = Number(sockets);
// After a pause of the machine the rest is made up for in pieces: a burst would measure the socket's buffer.
const most = Math.max(20, Math.ceil((Number(rate) * TICK_MS * 1.5) / 1000));

const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
const query = Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
const stats = { sent: 0, answered: 0, retried: 0, lost: 0, wrong: 0, retriedAt: [] };
let open = 0;
/** Sockets without a query; the one that waits longest is next. */
const idle = [];
let made = 0;

class Asker {
  constructor() {
    made += 1;
    this.packet = Buffer.from(query);
    this.socket = dgram.createSocket('udp4');
    this.socket.on('error', () => {});
    this.socket.on('message', (answer) => {
      if (this.timer === undefined || answer.readUInt16BE(0) !== this.packet.readUInt16BE(0)) return;
      stats.answered += 1;
      if ((answer[3] & 15) !== 0) stats.wrong += 1;
      this.end();
    });
  }

  ask() {
    stats.sent += 1;
    open += 1;
    this.packet.writeUInt16BE(stats.sent & 0xffff, 0);
    this.tries = 0;
    this.send();
  }

  send() {
    this.tries += 1;
    if (this.tries > TRIES) {
      stats.lost += 1;
      this.end();
      return;
    }
    if (this.tries > 1) {
      stats.retried += 1;
      if (stats.retriedAt.length < 100) stats.retriedAt.push(new Date().toISOString());
    }
    this.socket.send(this.packet, 53, server, () => {});
    this.timer = setTimeout(() => this.send(), RETRY_MS);
  }

  end() {
    clearTimeout(this.timer);
    this.timer = undefined;
    open -= 1;
    if (keep > 0) idle.push(this);
    else this.socket.close();
  }
}

const began = performance.now();
let from = 0;
const timer = setInterval(() => {
  const due = Math.floor(((performance.now() - began) / 1000) * Number(rate));
  for (let i = 0; i < most && stats.sent < due; i++) {
    const one = made < keep || from >= idle.length ? new Asker() : idle[from++];
    one.ask();
  }
  if (from > 4096) {
    idle.splice(0, from);
    from = 0;
  }
}, TICK_MS);
process.stdin.resume().on('end', async () => {
  clearInterval(timer);
  while (open > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  process.stdout.write(`${JSON.stringify({ ...stats, seconds: (performance.now() - began) / 1000 })}\n`);
  for (const one of idle) one.socket.close();
});
console.error('asking');
