// A client under whose eyes things break: HTTP requests to a Service, and one TCP connection that must live for ever.
//   node load.mjs SERVICE-URL PEER-ADDRESS PEER-PORT
// GET :9000/ tells what happened.
import http from 'node:http';
import net from 'node:net';

const [url, peer, port] = process.argv.slice(2);
const stats = {
  requests: 0,
  failed: 0,
  failures: [],
  lines: 0,
  connections: 0,
  broken: [],
  slowestMs: 0,
  answeredBy: {},
};

const once = () =>
  new Promise((resolve) => {
    const began = performance.now();
    const done = (error, body) => {
      if (began === 0) return;
      stats.requests += 1;
      stats.slowestMs = Math.max(stats.slowestMs, Math.round(performance.now() - began));
      if (error === undefined) {
        const { pod } = JSON.parse(body);
        stats.answeredBy[pod] = (stats.answeredBy[pod] ?? 0) + 1;
      } else {
        stats.failed += 1;
        stats.failures.push(`${new Date().toISOString()} ${error}`);
        stats.failures = stats.failures.slice(-20);
      }
      resolve();
    };
    const request = http.get(url, { agent: false, timeout: 3000 }, (response) => {
      let body = '';
      response.on('data', (chunk) => (body += chunk));
      response.on('end', () => done(response.statusCode === 200 ? undefined : `status ${response.statusCode}`, body));
      response.on('error', (error) => done(error.code));
    });
    request.on('timeout', () => request.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })));
    request.on('error', (error) => done(error.code ?? error.message));
  });

const requests = async () => {
  for (;;) {
    await once();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

const connect = () => {
  stats.connections += 1;
  const socket = net.connect(Number(port), peer);
  const timer = setInterval(() => socket.write('line\n'), 50);
  socket.on('data', (data) => (stats.lines += data.toString().split('\n').length - 1));
  socket.on('error', (error) => stats.broken.push(`${new Date().toISOString()} ${error.code}`));
  socket.on('close', () => {
    clearInterval(timer);
    stats.broken.push(`${new Date().toISOString()} closed`);
    setTimeout(connect, 200);
  });
};

http.createServer((_, response) => response.end(JSON.stringify(stats))).listen(9000);
process.on('SIGTERM', () => process.exit(0));
connect();
await requests();
