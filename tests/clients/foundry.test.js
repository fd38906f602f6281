// Foundry: a script that deploys and calls, and tests on a fork of the network.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { raw, urls } from './support.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const binary = process.env.FORGE ?? join(here, 'node_modules/.bin/forge');
const skip = existsSync(binary) ? false : 'no forge for this kind of machine; set FORGE to one';
// Account 8 of the development mnemonic: nobody else's here, for forge works out its nonces before it sends.
const key = '0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97';
const url = urls[urls.length - 1];

describe('forge', { skip }, () => {
  // A copy, so that nothing is written where the sources are.
  const project = mkdtempSync(join(tmpdir(), 'basalt-forge-'));
  const forge = async (args, env = {}) => {
    const options = { cwd: project, env: { ...process.env, FOUNDRY_DISABLE_NIGHTLY_WARNING: '1', ...env }, timeout: 180_000 };
    return (await promisify(execFile)(binary, args, options)).stdout;
  };
  const env = { NETWORK_URL: url };

  before(() => {
    cpSync(join(here, 'foundry'), project, { recursive: true });
    symlinkSync(join(here, 'node_modules'), join(project, 'node_modules'));
  });
  after(() => rmSync(project, { recursive: true, force: true }));

  test('forge script --broadcast deploys and calls', async () => {
    await forge(['script', 'script/Deploy.s.sol:Deploy', '--rpc-url', url, '--broadcast', '--slow', '--private-key', key, '--non-interactive']);
    const run = JSON.parse(readFileSync(join(project, 'broadcast/Deploy.s.sol/31337/run-latest.json'), 'utf8'));
    assert.deepEqual(run.receipts.map((r) => BigInt(r.status)), [1n, 1n, 1n, 1n, 1n]);
    env.COUNTER = run.receipts[0].contractAddress;
    env.DEPLOYED_AT = BigInt(run.receipts[0].blockNumber).toString();
    const { result } = await raw(url, { method: 'eth_getStorageAt', params: [env.COUNTER, '0x0', 'latest'] });
    assert.equal(BigInt(result), 34n);
  });

  test('forge test --fork-url', async () => {
    const answer = JSON.parse(await forge(['test', '--fork-url', url, '--json'], env));
    const results = Object.values(answer).flatMap((suite) => Object.entries(suite.test_results));
    assert.equal(results.length, 5);
    for (const [name, { status, reason }] of results) assert.equal(status, 'Success', `${name}: ${reason}`);
  });
});
