// A development network (`basalt dev`) through viem's test client, in the modes of anvil and Hardhat, and through ethers.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { ethers } from 'ethers';
import {
  createPublicClient, createTestClient, createWalletClient, http, parseEther, parseGwei, publicActions, walletActions,
  webSocket,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { ledger, mnemonic, raw, urls } from './support.js';

const binary = process.env.BASALT_BIN;
const ether = parseEther('1');
const [alice, bob, carol] = [0, 1, 2].map((addressIndex) => mnemonicToAccount(mnemonic, { addressIndex }));
const nobody = '0x00000000000000000000000000000000000000aa';
const { abi, bytecode } = ledger();
const key = `0x${'17'.repeat(32)}`;
let node, url;

const rpc = async (method, params = []) => {
  const { result, error } = await raw(url, { method, params });
  if (error) throw Object.assign(new Error(error.message), error);
  return result;
};
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
const client = (mode) => createTestClient({ mode, chain: foundry, transport: http(url), pollingInterval: 50, cacheTime: 0 })
  .extend(publicActions).extend(walletActions);
const deploy = async (c) => {
  const hash = await c.deployContract({ account: alice, abi, bytecode, args: [0n] });
  return (await c.getTransactionReceipt({ hash })).contractAddress;
};

describe('development network', { skip: binary ? false : 'BASALT_BIN names no binary' }, () => {
  before(async () => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    node = spawn(binary, ['dev', '--port', `${port}`, '--quiet'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => {
      node.once('exit', (code) => reject(new Error(`basalt dev ended with ${code}`)));
      node.stdout.on('data', (text) => `${text}`.includes('Listening on') && resolve());
    });
    node.removeAllListeners('exit');
  });

  after(async () => {
    const ended = new Promise((resolve) => node.once('exit', resolve));
    node.kill('SIGINT');
    assert.equal(await ended, 0, 'Ctrl-C is a clean end');
  });

  for (const mode of ['anvil', 'hardhat']) {
    describe(`viem in the mode of ${mode}`, () => {
      let c, genesis;
      before(async () => {
        c = client(mode);
        genesis = await c.snapshot();
      });
      after(async () => {
        await c.revert({ id: genesis });
      });

      test('a transaction is in a block when it is sent', async () => {
        const number = await c.getBlockNumber();
        const hash = await c.sendTransaction({ account: alice, to: nobody, value: 1n });
        const receipt = await c.getTransactionReceipt({ hash });
        assert.equal(receipt.status, 'success');
        assert.equal(receipt.blockNumber, number + 1n);
        assert.equal(await c.getAutomine(), true);
      });

      test('mine, with and without an interval', async () => {
        const start = await c.getBlock();
        await c.mine({ blocks: 5 });
        const then = await c.getBlock();
        assert.equal(then.number, start.number + 5n);
        assert.ok(then.timestamp >= start.timestamp + 5n, 'time passes from block to block');
        await c.mine({ blocks: 3, interval: 60 });
        const later = await c.getBlock();
        assert.equal(later.number, then.number + 3n);
        const first = await c.getBlock({ blockNumber: then.number + 1n });
        assert.equal(later.timestamp, first.timestamp + 120n);
      });

      test('time goes forward as asked', async () => {
        const { timestamp } = await c.getBlock();
        await c.increaseTime({ seconds: 3600 });
        await c.mine({ blocks: 1 });
        const later = (await c.getBlock()).timestamp;
        assert.ok(later >= timestamp + 3600n && later < timestamp + 3660n, `${timestamp} then ${later}`);
        await c.setNextBlockTimestamp({ timestamp: later + 1000n });
        await c.setBalance({ address: nobody, value: 1n });
        assert.equal((await c.getBlock()).timestamp, later, 'an edit uses no time');
        await c.mine({ blocks: 1 });
        assert.equal((await c.getBlock()).timestamp, later + 1000n);
        await assert.rejects(c.setNextBlockTimestamp({ timestamp: later }), /lower than or equal/);
      });

      test('accounts are edited', async () => {
        const address = await deploy(c);
        await c.setBalance({ address: nobody, value: 5n * ether });
        assert.equal(await c.getBalance({ address: nobody }), 5n * ether);
        await c.setNonce({ address: nobody, nonce: 420 });
        assert.equal(await c.getTransactionCount({ address: nobody }), 420);
        await assert.rejects(c.setNonce({ address: nobody, nonce: 1 }), /must not be smaller/);
        const code = await c.getCode({ address });
        await c.setCode({ address: carol.address, bytecode: code });
        assert.equal(await c.getCode({ address: carol.address }), code);
        await c.setCode({ address: carol.address, bytecode: '0x' });
        assert.equal(await c.getCode({ address: carol.address }), undefined);
        const value = `0x${'00'.repeat(31)}2a`;
        await c.setStorageAt({ address, index: 1, value });
        assert.equal(await c.getStorageAt({ address, slot: '0x1' }), value);
        assert.equal(await c.readContract({ address, abi, functionName: 'count' }), 42n);
        const traced = await rpc('debug_traceBlockByNumber', ['latest', { tracer: 'callTracer' }]);
        assert.equal(traced[0].result.type, 'EDIT');
        const proof = await c.getProof({ address, storageKeys: [`0x${'00'.repeat(31)}01`] });
        assert.equal(proof.storageProof[0].value, 42n);
      });

      test('what the next block is like', async () => {
        await c.setNextBlockBaseFeePerGas({ baseFeePerGas: parseGwei('20') });
        assert.equal(BigInt(await rpc('eth_baseFee')), parseGwei('20'));
        await c.mine({ blocks: 1 });
        assert.equal((await c.getBlock()).baseFeePerGas, parseGwei('20'));
        await c.setCoinbase({ address: nobody });
        await c.setBlockGasLimit({ gasLimit: 12_345_678n });
        await c.mine({ blocks: 2 });
        const block = await c.getBlock();
        assert.equal(block.miner, nobody);
        assert.equal(block.gasLimit, 12_345_678n);
        assert.ok(block.baseFeePerGas < parseGwei('20'), 'the fee rules go on from there');
      });

      test('anyone sends while impersonated', async () => {
        const address = await deploy(c);
        await c.setBalance({ address, value: ether });
        await assert.rejects(c.sendTransaction({ account: address, to: bob.address, value: 1n }), /not impersonated/);
        await c.impersonateAccount({ address });
        const hash = await c.sendTransaction({ account: address, to: nobody, value: 7n });
        const [receipt, tx] = [await c.getTransactionReceipt({ hash }), await c.getTransaction({ hash })];
        assert.equal(receipt.status, 'success');
        assert.equal(receipt.from, address);
        assert.equal(tx.from, address);
        assert.equal(tx.blockHash, receipt.blockHash);
        const trace = await rpc('debug_traceTransaction', [hash, { tracer: 'callTracer' }]);
        assert.equal(trace.from, address);
        const bytes = await rpc('eth_getRawTransactionByHash', [hash]);
        await assert.rejects(rpc('eth_sendRawTransaction', [bytes]), /development transactions/);
        await c.stopImpersonatingAccount({ address });
        await assert.rejects(c.sendTransaction({ account: address, to: bob.address, value: 1n }), /not impersonated/);
        const unsigned = await c.sendUnsignedTransaction({ from: address, to: nobody, value: 1n });
        assert.equal((await c.getTransactionReceipt({ hash: unsigned })).from, address);
      });

      test('without automining transactions wait, can be dropped, and are mined on demand', async () => {
        await c.setAutomine(false);
        assert.equal(await c.getAutomine(), false);
        const [a, b] = [
          await c.sendTransaction({ account: alice, to: nobody, value: 1n }),
          await c.sendTransaction({ account: bob, to: nobody, value: 2n }),
        ];
        assert.equal((await c.getTransaction({ hash: a })).blockNumber, null);
        assert.equal((await c.getTxpoolStatus()).pending, 2);
        await c.dropTransaction({ hash: b });
        await c.mine({ blocks: 1 });
        assert.equal((await c.getTransactionReceipt({ hash: a })).status, 'success');
        await assert.rejects(c.getTransaction({ hash: b }));
        assert.equal((await fetch(`${url}/health/ready`)).status, 200);
        await c.setAutomine(true);
      });

      test('blocks at an interval', async () => {
        await c.setAutomine(false);
        await c.setIntervalMining({ interval: 1 });
        const start = await c.getBlockNumber();
        const hash = await c.sendTransaction({ account: alice, to: nobody, value: 1n });
        const receipt = await c.waitForTransactionReceipt({ hash, timeout: 15_000 });
        assert.ok(receipt.blockNumber > start);
        await c.setIntervalMining({ interval: 0 });
        await c.setAutomine(true);
      });

      test('a snapshot brings everything back', async () => {
        const address = await deploy(c);
        await c.writeContract({ account: alice, address, abi, functionName: 'note', args: [key, 1n] });
        const before = await c.getBlock();
        const balance = await c.getBalance({ address: nobody });
        const id = await c.snapshot();
        const later = await c.snapshot();
        await c.setBalance({ address: nobody, value: 77n });
        const hash = await c.writeContract({ account: alice, address, abi, functionName: 'note', args: [key, 9n] });
        await c.increaseTime({ seconds: 100_000 });
        await c.mine({ blocks: 10 });
        const top = await c.getBlock();
        await c.revert({ id });
        const back = await c.getBlock();
        assert.deepEqual(back, before);
        assert.equal(await c.getBalance({ address: nobody }), balance);
        assert.equal(await c.readContract({ address, abi, functionName: 'notes', args: [key] }), 1n);
        await assert.rejects(c.getTransactionReceipt({ hash }));
        await assert.rejects(c.getBlock({ blockHash: top.hash }));
        await assert.rejects(c.getBlock({ blockNumber: top.number }));
        assert.equal(await rpc('evm_revert', [id]), false, 'a snapshot serves once');
        assert.equal(await rpc('evm_revert', [later]), false, 'and takes later ones with it');
        await c.mine({ blocks: 1 });
        assert.ok((await c.getBlock()).timestamp < top.timestamp, 'the clock came back too');
        assert.equal((await c.getLogs({ address, fromBlock: 0n, toBlock: 'latest' })).length, 1);
        await c.writeContract({ account: alice, address, abi, functionName: 'note', args: [key, 3n] });
        assert.equal(await c.readContract({ address, abi, functionName: 'count' }), 2n);
      });
    });
  }

  test('filters and subscriptions hear what a revert removes', async () => {
    const c = client('anvil');
    const address = await deploy(c);
    const socket = createPublicClient({ chain: foundry, transport: webSocket(url.replace('http', 'ws')) });
    const heard = [];
    const { unsubscribe } = await socket.transport.subscribe({
      params: ['logs', { address }], onData: (data) => heard.push(data.result), onError: (e) => heard.push(e),
    });
    const [logs, blocks] = [await rpc('eth_newFilter', [{ address }]), await rpc('eth_newBlockFilter')];
    const id = await c.snapshot();
    const note = (value) => c.writeContract({ account: alice, address, abi, functionName: 'note', args: [key, value] });
    await note(1n);
    const [seen] = await rpc('eth_getFilterChanges', [logs]);
    assert.equal(seen.removed, false);
    assert.equal((await rpc('eth_getFilterChanges', [blocks])).length, 1);
    await note(2n);
    await c.revert({ id });
    const hash = await note(3n);
    const changes = await rpc('eth_getFilterChanges', [logs]);
    assert.deepEqual(changes[0], { ...seen, removed: true }, 'what was given out is taken back');
    assert.deepEqual(changes.slice(1).map((l) => [l.transactionHash, l.removed]), [[hash, false]]);
    const { blockHash } = await c.getTransactionReceipt({ hash });
    assert.deepEqual(await rpc('eth_getFilterChanges', [blocks]), [blockHash]);
    for (let i = 0; heard.length < 5 && i < 100; i += 1) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(heard.map((l) => l.removed), [false, false, true, true, false]);
    await unsubscribe();
    await (await socket.transport.getRpcClient()).close();
  });

  test('what waits is judged anew after a revert', async () => {
    const c = client('hardhat');
    const id = await c.snapshot();
    const nonce = await c.getTransactionCount({ address: alice.address });
    await c.sendTransaction({ account: alice, to: nobody, value: 1n });
    await c.setAutomine(false);
    const wallet = createWalletClient({ account: alice, chain: foundry, transport: http(url) });
    const hash = await wallet.sendTransaction({ to: nobody, value: 2n });
    await c.revert({ id });
    await c.mine({ blocks: 1 });
    await assert.rejects(c.getTransactionReceipt({ hash }), 'its nonce comes too early now');
    await c.setAutomine(true);
    await wallet.sendTransaction({ to: nobody, value: 3n, nonce });
    assert.equal((await c.getTransactionReceipt({ hash })).status, 'success', 'and is due once the one before it is there');
  });

  test('many transactions at once keep their order', async () => {
    const c = client('anvil');
    const start = await c.getTransactionCount({ address: alice.address });
    const hashes = await Promise.all(
      Array.from({ length: 20 }, () => rpc('eth_sendTransaction', [{ from: alice.address, to: nobody, value: '0x1' }])),
    );
    const receipts = await Promise.all(hashes.map((hash) => c.getTransactionReceipt({ hash })));
    assert.ok(receipts.every((r) => r.status === 'success'));
    assert.equal(await c.getTransactionCount({ address: alice.address }), start + 20);
  });

  test('the known accounts sign as their keys do', async () => {
    const message = '0x68656c6c6f';
    const signature = await alice.signMessage({ message: { raw: message } });
    assert.equal(await rpc('personal_sign', [message, alice.address]), signature);
    assert.equal(await rpc('eth_sign', [alice.address, message]), signature);
    const typed = {
      domain: { name: 'Test', version: '1', chainId: 31337, verifyingContract: nobody },
      types: {
        EIP712Domain: [
          { name: 'name', type: 'string' }, { name: 'version', type: 'string' },
          { name: 'chainId', type: 'uint256' }, { name: 'verifyingContract', type: 'address' },
        ],
        Mail: [{ name: 'to', type: 'address' }, { name: 'words', type: 'string[]' }],
      },
      primaryType: 'Mail',
      message: { to: bob.address, words: ['a', 'b'] },
    };
    const expected = await alice.signTypedData(typed);
    assert.equal(await rpc('eth_signTypedData_v4', [alice.address, typed]), expected);
    assert.equal(await rpc('eth_signTypedData_v4', [alice.address, JSON.stringify(typed)]), expected);
    const signed = await rpc('eth_signTransaction', [{ from: alice.address, to: nobody, value: '0x1' }]);
    assert.equal(ethers.Transaction.from(signed).from, alice.address);
    await assert.rejects(rpc('eth_sign', [nobody, message]), /unknown account/);
    const accounts = await rpc('eth_accounts');
    assert.deepEqual(accounts.slice(0, 3), [alice, bob, carol].map((a) => a.address.toLowerCase()));
  });

  test('ethers: a signer of the node, a contract, a revert with its reason', async () => {
    const provider = new ethers.JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 });
    const signer = await provider.getSigner(1);
    assert.equal(await signer.getAddress(), bob.address);
    const contract = await new ethers.ContractFactory(abi, bytecode, signer).deploy(5);
    await contract.waitForDeployment();
    await (await contract.note(key, 9)).wait();
    assert.equal(await contract.count(), 6n);
    assert.equal(await signer.signMessage('hello'), await bob.signMessage({ message: 'hello' }));
    const refused = (e) => contract.interface.parseError(e.data).name === 'NotEnough';
    await assert.rejects(contract.withdraw(1), refused);
    await provider.send('anvil_autoImpersonateAccount', [true]);
    await provider.send('hardhat_setBalance', [nobody, ethers.toQuantity(ether)]);
    const hash = await provider.send('eth_sendTransaction', [{ from: nobody, to: bob.address, value: '0x1' }]);
    const tx = await provider.getTransaction(hash);
    assert.equal(tx.from.toLowerCase(), nobody);
    await provider.send('anvil_autoImpersonateAccount', [false]);
    const edits = await provider.getBlock(tx.blockNumber - 1, true);
    assert.equal(edits.prefetchedTransactions[0].type, 0x44);
    provider.destroy();
  });

  test("what Hardhat's network helpers call", async () => {
    assert.match(await rpc('web3_clientVersion'), /^anvil.*basalt/, 'else they refuse to work');
    const latest = async () => BigInt((await rpc('eth_getBlockByNumber', ['latest', false])).timestamp);
    const start = await latest();
    await rpc('evm_increaseTime', ['0x64']);
    await rpc('hardhat_mine', []);
    assert.ok((await latest()) >= start + 100n);
    const number = BigInt(await rpc('eth_blockNumber'));
    await rpc('hardhat_mine', ['0x3e8', '0x1']);
    assert.equal(BigInt(await rpc('eth_blockNumber')), number + 1000n);
    await rpc('evm_mine', [Number(await latest()) + 50]);
    await rpc('evm_mine', [{ blocks: 2 }]);
    const metadata = await rpc('hardhat_metadata');
    assert.equal(metadata.chainId, 31337);
    assert.equal(BigInt(metadata.latestBlockNumber), number + 1003n);
    const info = await rpc('anvil_nodeInfo');
    assert.equal(BigInt(info.currentBlockNumber), number + 1003n);
    assert.equal(info.environment.chainId, 31337);
    await rpc('anvil_setBlockTimestampInterval', [10]);
    const then = await latest();
    await rpc('evm_mine');
    assert.equal(await latest(), then + 10n);
    assert.equal(await rpc('anvil_removeBlockTimestampInterval'), true);
    await assert.rejects(rpc('hardhat_reset', [{ forking: { jsonRpcUrl: 'http://x' } }]), /forking/);
  });

  test('what would break the chain itself is refused', async () => {
    const validators = '0x000000000000000000000000000000000b450001';
    const system = '0xfffffffffffffffffffffffffffffffffffffffe';
    assert.notEqual(await rpc('eth_getCode', [validators, 'latest']), '0x');
    await assert.rejects(rpc('hardhat_setCode', [validators, '0x']), /validator contract/);
    await assert.rejects(rpc('anvil_setStorageAt', [validators, '0x0', `0x${'00'.repeat(32)}`]), /validator contract/);
    await assert.rejects(rpc('hardhat_impersonateAccount', [system]), /protocol's own account/);
    await assert.rejects(rpc('eth_sendUnsignedTransaction', [{ from: system, to: validators }]), /protocol's own account/);
    await assert.rejects(rpc('evm_setBlockGasLimit', ['0x1']), /between/);
    await assert.rejects(rpc('hardhat_mine', ['0xffffffff']), /the limit is/);
    await assert.rejects(rpc('evm_increaseTime', ['0xffffffffffffffff']), /latest time/);
    await assert.rejects(rpc('hardhat_setCode', [nobody, `0x${'00'.repeat(140_000)}`]), /too large/);
  });

  test('reset goes back to genesis', async () => {
    const c = client('hardhat');
    await c.mine({ blocks: 1 });
    await c.reset();
    assert.equal(await c.getBlockNumber(), 0n);
    assert.equal(await c.getBalance({ address: alice.address }), 10_000n * ether);
    await c.sendTransaction({ account: alice, to: nobody, value: 1n });
    assert.equal(await c.getBlockNumber(), 1n);
  });

  const network = process.env.NETWORK_RPC ? false : 'NETWORK_RPC names no network';
  test('a network with votes has none of this', { skip: network }, async () => {
    for (const method of ['evm_snapshot', 'hardhat_setBalance', 'anvil_impersonateAccount']) {
      const { error } = await raw(urls[0], { method, params: [] });
      assert.equal(error.code, -32601);
      assert.match(error.message, /only development networks have it; start one with `basalt dev`/);
    }
  });
});
