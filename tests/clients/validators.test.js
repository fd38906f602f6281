// The validator contract as any client sees it: its views agree with the node's own answers, and a stranger has no vote.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Contract, HDNodeWallet, JsonRpcProvider } from 'ethers';
import { mnemonic, raw, urls } from './support.js';

const address = '0x000000000000000000000000000000000B450001';
const { abi } = JSON.parse(readFileSync(new URL('../../contracts/artefacts/Validators.json', import.meta.url), 'utf8'));

test('the set by the contract is the set by the node', async () => {
  const provider = new JsonRpcProvider(urls[0]);
  const contract = new Contract(address, abi, provider);
  const members = await contract.validators();
  const { result } = await raw(urls[0], { method: 'consensus_validators', params: [] });
  assert.equal(members.length, result.length);
  members.forEach((m, i) => {
    assert.equal(m.key, `0x${result[i].publicKey}`);
    assert.equal(m.account.toLowerCase(), result[i].address.toLowerCase());
  });
  assert.equal(await contract.quorum(members.length), BigInt(Math.floor((members.length + Math.floor((members.length - 1) / 3)) / 2) + 1));
  assert.deepEqual([...(await contract.openProposals())], []);
  provider.destroy();
});

test('a stranger has no vote, and is told so', async () => {
  const provider = new JsonRpcProvider(urls[0]);
  const stranger = HDNodeWallet.fromPhrase(mnemonic).connect(provider);
  const contract = new Contract(address, abi, stranger);
  const key = (await contract.validators())[0].key;
  await assert.rejects(contract.proposeRemove(key), /only a current validator may do this/);
  provider.destroy();
});
