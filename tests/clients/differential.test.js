// The same random transactions to Basalt and to anvil: receipts, gas, logs, return data, traces and storage must be equal.
// SEED repeats a run; ROUNDS says how many transactions.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HDNodeWallet, Interface, JsonRpcProvider, Wallet, ethers } from 'ethers';
import { compile, mnemonic, urls } from './support.js';

const binary = process.env.ANVIL ?? fileURLToPath(new URL('./node_modules/.bin/anvil', import.meta.url));
const skip = existsSync(binary) ? false : 'no anvil for this kind of machine; set ANVIL to one';
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const rounds = Number(process.env.ROUNDS ?? 60);

/** mulberry32: small, seeded, good enough to choose with. */
function random(state) {
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

/** What of a receipt does not depend on which chain it is. */
const essence = (r) => ({
  status: r.status, gasUsed: r.gasUsed, type: r.type, to: r.to, from: r.from, contract: r.contractAddress, bloom: r.logsBloom,
  logs: r.logs.map(({ address, topics, data }) => ({ address: address.toLowerCase(), topics, data })),
});

/** A call trace; the words of an error are the implementation's own. */
const calls = ({ error, revertReason, calls: inner, ...frame }) => ({
  ...frame, failed: error !== undefined, calls: (inner ?? []).map(calls),
});

describe(`random transactions on Basalt and anvil, SEED=${seed}`, { skip }, () => {
  const { abi, bytecode } = skip ? {} : compile('Machine');
  const machine = skip ? null : new Interface(abi);
  const pick = random(seed);
  // Accounts of this run alone, so that nonces and contract addresses are the same on both.
  const wallets = [0, 1, 2].map((i) => new Wallet(ethers.id(`differential ${seed} ${Date.now()} ${i}`)));
  const chains = {};
  let anvil;
  const contracts = [];
  const nonces = new Map(wallets.map((w) => [w, 0]));

  before(async () => {
    const port = await freePort();
    anvil = spawn(binary, ['--port', port, '--chain-id', '31337', '--hardfork', 'osaka', '--steps-tracing', '--silent'], { stdio: 'ignore' });
    const options = { pollingInterval: 50, cacheTimeout: -1 };
    chains.basalt = new JsonRpcProvider(urls[0], 31337, { staticNetwork: true, ...options });
    chains.anvil = new JsonRpcProvider(`http://127.0.0.1:${port}`, 31337, { staticNetwork: true, ...options });
    for (let left = 100; ; left--) {
      if (await chains.anvil.send('eth_blockNumber', []).then(() => true, () => false)) break;
      if (left === 0) throw new Error('anvil did not start');
      await new Promise((r) => setTimeout(r, 100));
    }
    const rich = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/6");
    for (const p of Object.values(chains)) {
      for (const w of wallets) await (await rich.connect(p).sendTransaction({ to: w.address, value: ethers.parseEther('20') })).wait();
    }
  });
  after(() => {
    Object.values(chains).forEach((p) => p.destroy());
    anvil?.kill();
  });

  /** Sends the same bytes to both; gives both receipts. */
  async function send(wallet, fields) {
    const nonce = nonces.get(wallet);
    nonces.set(wallet, nonce + 1);
    const fee = 10n ** 10n;
    const fees = fields.type === 2 ? { maxFeePerGas: fee, maxPriorityFeePerGas: 1n } : { gasPrice: fee };
    const signed = await wallet.signTransaction({ chainId: 31337, nonce, gasLimit: 2_000_000n, value: 0n, ...fees, ...fields });
    const both = Object.entries(chains).map(async ([name, p]) => {
      const hash = await p.send('eth_sendRawTransaction', [signed]);
      for (let left = 300; left > 0; left--) {
        const receipt = await p.send('eth_getTransactionReceipt', [hash]);
        if (receipt) return [name, receipt];
        await new Promise((r) => setTimeout(r, 50));
      }
      throw new Error(`${name}: no receipt of ${hash}`);
    });
    return Object.fromEntries(await Promise.all(both));
  }

  async function equal(what, ask) {
    const [a, b] = await Promise.all([ask(chains.basalt), ask(chains.anvil)]);
    assert.deepEqual(a, b, what);
    return a;
  }

  const data = () => ethers.hexlify(Uint8Array.from({ length: pick(90) }, () => pick(256)));
  const machines = () => contracts[pick(contracts.length)];
  const actions = [
    () => ({ data: machine.encodeFunctionData('store', [pick(5), pick(3)]), value: BigInt(pick(2) * pick(1000)) }),
    () => ({ data: machine.encodeFunctionData('grow', [pick(6)]) }),
    () => ({ data: machine.encodeFunctionData('shrink') }),
    () => ({ data: machine.encodeFunctionData('breed', [pick(4)]), value: BigInt(pick(100)) }),
    () => ({ data: machine.encodeFunctionData('unlucky', [pick(9)]) }),
    () => ({ data: machine.encodeFunctionData('dare', [pick(9)]) }),
    () => ({ data: machine.encodeFunctionData('pay', [[machines(), wallets[1].address, ethers.id('new').slice(0, 42)][pick(3)], pick(200)]) }),
    () => ({ data: machine.encodeFunctionData('descend', [pick(8)]) }),
    () => ({ data: machine.encodeFunctionData('hashes', [data()]) }),
    () => ({ data: machine.encodeFunctionData('burn', [pick(400)]), gasLimit: BigInt(30_000 + pick(60_000)) }),
    () => ({ data: machine.encodeFunctionData('end', [wallets[2].address]) }),
    () => ({ data: data() }),
    () => ({ value: BigInt(1 + pick(1000)) }),
  ];

  test(`${rounds} transactions lead to the same`, async () => {
    const deploy = { data: ethers.concat([bytecode, ethers.zeroPadValue('0x2a', 32)]), gasLimit: 6_000_000n, type: 2 };
    for (let n = 0; n < rounds; n++) {
      const wallet = wallets[pick(wallets.length)];
      const fresh = contracts.length === 0 || pick(12) === 0;
      const fields = fresh ? deploy : { to: machines(), type: pick(3), ...actions[pick(actions.length)]() };
      if (fields.type === 1) fields.accessList = [{ address: fields.to, storageKeys: [ethers.zeroPadValue('0x03', 32)] }];
      const { basalt, anvil: other } = await send(wallet, fields);
      const what = `SEED=${seed}, transaction ${n}: ${JSON.stringify(fields, (_, v) => (typeof v === 'bigint' ? v.toString() : v)).slice(0, 200)}`;
      assert.deepEqual(essence(basalt), essence(other), what);
      if (fresh && basalt.status === '0x1') contracts.push(basalt.contractAddress);
      const hash = basalt.transactionHash;
      const tracer = { tracer: 'callTracer', tracerConfig: { withLog: true } };
      await equal(`${what}: calls`, async (p) => calls(await p.send('debug_traceTransaction', [hash, tracer])));
      const steps = await equal(`${what}: steps`, async (p) => {
        const { structLogs, gas, failed } = await p.send('debug_traceTransaction', [hash, {}]);
        return { gas, failed, steps: structLogs.map((s) => [s.pc, s.op, s.gas, s.gasCost, s.depth, s.stack, s.storage]) };
      });
      assert.ok(!fields.data || steps.steps.length > 0, 'steps were seen');
    }
  });

  test('afterwards balances, nonces, code and storage are the same', async () => {
    for (const address of [...contracts, ...wallets.slice(1).map((w) => w.address)]) {
      for (const method of ['eth_getTransactionCount', 'eth_getCode']) await equal(`${method} ${address}`, (p) => p.send(method, [address, 'latest']));
      for (let slot = 1; slot < 4; slot++) {
        await equal(`slot ${slot} of ${address}`, (p) => p.send('eth_getStorageAt', [address, ethers.toBeHex(slot), 'latest']));
      }
      for (let key = 0; key < 11; key++) {
        const slot = ethers.keccak256(ethers.AbiCoder.defaultAbiCoder().encode(['uint256', 'uint256'], [key, 0]));
        await equal(`slots[${key}] of ${address}`, (p) => p.send('eth_getStorageAt', [address, slot, 'latest']));
      }
    }
    for (const address of contracts) await equal(`balance of ${address}`, (p) => p.send('eth_getBalance', [address, 'latest']));
  });

  test('calls, access lists and traces of calls answer the same', async () => {
    const from = wallets[0].address;
    for (const to of contracts) {
      for (const [name, args] of [['descend', [3]], ['list', [0]], ['steps', []], ['hashes', ['0x1234']]]) {
        const call = { from, to, data: machine.encodeFunctionData(name, args), gas: '0x1e8480' };
        await equal(`eth_call ${name}`, (p) => p.send('eth_call', [call, 'latest']));
        const changed = { [to]: { stateDiff: { [ethers.zeroPadValue('0x03', 32)]: ethers.zeroPadValue('0x63', 32) } } };
        await equal(`eth_call ${name}, overridden`, (p) => p.send('eth_call', [call, 'latest', changed]));
        const traced = async (p) => calls(await p.send('debug_traceCall', [call, 'latest', { tracer: 'callTracer' }]));
        await equal(`debug_traceCall ${name}`, traced);
      }
    }
  });
});
