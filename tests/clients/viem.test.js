// viem 2: reads, a transfer, a contract, and the error classes that applications match on.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import {
  BaseError, ContractFunctionRevertedError, InsufficientFundsError, NonceTooLowError,
  createPublicClient, createWalletClient, http, parseEther,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { ledger, mnemonic, reaches, urls } from './support.js';

const readers = urls.map((url) =>
  createPublicClient({ chain: foundry, transport: http(url), pollingInterval: 100, cacheTime: 0 }),
);
const account = mnemonicToAccount(mnemonic, { addressIndex: 2 });
const writer = (url) => createWalletClient({ account, chain: foundry, transport: http(url), pollingInterval: 100 });
/** Whether an error of this class is in the chain of causes. */
const caused = (kind) => (e) => e instanceof BaseError && e.walk((c) => c instanceof kind) instanceof kind;

test('chain id, block and fees are readable on every node', async () => {
  for (const client of readers) {
    assert.equal(await client.getChainId(), 31337);
    const block = await client.getBlock({ blockTag: 'latest', includeTransactions: true });
    assert.ok(block.hash && block.timestamp > 0n && block.gasLimit > 0n);
    assert.equal((await client.getBlock({ blockHash: block.hash })).number, block.number);
    assert.ok((await client.getBlock({ blockTag: 'finalized' })).number <= block.number + 1n);
    assert.ok((await client.estimateFeesPerGas()).maxFeePerGas >= 0n);
  }
});

test('a transfer sent through each node is paid on all of them', async () => {
  const to = '0x00000000000000000000000000000000000f1e1d';
  const earlier = await readers[0].getBalance({ address: to });
  for (const [i, url] of urls.entries()) {
    const hash = await writer(url).sendTransaction({ to, value: parseEther('0.5') });
    const receipt = await readers[i].waitForTransactionReceipt({ hash, timeout: 15_000 });
    assert.equal(receipt.status, 'success');
    assert.equal(receipt.gasUsed, 21_000n);
    for (const [j, other] of urls.entries()) {
      await reaches(other, receipt.blockNumber);
      assert.equal(await readers[j].getBalance({ address: to }), earlier + parseEther('0.5') * BigInt(i + 1));
      const [a, b] = [await readers[j].getTransaction({ hash }), await readers[j].getTransactionReceipt({ hash })];
      assert.equal(a.blockHash, receipt.blockHash);
      assert.equal(b.transactionIndex, a.transactionIndex);
    }
  }
});

test('a contract: deploy, simulate, write, read its events', async () => {
  const { abi, bytecode } = ledger();
  const [client, wallet] = [readers[0], writer(urls[0])];
  const created = await client.waitForTransactionReceipt({
    hash: await wallet.deployContract({ abi, bytecode, args: [0n] }),
  });
  const address = created.contractAddress;
  const key = `0x${'17'.repeat(32)}`;
  const { request, result } = await client.simulateContract({ account, address, abi, functionName: 'note', args: [key, 9n] });
  assert.equal(result, 1n);
  const receipt = await client.waitForTransactionReceipt({ hash: await wallet.writeContract(request) });
  assert.equal(await client.readContract({ address, abi, functionName: 'notes', args: [key] }), 9n);
  const events = await client.getContractEvents({
    address, abi, eventName: 'Noted', args: { key }, fromBlock: created.blockNumber, toBlock: receipt.blockNumber,
  });
  assert.equal(events.length, 1);
  assert.equal(events[0].args.value, 9n);
  await assert.rejects(
    client.simulateContract({ account, address, abi, functionName: 'refuse' }),
    (e) => e.walk((c) => c instanceof ContractFunctionRevertedError)?.reason === 'refused on purpose',
  );
});

describe('refusals', () => {
  const to = account.address;
  test('too little balance', async () => {
    await assert.rejects(writer(urls[0]).sendTransaction({ to, value: parseEther('1000000'), gas: 21_000n }), caused(InsufficientFundsError));
  });
  test('nonce too low', async () => {
    await assert.rejects(writer(urls[0]).sendTransaction({ to, value: 1n, nonce: 0, gas: 21_000n }), caused(NonceTooLowError));
  });
});

const basalt = process.env.BASALT_BIN;
test('a block with a native transaction is readable', { skip: basalt ? false : 'no binary named by BASALT_BIN' }, async () => {
  const to = '0x00000000000000000000000000000000000a71ff';
  const args = ['tx', 'send', '--dev-account', '2', '--to', to, '--value', '3', '--rpc', urls[0], '--json'];
  const { hash } = JSON.parse((await promisify(execFile)(basalt, args, { timeout: 60_000 })).stdout);
  const receipt = await readers[0].getTransactionReceipt({ hash });
  assert.equal(receipt.status, 'success');
  assert.equal((await readers[0].getTransaction({ hash })).value, 3n);
  const block = await readers[0].getBlock({ blockNumber: receipt.blockNumber, includeTransactions: true });
  assert.ok(block.transactions.some((t) => t.hash === hash));
});
