import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { libc } from '../server/libc.ts';
import { ORDER, type WorkerSocket, type WorkerStart } from './orders.ts';
import { UdpAnswerer } from './udp.ts';

// A thread of its own for UDP: it waits in the kernel for packets, answers what the tables know, and hands the rest to the
// main thread, which has the chain. It knows nothing of zones or plugins, and its state is all in shared memory, so that a
// thread that dies is replaced without a packet lost that its sockets had taken.

/** Milliseconds; orders are looked for at least this often. */
const WAIT_MS = 50;

function main(): void {
  const port = parentPort;
  const calls = libc();
  if (port === null || calls === undefined) throw new Error('not a worker of the DNS server');
  const { orders: memory, ring, counts } = workerData as WorkerStart;
  const orders = new Int32Array(memory);
  const answerer = new UdpAnswerer(calls, ring, counts, () => port.postMessage(null));
  let taken = 0;
  while (Atomics.load(orders, ORDER.stop) === 0) {
    const given = Atomics.load(orders, ORDER.given);
    if (given !== taken) {
      let list: readonly WorkerSocket[] | undefined;
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
        list = next.message as readonly WorkerSocket[];
      }
      if (list !== undefined) answerer.read(list);
      taken = given;
      Atomics.store(orders, ORDER.taken, taken);
      Atomics.notify(orders, ORDER.taken);
    }
    if (answerer.sockets === 0) Atomics.wait(orders, ORDER.given, taken, WAIT_MS);
    else answerer.wait(WAIT_MS);
  }
  port.close();
}

main();
