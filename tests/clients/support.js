// What the client suites share: the network's addresses, the development accounts, the compiled contract.
import { readFileSync } from 'node:fs';
import solc from 'solc';

/** RPC addresses of the network under test, one per node. */
export const urls = (process.env.NETWORK_RPC ?? 'http://127.0.0.1:8545').split(',');

/** The mnemonic whose accounts every development network funds. */
export const mnemonic = 'test test test test test test test test test test test junk';
export const chainId = 31337n;

/** Compiles contracts/Ledger.sol. */
export const ledger = () => compile('Ledger');

/** Compiles a contract of contracts/, of the file's name. */
export function compile(name, settings = {}) {
  const content = readFileSync(new URL(`./contracts/${name}.sol`, import.meta.url), 'utf8');
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: 'Solidity',
        sources: { [`${name}.sol`]: { content } },
        settings: { optimizer: { enabled: true }, ...settings, outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } } },
      }),
    ),
  );
  const errors = (output.errors ?? []).filter((e) => e.severity === 'error');
  if (errors.length > 0) throw new Error(errors.map((e) => e.formattedMessage).join('\n'));
  const { abi, evm } = output.contracts[`${name}.sol`][name];
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

/** A JSON-RPC call without any client library; the whole answer. */
export async function raw(url, body) {
  const text = typeof body === 'string' ? body : JSON.stringify({ jsonrpc: '2.0', id: 1, ...body });
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
  return answer.json();
}

/** Waits until the node has executed the block; nodes are a moment apart. */
export async function reaches(url, blockNumber) {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const { result } = await raw(url, { method: 'eth_blockNumber', params: [] });
    if (BigInt(result) >= BigInt(blockNumber)) return;
    if (Date.now() > deadline) throw new Error(`${url} did not reach block ${blockNumber}; it has ${BigInt(result)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
