// eth_getProof, checked by a library that knows nothing of Basalt against the state root in the block's header.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { verifyMerkleProof } from '@ethereumjs/mpt';
import { RLP } from '@ethereumjs/rlp';
import { ContractFactory, HDNodeWallet, JsonRpcProvider, ethers } from 'ethers';
import { compile, mnemonic, raw, reaches, urls } from './support.js';

const provider = new JsonRpcProvider(urls[0], 31337, { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 });
const wallet = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/5").connect(provider);
const bytes = ethers.getBytes;

const ask = async (url, method, ...params) => {
  const { result, error } = await raw(url, { method, params });
  assert.equal(error, undefined, `${method}: ${error?.message}`);
  return result;
};

/** What the trie with this root holds at the Keccak of the key, by these nodes; null if they prove that it holds nothing. */
async function proven(root, key, nodes) {
  if (nodes.length === 0) {
    assert.equal(root, ethers.keccak256('0x80'), 'only of an empty trie is there nothing to show');
    return null;
  }
  assert.equal(ethers.keccak256(nodes[0]), root, 'the first node is the root');
  return verifyMerkleProof(bytes(ethers.keccak256(key)), nodes.map(bytes));
}

/** Checks an answer of eth_getProof, account and slots, against the state root; gives the account as the trie has it. */
async function check(stateRoot, answer, address) {
  assert.equal(answer.address.toLowerCase(), address.toLowerCase());
  const found = await proven(stateRoot, address, answer.accountProof);
  if (found === null) {
    assert.deepEqual([answer.nonce, answer.balance], ['0x0', '0x0']);
  } else {
    const [nonce, balance, storageRoot, codeHash] = RLP.decode(found).map((field) => ethers.hexlify(field));
    assert.equal(BigInt(answer.nonce), nonce === '0x' ? 0n : BigInt(nonce));
    assert.equal(BigInt(answer.balance), balance === '0x' ? 0n : BigInt(balance));
    assert.deepEqual([answer.storageHash, answer.codeHash], [storageRoot, codeHash]);
  }
  for (const { key, value, proof } of answer.storageProof) {
    const slot = await proven(answer.storageHash, ethers.zeroPadValue(ethers.toBeHex(BigInt(key)), 32), proof);
    const held = slot === null ? 0n : BigInt(ethers.hexlify(RLP.decode(slot)));
    assert.equal(held, BigInt(value), `slot ${key}`);
  }
  return found;
}

describe('eth_getProof', () => {
  const missing = '0x00000000000000000000000000000000deadbeef';
  let machine;
  let number;
  const slot = (key) => ethers.keccak256(ethers.AbiCoder.defaultAbiCoder().encode(['uint256', 'uint256'], [key, 0]));

  before(async () => {
    const { abi, bytecode } = compile('Machine');
    machine = await new ContractFactory(abi, bytecode, wallet).deploy(7);
    await machine.waitForDeployment();
    for (let key = 0; key < 12; key++) await (await machine.store(key, key * 1000)).wait();
    number = (await (await machine.grow(5)).wait()).blockNumber;
  });

  test('accounts and slots that are there, and those that are not, on every node', async () => {
    const address = await machine.getAddress();
    const keys = [...Array.from({ length: 14 }, (_, i) => slot(i)), '0x1', '0x2', '0x3', '0x63'];
    for (const url of urls) {
      await reaches(url, number);
      const block = await ask(url, 'eth_getBlockByNumber', ethers.toQuantity(number), false);
      const contract = await ask(url, 'eth_getProof', address, keys, ethers.toQuantity(number));
      assert.equal(contract.storageProof.length, keys.length);
      assert.notEqual(await check(block.stateRoot, contract, address), null);
      assert.equal(BigInt(contract.storageProof[3].value), 3000n);
      assert.equal(BigInt(contract.storageProof[0].value), 0n, 'a slot that was written with zero');
      const person = await ask(url, 'eth_getProof', wallet.address, ['0x0'], ethers.toQuantity(number));
      assert.notEqual(await check(block.stateRoot, person, wallet.address), null);
      const nobody = await ask(url, 'eth_getProof', missing, ['0x0', slot(1)], block.hash);
      assert.equal(await check(block.stateRoot, nobody, missing), null);
    }
  });

  test('an older block has its older proof', async () => {
    const address = await machine.getAddress();
    const then = number - 6;
    const [old, now] = await Promise.all([then, number].map((n) => ask(urls[0], 'eth_getBlockByNumber', ethers.toQuantity(n), false)));
    assert.notEqual(old.stateRoot, now.stateRoot);
    const answer = await ask(urls[0], 'eth_getProof', address, [slot(11), slot(2)], ethers.toQuantity(then));
    await check(old.stateRoot, answer, address);
    assert.deepEqual(answer.storageProof.map((s) => BigInt(s.value)), [0n, 2000n], 'before the last of them was stored');
  });

  test('a changed answer does not verify', async () => {
    const address = await machine.getAddress();
    const { stateRoot } = await ask(urls[0], 'eth_getBlockByNumber', ethers.toQuantity(number), false);
    const answer = await ask(urls[0], 'eth_getProof', address, [slot(2)], ethers.toQuantity(number));
    await assert.rejects(check(stateRoot, { ...answer, balance: '0x1' }, address));
    const last = answer.accountProof.at(-1);
    const forged = [...answer.accountProof.slice(0, -1), `${last.slice(0, -2)}${last.endsWith('00') ? '01' : '00'}`];
    await assert.rejects(check(stateRoot, { ...answer, accountProof: forged }, address));
    await assert.rejects(check(ethers.id('another root'), answer, address));
  });
});
