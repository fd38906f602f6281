// Two chains that are sent the same bytes: the network under test, and an anvil of our own.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { JsonRpcProvider } from 'ethers';

/** mulberry32: small, seeded, good enough to choose with. Gives a number below the one it is given. */
export function random(state) {
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Providers of both, by name, and what ends anvil. */
export async function start(binary, url) {
  const port = await freePort();
  const args = ['--port', port, '--chain-id', '31337', '--hardfork', 'osaka', '--steps-tracing', '--silent'];
  const anvil = spawn(binary, args, { stdio: 'ignore' });
  const connect = (u) => new JsonRpcProvider(u, 31337, { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 });
  const chains = { basalt: connect(url), anvil: connect(`http://127.0.0.1:${port}`) };
  const stop = () => {
    Object.values(chains).forEach((p) => p.destroy());
    anvil.kill();
  };
  for (let left = 100; ; left--) {
    if (await chains.anvil.send('eth_blockNumber', []).then(() => true, () => false)) return { chains, stop };
    if (left === 0) {
      stop();
      throw new Error('anvil did not start');
    }
    await pause(100);
  }
}

/** Sends signed bytes to one chain: its receipt, or `refused` with the words in which it refused. */
export async function deliver(provider, signed) {
  let hash;
  try {
    hash = await provider.send('eth_sendRawTransaction', [signed]);
  } catch (e) {
    return { refused: e.error?.message ?? e.message };
  }
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline) {
    const receipt = await provider.send('eth_getTransactionReceipt', [hash]);
    if (receipt) return receipt;
    await pause(15);
    // anvil takes what cannot run and forgets it when it makes the block.
    if (!(await provider.send('eth_getTransactionByHash', [hash]))) return { refused: 'forgotten', forgotten: hash };
  }
  throw new Error(`no receipt of ${hash}`);
}

/** What of a receipt does not depend on which chain it is. */
export const essence = (r) => ({
  status: r.status,
  gasUsed: r.gasUsed,
  type: r.type,
  to: r.to,
  from: r.from,
  contract: r.contractAddress,
  bloom: r.logsBloom,
  logs: r.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data })),
});

/** A call trace; the words of an error are the implementation's own. */
export const frame = ({ error, revertReason, calls, ...rest }) => ({
  ...rest,
  failed: error !== undefined,
  calls: (calls ?? []).map(frame),
});

/** The same without the outermost gas: geth and Basalt say the transaction's limit, anvil what is left for the code. */
export function transactionFrame(trace) {
  const { gas, ...rest } = frame(trace);
  return rest;
}

/** Every step of the struct logs. */
export const steps = ({ structLogs, gas, failed, returnValue }) => ({
  gas: Number(gas),
  failed,
  returnValue: returnValue.replace(/^0x/, ''),
  steps: structLogs.map((s) => [s.pc, s.op, s.gas, s.gasCost, s.depth, s.stack, s.storage, s.memory]),
});

const empty = ({ balance, nonce, code }) => BigInt(balance ?? 0) === 0n && !nonce && !code;

/**
 * What a transaction found: without the proposer, and without the balances of those who pay for gas.
 * Accounts that were not there before are left out, as geth does; anvil shows them as empty ones.
 */
export function prestate(found, { payers, miner }) {
  const entries = Object.entries(found).map(([a, v]) => [a.toLowerCase(), v]);
  return Object.fromEntries(
    entries
      .filter(([a, v]) => a !== miner.toLowerCase() && !empty(v))
      .map(([a, { balance, ...rest }]) => [a, payers.has(a) ? rest : { balance, ...rest }])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
