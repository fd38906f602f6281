// The same random transactions to Basalt and to anvil: receipts, gas, logs, return data, traces and storage must be equal.
//
//   SEED=… node --test differential.test.js      repeats a run; every failure prints its seed
//   ROUNDS=5000 …                                how many transactions
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createMPT } from '@ethereumjs/mpt';
import { RLP } from '@ethereumjs/rlp';
import { HDNodeWallet, Wallet, ethers } from 'ethers';
import { actions, contracts } from './differential/actions.js';
import { deliver, essence, frame, prestate, random, start, steps, transactionFrame } from './differential/chains.js';
import { mnemonic, urls } from './support.js';

const binary = process.env.ANVIL ?? fileURLToPath(new URL('./node_modules/.bin/anvil', import.meta.url));
const skip = existsSync(binary) ? false : 'no anvil for this kind of machine; set ANVIL to one';
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const rounds = Number(process.env.ROUNDS ?? 120);
const print = (fields) => JSON.stringify(fields, (_, v) => (typeof v === 'bigint' ? v.toString() : v)).slice(0, 400);

describe(`random transactions on Basalt and anvil, SEED=${seed}`, { skip }, () => {
  const pick = random(seed);
  // Accounts of this run alone, so that nonces, contract addresses and who exists already are the same on both.
  const run = `differential ${seed} ${Date.now()}`;
  const wallets = [0, 1, 2].map((i) => new Wallet(ethers.id(`${run} ${i}`)));
  const world = { run, pick, wallets, machines: [], workshops: [], ...(skip ? {} : contracts()) };
  const all = skip ? {} : actions(world);
  const counts = {};
  /** Slots of each account that were ever read or written. */
  const touched = {};
  const payers = new Set(wallets.map((w) => w.address.toLowerCase()));
  let chains;
  let stop;

  before(async () => {
    ({ chains, stop } = await start(binary, urls[0]));
    const rich = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/6");
    for (const p of Object.values(chains)) {
      for (const w of wallets) await (await rich.connect(p).sendTransaction({ to: w.address, value: ethers.parseEther('50') })).wait();
    }
  });
  after(() => stop?.());

  async function equal(what, ask) {
    const [a, b] = await Promise.all([ask(chains.basalt), ask(chains.anvil)]);
    assert.deepEqual(a, b, what);
    return a;
  }

  /** Signs for both chains; the nonce is one that both agree on. */
  async function sign(wallet, { keep, ...fields }) {
    const nonce = await equal(`nonce of ${wallet.address}`, (p) => p.send('eth_getTransactionCount', [wallet.address, 'latest']));
    const fee = 10n ** 10n;
    const fees = fields.type === 2 || fields.type === 4 ? { maxFeePerGas: fee, maxPriorityFeePerGas: 1n } : { gasPrice: fee };
    return wallet.signTransaction({ chainId: 31337, nonce: Number(nonce), gasLimit: 2_000_000n, value: 0n, ...fees, ...fields });
  }

  /** A type, and what belongs to it. */
  async function typed(wallet, fields) {
    const type = fields.to === null ? pick(3) : [0, 1, 2, 2, 4][pick(5)];
    if (type === 1) {
      const storageKeys = Array.from({ length: pick(4) }, (_, i) => ethers.zeroPadValue(ethers.toBeHex(i), 32));
      return { ...fields, type, accessList: [{ address: fields.to ?? wallet.address, storageKeys }] };
    }
    if (type === 4) return { ...fields, type, authorizationList: await authorizations(wallet) };
    return { ...fields, type };
  }

  /** Good ones, ones with a wrong nonce or chain, and ones that take the code away again (EIP-7702). */
  async function authorizations(sender) {
    const list = [];
    for (let left = 1 + pick(3); left > 0; left--) {
      const authority = wallets[pick(wallets.length)];
      const nonce = Number(await chains.basalt.send('eth_getTransactionCount', [authority.address, 'latest']));
      const address = pick(3) ? world.workshops[pick(world.workshops.length)] : ethers.ZeroAddress;
      list.push(
        authority.authorizeSync({
          address,
          chainId: [31337n, 31337n, 0n, 1n][pick(4)],
          nonce: nonce + (authority === sender ? 1 : 0) + (pick(5) ? 0 : 1),
        }),
      );
    }
    return list;
  }

  async function deploy(name, list) {
    const args = name === 'Machine' ? ethers.zeroPadValue('0x2a', 32) : '0x';
    const fields = { to: null, data: ethers.concat([world[name].bytecode, args]), gasLimit: 6_000_000n, type: 2, keep: list };
    await round(-1, `deploy ${name}`, wallets[0], fields);
  }

  /** One transaction on both, and everything about it compared. */
  async function round(n, name, wallet, fields) {
    const signed = await sign(wallet, fields);
    const what = `SEED=${seed}, transaction ${n}, ${name}: ${print(fields)}`;
    const [basalt, anvil] = await Promise.all([deliver(chains.basalt, signed), deliver(chains.anvil, signed)]);
    assert.equal(basalt.forgotten, undefined, `${what}: Basalt took it and forgot it`);
    const outcome = basalt.refused ? 'refused' : basalt.status === '0x1' ? 'done' : 'failed';
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    if (basalt.refused || anvil.refused) {
      assert.ok(basalt.refused && anvil.refused, `${what}: Basalt said ${basalt.refused}, anvil ${anvil.refused}`);
      return;
    }
    assert.deepEqual(essence(basalt), essence(anvil), what);
    if (fields.keep && basalt.status === '0x1') world[fields.keep].push(basalt.contractAddress);
    await traces(what, basalt, fields);
  }

  function note(found) {
    for (const [address, { storage }] of Object.entries(found)) {
      const slots = (touched[address.toLowerCase()] ??= new Set());
      for (const slot of Object.keys(storage ?? {})) slots.add(slot);
    }
  }

  async function traces(what, { transactionHash: hash, gasUsed }, fields) {
    const trace = (p, options) => p.send('debug_traceTransaction', [hash, options]);
    const tracer = { tracer: 'callTracer', tracerConfig: { withLog: true } };
    await equal(`${what}: calls`, async (p) => transactionFrame(await trace(p, tracer)));
    const top = await trace(chains.basalt, { tracer: 'callTracer', tracerConfig: { onlyTopCall: true } });
    assert.equal(BigInt(top.gas), BigInt(fields.gasLimit ?? 2_000_000n), `${what}: the outermost gas is the limit, as geth has it`);
    await equal(`${what}: prestate`, async (p) => {
      const { blockNumber } = await p.send('eth_getTransactionReceipt', [hash]);
      const { miner } = await p.send('eth_getBlockByNumber', [blockNumber, false]);
      const found = await trace(p, { tracer: 'prestateTracer' });
      note(found);
      return prestate(found, { payers, miner });
    });
    // With memory only where that is not too much for the limit of a trace.
    const enableMemory = BigInt(gasUsed) < 50_000n;
    await equal(`${what}: steps`, async (p) => steps(await trace(p, { enableMemory })));
  }

  test(`${rounds} transactions lead to the same`, async (t) => {
    const names = Object.keys(all);
    for (let n = 0; n < rounds; n++) {
      if (n % 40 === 0) {
        await deploy('Machine', 'machines');
        await deploy('Workshop', 'workshops');
      }
      const wallet = wallets[pick(wallets.length)];
      const name = names[pick(names.length)];
      await round(n, name, wallet, await typed(wallet, all[name]()));
    }
    t.diagnostic(`SEED=${seed}: ${JSON.stringify(counts)}`);
    assert.ok(counts.done > rounds / 3 && counts.failed > 0, 'some went well and some did not');
  });

  /** The storage root of what anvil has in the slots. (Its own storageHash counts slots of zero, which no trie holds.) */
  async function storageRoot(address) {
    const trie = await createMPT({ useKeyHashing: true });
    for (const slot of touched[address.toLowerCase()] ?? []) {
      const value = await equal(`slot ${slot} of ${address}`, (p) => p.send('eth_getStorageAt', [address, slot, 'latest']));
      if (BigInt(value) !== 0n) await trie.put(ethers.getBytes(slot), RLP.encode(BigInt(value)));
    }
    return ethers.hexlify(trie.root());
  }

  test('afterwards nonces, code, balances, storage and its roots are the same', async () => {
    for (const address of [...world.machines, ...world.workshops, ...payers]) {
      const proof = async (p) => {
        const { balance, nonce, codeHash } = await p.send('eth_getProof', [address, [], 'latest']);
        return { balance: payers.has(address) ? null : balance, nonce, codeHash };
      };
      await equal(`account ${address}`, proof);
      await equal(`code of ${address}`, (p) => p.send('eth_getCode', [address, 'latest']));
      const { storageHash } = await chains.basalt.send('eth_getProof', [address, [], 'latest']);
      assert.equal(storageHash, await storageRoot(address), `SEED=${seed}: storage root of ${address}`);
    }
  });

  test('calls, access lists and traces of calls answer the same', async () => {
    const from = wallets[0].address;
    const { face } = world.Machine;
    for (const to of world.machines.slice(0, 8)) {
      for (const [name, args] of [['descend', [3]], ['list', [0]], ['steps', []], ['hashes', ['0x1234']]]) {
        const call = { from, to, data: face.encodeFunctionData(name, args), gas: '0x1e8480' };
        await equal(`eth_call ${name}`, (p) => p.send('eth_call', [call, 'latest']).catch((e) => e.error?.data ?? 'fails'));
        const changed = { [to]: { stateDiff: { [ethers.zeroPadValue('0x03', 32)]: ethers.zeroPadValue('0x63', 32) } } };
        await equal(`eth_call ${name}, overridden`, (p) => p.send('eth_call', [call, 'latest', changed]).catch((e) => e.error?.data ?? 'fails'));
        const traced = async (p) => transactionFrame(await p.send('debug_traceCall', [call, 'latest', { tracer: 'callTracer' }]));
        await equal(`debug_traceCall ${name}`, traced);
      }
    }
  });
});
