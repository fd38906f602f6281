// The same few transactions on any chain, one block each: what the calls ask about.
import { HDNodeWallet, Interface, JsonRpcProvider, Wallet, ethers } from 'ethers';
import { compile, mnemonic, raw } from '../support.js';

/** What every signer of this file pays, tip included, so that balances are the same on all chains. */
const price = 10n ** 10n;

/** Sends them to the node at `url`; `seed` makes the accounts, so that addresses and hashes are the same elsewhere. */
export async function scenario(url, seed) {
  const provider = new JsonRpcProvider(url, 31337, { staticNetwork: true, pollingInterval: 50, cacheTimeout: -1 });
  const { abi, bytecode } = compile('Ledger');
  const ledger = new Interface(abi);
  const wallet = new Wallet(ethers.id(seed));
  const other = new Wallet(ethers.id(`${seed}, the other`));
  const rich = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/5").connect(provider);
  await (await rich.sendTransaction({ to: wallet.address, value: ethers.parseEther('5') })).wait();

  const contract = ethers.getCreateAddress({ from: wallet.address, nonce: 0 });
  const key = ethers.id('key');
  const note = (value) => ledger.encodeFunctionData('note', [key, value]);
  const eip1559 = { type: 2, maxFeePerGas: price, maxPriorityFeePerGas: price };
  const accessList = [{ address: contract, storageKeys: [ethers.zeroPadValue('0x01', 32)] }];
  const authorization = await other.authorize({ address: contract, nonce: 0, chainId: 31337 });
  const wanted = [
    { ...eip1559, data: ethers.concat([bytecode, ethers.zeroPadValue('0x2a', 32)]) },
    { type: 0, gasPrice: price, to: contract, data: note(7) },
    { type: 1, gasPrice: price, to: contract, data: note(8), accessList },
    { ...eip1559, to: contract, data: ledger.encodeFunctionData('deposit'), value: 1000n },
    { ...eip1559, to: other.address, value: 5n },
    { ...eip1559, type: 4, to: wallet.address, authorizationList: [authorization] },
    { ...eip1559, to: contract, data: ledger.encodeFunctionData('refuse'), gasLimit: 60_000n },
  ];
  const sent = [];
  for (const [nonce, fields] of wanted.entries()) {
    const signed = await wallet.signTransaction({ chainId: 31337, nonce, gasLimit: 1_500_000n, value: 0n, ...fields });
    const answer = await raw(url, { method: 'eth_sendRawTransaction', params: [signed] });
    if (answer.error) throw new Error(`${url}, transaction ${nonce}: ${answer.error.message}`);
    sent.push({ signed, ...(await receipt(url, answer.result)) });
  }
  // Further ones, signed and not sent.
  const transfer = (n) => wallet.signTransaction({ chainId: 31337, nonce: wanted.length + n, gasLimit: 21_000n, value: 1n, to: contract, ...eip1559 });
  const next = await Promise.all([0, 1, 2, 3].map(transfer));
  provider.destroy();
  return { url, wallet, other, contract, key, ledger, sent, next };
}

async function receipt(url, hash) {
  for (let left = 300; left > 0; left--) {
    const { result } = await raw(url, { method: 'eth_getTransactionReceipt', params: [hash] });
    if (result) return { hash, block: result.blockNumber, blockHash: result.blockHash };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${url}: no receipt of ${hash}`);
}
