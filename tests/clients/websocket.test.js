// WebSockets under what applications do to them: thousands of subscriptions, bursts, and a node that dies and comes back.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ContractFactory, HDNodeWallet, JsonRpcProvider, Wallet, WebSocketProvider, ethers } from 'ethers';
import { createPublicClient, webSocket } from 'viem';
import { foundry } from 'viem/chains';
import { ledger, mnemonic, raw, reaches, urls } from './support.js';

const { WebSocket } = createRequire(import.meta.url)('ws');
const ws = (url) => url.replace(/^http/, 'ws');
const provider = new JsonRpcProvider(urls[0], 31337, { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 });
const rich = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/9").connect(provider);
/** What is to be closed in the end, whatever happened. */
const closing = [() => provider.destroy()];
after(() => closing.forEach((close) => close()));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until the condition holds. */
async function until(what, condition, ms = 30_000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${typeof what === 'function' ? what() : what}: not within ${ms} ms`);
    await pause(30);
  }
}

const pay = async (to = Wallet.createRandom().address, value = 1n) => (await rich.sendTransaction({ to, value })).wait();
const height = async (url) => Number((await raw(url, { method: 'eth_blockNumber', params: [] })).result);

/** An open socket that keeps what it is told, by subscription. */
async function open(url) {
  const socket = new WebSocket(ws(url));
  const told = new Map();
  const answers = new Map();
  let id = 0;
  socket.on('message', (text) => {
    const { id: of, result, error, params } = JSON.parse(text);
    if (params) told.set(params.subscription, [...(told.get(params.subscription) ?? []), params.result]);
    else answers.get(of)?.(error ? Promise.reject(new Error(error.message)) : result);
  });
  closing.push(() => socket.terminate());
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const ask = (method, ...params) =>
    new Promise((resolve) => {
      answers.set(++id, resolve);
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  return { socket, told, ask };
}

test('two thousand live subscriptions each get every head, in order', async () => {
  const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => open(urls[i % urls.length])));
  const ids = await Promise.all(clients.map((c) => Promise.all(Array.from({ length: 20 }, () => c.ask('eth_subscribe', 'newHeads')))));
  assert.equal(new Set(ids.flat()).size, 2000, 'every subscription has an id of its own');
  let last;
  for (let n = 0; n < 8; n++) last = (await pay()).blockNumber;
  const numbers = (c, id) => (c.told.get(id) ?? []).map((head) => Number(head.number)).filter((n) => n <= last);
  const behind = () => clients.flatMap((c, i) => ids[i].filter((id) => numbers(c, id).at(-1) !== last));
  await until(() => `${behind().length} subscriptions without block ${last}`, () => behind().length === 0);
  for (const [i, c] of clients.entries()) {
    for (const id of ids[i]) {
      const heads = numbers(c, id);
      assert.deepEqual(heads, Array.from({ length: heads.length }, (_, k) => heads[0] + k), 'none is missing, none comes twice');
      assert.ok(heads.length >= 7);
    }
  }
  clients.forEach((c) => c.socket.close());
});

test('200 transactions of one account, out of order, are all committed', async () => {
  const wallet = Wallet.createRandom(provider);
  await pay(wallet.address, ethers.parseEther('1'));
  const to = Wallet.createRandom().address;
  const signed = await Promise.all(
    Array.from({ length: 200 }, (_, nonce) =>
      wallet.signTransaction({ to, value: 1n, nonce, gasLimit: 21_000n, chainId: 31337n, type: 2, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n }),
    ),
  );
  const pending = await open(urls[0]);
  const seen = await pending.ask('eth_subscribe', 'newPendingTransactions');
  // An account's transactions may be up to 64 ahead of its next: so many at a time, the last first.
  for (let from = 0; from < signed.length; from += 50) {
    const burst = signed.slice(from, from + 50).reverse();
    await Promise.all(burst.map((tx) => pending.ask('eth_sendRawTransaction', tx)));
  }
  await until('200 transactions', async () => (await provider.getTransactionCount(wallet.address)) === 200);
  assert.equal(await provider.getBalance(to), 200n);
  const hashes = signed.map((tx) => ethers.keccak256(tx));
  await until('all were announced', () => hashes.every((h) => pending.told.get(seen)?.includes(h)));
  const receipts = await Promise.all(hashes.map((h) => provider.getTransactionReceipt(h)));
  const order = receipts.map((r) => r.blockNumber * 10_000 + r.index);
  assert.deepEqual(order, [...order].sort((a, b) => a - b), 'in the order of their nonces');
  pending.socket.close();
});

test('logs subscriptions get what they asked for and nothing else', async () => {
  const { abi, bytecode } = ledger();
  const contracts = [];
  for (let i = 0; i < 2; i++) {
    const contract = await new ContractFactory(abi, bytecode, rich).deploy(0);
    await contract.waitForDeployment();
    contracts.push(contract);
  }
  const client = await open(urls[urls.length - 1]);
  const address = await contracts[0].getAddress();
  const key = ethers.zeroPadValue('0x17', 32);
  const { topicHash } = contracts[0].interface.getEvent('Noted');
  await reaches(urls[urls.length - 1], await height(urls[0]));
  const mine = await client.ask('eth_subscribe', 'logs', { address });
  const keyed = await client.ask('eth_subscribe', 'logs', { topics: [topicHash, null, key] });
  const never = await client.ask('eth_subscribe', 'logs', { address: Wallet.createRandom().address });
  await (await contracts[0].note(key, 1n)).wait();
  await (await contracts[1].note(key, 2n)).wait();
  await (await contracts[0].note(ethers.zeroPadValue('0x18', 32), 3n)).wait();
  await until('the logs', () => client.told.get(mine)?.length === 2 && client.told.get(keyed)?.length === 2);
  const values = (id) => client.told.get(id).map((l) => contracts[0].interface.parseLog(l).args.value);
  assert.deepEqual([values(mine), values(keyed)], [[1n, 3n], [1n, 2n]]);
  assert.equal(client.told.get(never), undefined);
  assert.equal(await client.ask('eth_unsubscribe', mine), true);
  await (await contracts[0].note(key, 4n)).wait();
  await until('the other log', () => client.told.get(keyed).length === 3);
  assert.equal(client.told.get(mine).length, 2, 'nothing after the end');
  client.socket.close();
});

const [basalt, network] = [process.env.BASALT_BIN, process.env.NETWORK_DIR];
describe('a node dies and comes back', { skip: basalt && network ? false : 'no network of our own: BASALT_BIN and NETWORK_DIR name it' }, () => {
  const run = async (...args) => (await promisify(execFile)(basalt, ['network', ...args], { timeout: 60_000 })).stdout;
  const last = urls.length - 1;

  test('viem and ethers go on and hear of new heads and logs again', async () => {
    const { nodes } = JSON.parse(await run('status', network, '--json'));
    const { abi, bytecode } = ledger();
    const contract = await new ContractFactory(abi, bytecode, rich).deploy(0);
    await contract.waitForDeployment();
    const address = await contract.getAddress();
    // viem connects again and renews its subscriptions by itself, but gives up when its first try fails: the delay is to be
    // longer than the node is away.
    const client = createPublicClient({
      chain: foundry,
      transport: webSocket(ws(urls[last]), { keepAlive: false, reconnect: { attempts: 5, delay: 10_000 } }),
    });
    const [blocks, notes, heads] = [[], [], []];
    const endBlocks = client.watchBlockNumber({ onBlockNumber: (n) => blocks.push(Number(n)), onError: () => {} });
    const event = abi.find((f) => f.type === 'event' && f.name === 'Noted');
    const endNotes = client.watchEvent({ address, event, onLogs: (l) => notes.push(...l), onError: () => {} });
    // ethers is given a new connection whenever the old one closes, as its users do.
    let live;
    let done = false;
    const connect = () => {
      live = new WebSocketProvider(ws(urls[last]), 31337, { staticNetwork: true });
      live.websocket.on('error', () => {});
      live.websocket.on('close', () => !done && setTimeout(connect, 100));
      live.on('block', (n) => heads.push(n)).catch(() => {});
    };
    connect();
    closing.push(() => {
      done = true;
      endBlocks();
      endNotes();
      live.websocket.terminate();
      client.transport.getRpcClient().then((c) => c.close(), () => {});
    });
    const hears = async (what) => {
      const at = (await pay()).blockNumber;
      await until(() => `${what}: viem ${blocks.slice(-3)}, ethers ${heads.slice(-3)}, wanted ${at}`, async () => {
        await pay();
        return blocks.some((n) => n >= at) && heads.some((n) => n >= at);
      });
    };
    await hears('before');
    await (await contract.note(ethers.zeroPadValue('0x01', 32), 1n)).wait();
    await until('the first note', () => notes.length === 1);
    process.kill(nodes[last].pid, 'SIGKILL');
    await until('it is gone', () => height(urls[last]).then(() => false, () => true));
    const missed = (await pay()).blockNumber;
    await run('up', network, '--detach');
    await reaches(urls[last], missed);
    await hears('after');
    await (await contract.note(ethers.zeroPadValue('0x02', 32), 2n)).wait();
    await until('the second note', () => notes.some((n) => n.args.value === 2n));
  });
});

