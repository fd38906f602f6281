// ethers 6 against every node: deploy, call, logs, errors as its users expect them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { Contract, ContractFactory, HDNodeWallet, JsonRpcProvider, WebSocketProvider, Wallet, ethers } from 'ethers';
import { chainId, ledger, mnemonic, raw, reaches, urls } from './support.js';

// No caching of answers: a nonce read again after a fast block must be the new one.
const options = { pollingInterval: 100, batchMaxCount: 20, cacheTimeout: -1 };
const providers = urls.map((url) => new JsonRpcProvider(url, undefined, options));
const account = (index, provider) =>
  HDNodeWallet.fromPhrase(mnemonic, undefined, `m/44'/60'/0'/0/${index}`).connect(provider);
after(() => providers.forEach((p) => p.destroy()));

describe('network', () => {
  test('every node says the same chain id, client and genesis', async () => {
    const genesis = new Set();
    for (const p of providers) {
      assert.equal((await p.getNetwork()).chainId, chainId);
      assert.match(await p.send('web3_clientVersion', []), /^basalt\//i);
      assert.equal(await p.send('net_version', []), chainId.toString());
      genesis.add((await p.getBlock(0)).hash);
    }
    assert.equal(genesis.size, 1);
  });

  test('the development accounts are funded', async () => {
    // The last ones are used by no other test.
    for (const index of [8, 9]) {
      const wallet = account(index, providers[0]);
      for (const p of providers) assert.equal(await p.getBalance(wallet.address), ethers.parseEther('10000'));
    }
  });

  test('WebSocket serves the same chain', async () => {
    const p = new WebSocketProvider(urls[0].replace('http', 'ws'));
    try {
      assert.equal((await p.getBlock(0)).hash, (await providers[0].getBlock(0)).hash);
      assert.equal((await p.getNetwork()).chainId, chainId);
    } finally {
      await p.destroy();
    }
  });
});

describe('contract', () => {
  const { abi, bytecode } = ledger();
  let address;
  let deployedIn;

  before(async () => {
    const contract = await new ContractFactory(abi, bytecode, account(0, providers[0])).deploy(7);
    await contract.waitForDeployment();
    address = await contract.getAddress();
    const receipt = await contract.deploymentTransaction().wait();
    assert.equal(receipt.status, 1);
    assert.equal(receipt.contractAddress, address);
    deployedIn = receipt.blockNumber;
  });

  test('deployed by one node, it is called by every node', async () => {
    for (const [i, p] of providers.entries()) {
      await reaches(urls[i], deployedIn);
      const contract = new Contract(address, abi, p);
      assert.equal(await contract.count(), 7n);
      assert.equal(await contract.owner(), account(0).address);
      assert.notEqual(await p.getCode(address), '0x');
    }
  });

  test('written through each node in turn; receipt and logs are right on every node', async () => {
    for (const [i, p] of providers.entries()) {
      const wallet = account(0, p);
      const contract = new Contract(address, abi, wallet);
      const key = ethers.id(`written by node ${i}`);
      const sent = await contract.note(key, 100 + i);
      const receipt = await sent.wait();
      assert.equal(receipt.status, 1);
      assert.equal(receipt.from, wallet.address);
      assert.equal(receipt.to, address);
      assert.ok(receipt.gasUsed > 21_000n && receipt.cumulativeGasUsed >= receipt.gasUsed);
      assert.equal(receipt.logs.length, 1);
      const event = receipt.logs[0];
      assert.equal(event.eventName, 'Noted');
      assert.deepEqual([...event.args], [wallet.address, key, 100n + BigInt(i)]);
      for (const [j, other] of providers.entries()) {
        await reaches(urls[j], receipt.blockNumber);
        assert.equal(await new Contract(address, abi, other).notes(key), 100n + BigInt(i));
        const block = await other.getBlock(receipt.blockNumber, true);
        assert.equal(block.hash, receipt.blockHash);
        assert.equal(block.prefetchedTransactions[receipt.index].hash, sent.hash);
        const same = await other.getTransactionReceipt(sent.hash);
        assert.equal(same.blockHash, receipt.blockHash);
        assert.equal(same.logs[0].data, event.data);
        const found = await other.getLogs({
          address,
          topics: [ethers.id('Noted(address,bytes32,uint256)'), null, key],
          fromBlock: deployedIn,
          toBlock: 'latest',
        });
        assert.equal(found.length, 1);
        assert.equal(found[0].transactionHash, sent.hash);
      }
    }
    assert.equal(await new Contract(address, abi, providers[0]).count(), 7n + BigInt(providers.length));
  });

  test('a revert carries its reason, custom error or panic', async () => {
    const contract = new Contract(address, abi, account(0, providers[1]));
    await reaches(urls[1], deployedIn);
    await assert.rejects(contract.refuse.staticCall(), { code: 'CALL_EXCEPTION', reason: 'refused on purpose' });
    const custom = await contract.withdraw.staticCall(5).then(() => null, (e) => e);
    assert.equal(custom.code, 'CALL_EXCEPTION');
    assert.equal(custom.revert.name, 'NotEnough');
    assert.deepEqual([...custom.revert.args], [5n, 0n]);
    const panic = await contract.overflow.staticCall(1).then(() => null, (e) => e);
    assert.equal(panic.revert.name, 'Panic');
    // Estimating runs the call, so the wallet hears it before anything is sent.
    await assert.rejects(contract.refuse.estimateGas(), { code: 'CALL_EXCEPTION', reason: 'refused on purpose' });
  });

  test('a transaction that reverts is in a block, with status 0', async () => {
    const contract = new Contract(address, abi, account(0, providers[2]));
    // .send: the method is pure, so ethers would only call it.
    const sent = await contract.refuse.send({ gasLimit: 100_000n });
    await assert.rejects(sent.wait(), (e) => e.code === 'CALL_EXCEPTION' && e.receipt.status === 0);
  });

  test('value goes in and out', async () => {
    const contract = new Contract(address, abi, account(0, providers[3 % providers.length]));
    await (await contract.deposit({ value: 1000n })).wait();
    assert.equal(await contract.runner.provider.getBalance(address), 1000n);
    await (await contract.withdraw(400n)).wait();
    assert.equal(await contract.runner.provider.getBalance(address), 600n);
  });
});

describe('transaction types', () => {
  const to = Wallet.createRandom().address;
  let total = 0n;
  for (const [name, fields] of [
    ['legacy', { type: 0 }],
    ['access list (EIP-2930)', { type: 1, accessList: [{ address: to, storageKeys: [] }] }],
    ['dynamic fee (EIP-1559)', { type: 2 }],
  ]) {
    test(name, async () => {
      const wallet = account(1, providers[0]);
      const sent = await wallet.sendTransaction({ to, value: 11n, ...fields });
      const receipt = await sent.wait();
      assert.equal(receipt.type, fields.type);
      const balance = await providers[0].getBalance(to);
      total += 11n;
      assert.equal(balance, total);
      const read = await providers[0].getTransaction(sent.hash);
      assert.equal(read.type, fields.type);
      assert.equal(read.from, wallet.address);
      assert.equal(read.chainId, chainId);
    });
  }

  test('set code (EIP-7702)', async () => {
    const wallet = account(1, providers[0]);
    const authority = account(7, providers[0]);
    const { abi, bytecode } = ledger();
    const target = await new ContractFactory(abi, bytecode, wallet).deploy(0);
    await target.waitForDeployment();
    const authorization = await authority.authorize({
      address: await target.getAddress(),
      nonce: await authority.getNonce(),
      chainId,
    });
    const sent = await wallet.sendTransaction({ type: 4, to: wallet.address, authorizationList: [authorization] });
    assert.equal((await sent.wait()).status, 1);
    const code = await providers[0].getCode(authority.address);
    assert.equal(code.toLowerCase(), `0xef0100${(await target.getAddress()).slice(2)}`.toLowerCase());
  });
});

describe('refusals', () => {
  const wallet = () => account(4, providers[0]);
  const transfer = (fields) => wallet().sendTransaction({ to: wallet().address, value: 1n, ...fields });

  test('nonce too low', async () => {
    await (await transfer({})).wait();
    await assert.rejects(transfer({ nonce: 0 }), { code: 'NONCE_EXPIRED' });
  });

  test('nonce more than 64 ahead', async () => {
    const nonce = await wallet().getNonce();
    await assert.rejects(transfer({ nonce: nonce + 65 }), (e) => /nonce/i.test(e.error?.message ?? e.message));
  });

  test('a gap is filled: the waiting transaction runs after the missing one', async () => {
    const nonce = await wallet().getNonce();
    const second = await transfer({ nonce: nonce + 1 });
    const first = await transfer({ nonce });
    const [a, b] = [await first.wait(), await second.wait()];
    assert.ok(a.blockNumber < b.blockNumber || (a.blockNumber === b.blockNumber && a.index < b.index));
  });

  test('insufficient funds', async () => {
    await assert.rejects(transfer({ value: ethers.parseEther('1000000'), gasLimit: 21_000n }), {
      code: 'INSUFFICIENT_FUNDS',
    });
  });

  test('wrong chain id', async () => {
    const signed = await wallet().signTransaction({
      to: wallet().address,
      nonce: await wallet().getNonce(),
      gasLimit: 21_000n,
      maxFeePerGas: 10n ** 10n,
      maxPriorityFeePerGas: 1n,
      chainId: 1n,
      type: 2,
    });
    const { error } = await raw(urls[0], { method: 'eth_sendRawTransaction', params: [signed] });
    assert.equal(error.code, -32000);
    assert.match(error.message, /chain id/i);
  });

  test('a changed signature pays from nobody', async () => {
    const signed = await wallet().signTransaction({
      to: wallet().address,
      nonce: await wallet().getNonce(),
      gasLimit: 21_000n,
      maxFeePerGas: 10n ** 10n,
      maxPriorityFeePerGas: 1n,
      chainId,
      type: 2,
    });
    // Another s in the last bytes: either no signature at all, or that of an account without funds.
    const changed = `${signed.slice(0, -8)}${signed.slice(-8) === 'ffffffff' ? '00000000' : 'ffffffff'}`;
    const { error } = await raw(urls[0], { method: 'eth_sendRawTransaction', params: [changed] });
    assert.equal(error.code, -32000);
  });

  test('bytes that are no transaction, a wrong parameter, an unknown method, no JSON', async () => {
    const ask = async (method, params) => (await raw(urls[0], { method, params })).error;
    assert.ok([-32000, -32602].includes((await ask('eth_sendRawTransaction', ['0x02c0'])).code));
    assert.equal((await ask('eth_getBalance', ['not an address', 'latest'])).code, -32602);
    assert.equal((await ask('eth_nonsense', [])).code, -32601);
    assert.equal((await raw(urls[0], '{"jsonrpc":')).error.code, -32700);
    assert.equal((await raw(urls[0], '[]')).error.code, -32600);
  });
});

const basalt = process.env.BASALT_BIN;
describe('native transactions', { skip: basalt ? false : 'no binary named by BASALT_BIN' }, () => {
  const to = '0x00000000000000000000000000000000000a71fe';

  test('one sent by the command line is readable by ethers on every node', async () => {
    const args = ['tx', 'send', '--dev-account', '1', '--to', to, '--value', '3', '--rpc', urls[1 % urls.length], '--json'];
    const { hash } = JSON.parse((await promisify(execFile)(basalt, args, { timeout: 60_000 })).stdout);
    const { blockNumber } = await providers[1 % providers.length].getTransactionReceipt(hash);
    for (const [i, p] of providers.entries()) {
      await reaches(urls[i], blockNumber);
      assert.equal(await p.getBalance(to), 3n);
      const [tx, receipt] = [await p.getTransaction(hash), await p.getTransactionReceipt(hash)];
      assert.equal(receipt.status, 1);
      assert.equal(receipt.gasUsed, 21_000n);
      assert.equal(tx.value, 3n);
      assert.equal(tx.from, receipt.from);
      const block = await p.getBlock(blockNumber, true);
      assert.ok(block.prefetchedTransactions.some((t) => t.hash === hash));
    }
  });
});
