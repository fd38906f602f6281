// A node of anvil, to compare with.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { raw } from '../support.js';

const binary = process.env.ANVIL ?? fileURLToPath(new URL('../node_modules/.bin/anvil', import.meta.url));

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Starts anvil; undefined where there is none for this kind of machine. */
export async function startAnvil() {
  if (!existsSync(binary)) return undefined;
  const port = await freePort();
  const options = ['--port', port, '--chain-id', '31337', '--hardfork', 'osaka', '--steps-tracing', '--silent'];
  const child = spawn(binary, options, { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  for (let left = 100; left > 0; left--) {
    if (await raw(url, { method: 'eth_blockNumber', params: [] }).then(() => true, () => false)) return { url, stop: () => child.kill() };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  child.kill();
  throw new Error('anvil did not start');
}
