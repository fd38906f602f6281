// A project as its developer would have it; only the network is Basalt, and the compiler is the one that npm installed.
import { createRequire } from 'node:module';
import hardhatToolboxMochaEthers from '@nomicfoundation/hardhat-toolbox-mocha-ethers';
import hardhatUpgrades from '@openzeppelin/hardhat-upgrades';
import { defineConfig } from 'hardhat/config';

export default defineConfig({
  plugins: [hardhatToolboxMochaEthers, hardhatUpgrades],
  solidity: {
    version: '0.8.37',
    path: createRequire(import.meta.url).resolve('solc/soljson.js'),
    settings: { optimizer: { enabled: true }, evmVersion: 'cancun' },
  },
  networks: {
    basalt: {
      type: 'http',
      chainType: 'l1',
      chainId: 31337,
      url: process.env.NETWORK_RPC?.split(',')[0] ?? 'http://127.0.0.1:8545',
      accounts: { mnemonic: 'test test test test test test test test test test test junk' },
    },
  },
});
