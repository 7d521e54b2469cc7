import { createInterface } from 'node:readline';

/** Answers calls that come as JSON lines on the standard input. */
export function serve(methods: Record<string, (...args: never[]) => unknown>): void {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, method, args } = JSON.parse(line) as { id: number; method: string; args: never[] };
    const reply = (body: object): void => void process.stdout.write(`${JSON.stringify({ id, ...body })}\n`);
    Promise.resolve()
      .then(() => (method === 'ping' ? true : methods[method]?.(...args)))
      .then((value) => reply({ value: value ?? null }))
      .catch((error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }));
  });
}
