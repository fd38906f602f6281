// Foundry's cast against each node.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, test } from 'node:test';
import { reaches, urls } from './support.js';

const binary = process.env.CAST ?? fileURLToPath(new URL('./node_modules/.bin/cast', import.meta.url));
const skip = existsSync(binary) ? false : 'no cast for this kind of machine; set CAST to one';
// Account 3 of the development mnemonic.
const key = '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6';
const sender = '0x90F79bf6EB2c4f870365E785982E1f101E93b906';
const to = '0x000000000000000000000000000000000000ca57';

const run = async (...args) => (await promisify(execFile)(binary, args, { timeout: 60_000 })).stdout.trim();

describe('cast', { skip }, () => {
  for (const [i, url] of urls.entries()) {
    test(`send, receipt, balance and block on node ${i}`, async () => {
      const rpc = ['--rpc-url', url];
      assert.equal(await run('chain-id', ...rpc), '31337');
      const before = BigInt(await run('balance', to, ...rpc));
      const nonce = Number(await run('nonce', sender, ...rpc));
      const receipt = JSON.parse(await run('send', to, '--value', '5', '--private-key', key, '--json', ...rpc));
      assert.equal(BigInt(receipt.status), 1n);
      assert.equal(BigInt(await run('balance', to, ...rpc)), before + 5n);
      assert.equal(Number(await run('nonce', sender, ...rpc)), nonce + 1);
      const block = JSON.parse(await run('block', BigInt(receipt.blockNumber).toString(), '--json', ...rpc));
      assert.equal(block.hash, receipt.blockHash);
      assert.ok(block.transactions.includes(receipt.transactionHash));
      const again = JSON.parse(await run('receipt', receipt.transactionHash, '--json', ...rpc));
      assert.equal(again.blockHash, receipt.blockHash);
      const transaction = JSON.parse(await run('tx', receipt.transactionHash, '--json', ...rpc));
      assert.equal(transaction.from.toLowerCase(), sender.toLowerCase());
      // The next node is asked for this sender's nonce: it must have the block by then.
      await Promise.all(urls.map((other) => reaches(other, receipt.blockNumber)));
    });
  }

  test('what is refused says why', async () => {
    const send = run('send', to, '--value', '1000000ether', '--private-key', key, '--rpc-url', urls[0]);
    await assert.rejects(send, (e) => /insufficient funds/i.test(e.stderr));
  });
});
