// The benchmark's contracts are what their Solidity says: the hex beside it is what solc makes of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import solc from 'solc';

const folder = new URL('../../node/src/bench/workload/contracts/', import.meta.url);

for (const name of ['Token', 'Contended']) {
  test(`${name}.hex is compiled from ${name}.sol`, () => {
    const content = readFileSync(new URL(`${name}.sol`, folder), 'utf8');
    const input = {
      language: 'Solidity',
      sources: { [`${name}.sol`]: { content } },
      settings: {
        optimizer: { enabled: true },
        metadata: { bytecodeHash: 'none' },
        outputSelection: { '*': { '*': ['evm.bytecode.object'] } },
      },
    };
    const output = JSON.parse(solc.compile(JSON.stringify(input)));
    assert.deepEqual(output.errors ?? [], []);
    const compiled = output.contracts[`${name}.sol`][name].evm.bytecode.object;
    assert.equal(readFileSync(new URL(`${name}.hex`, folder), 'utf8').trim(), compiled);
  });
}
