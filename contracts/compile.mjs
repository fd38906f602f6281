// Compiles the system contracts with the pinned compiler and the settings in settings.json.
//
//   node compile.mjs            compares what comes out with the committed artefacts, byte for byte; exit code 1 if they differ
//   node compile.mjs --write    writes the artefacts: every chain made from then on has the new code in its genesis
import { readFileSync, writeFileSync } from 'node:fs';
import solc from 'solc';

const here = (path) => new URL(path, import.meta.url);
const compiler = JSON.parse(readFileSync(here('package.json'), 'utf8')).dependencies.solc;
const settings = JSON.parse(readFileSync(here('settings.json'), 'utf8'));
const contracts = [
  { name: 'Validators', source: 'system/Validators.sol' },
  { name: 'Permission', source: 'system/Permission.sol' },
];

function compile({ name, source }) {
  const content = readFileSync(here(source), 'utf8');
  const outputSelection = { '*': { '*': ['abi', 'evm.deployedBytecode', 'evm.methodIdentifiers', 'storageLayout'] } };
  const input = { language: 'Solidity', sources: { [source]: { content } }, settings: { ...settings, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  if (output.errors?.length > 0) throw new Error(output.errors.map((e) => e.formattedMessage).join('\n'));
  const { abi, evm, storageLayout } = output.contracts[source][name];
  // The compiler numbers syntax trees as it goes; the numbers mean nothing here.
  const plain = (text) => text.replace(/(struct|contract) [\w.]*?(\w+)\)?\d*_storage/g, '$1 $2');
  const slots = storageLayout.storage.map((v) => ({ name: v.label, slot: Number(v.slot), offset: v.offset }));
  const structs = {};
  for (const type of Object.values(storageLayout.types)) {
    if (!type.members) continue;
    const fields = type.members.map((m) => ({ name: m.label, slot: Number(m.slot), offset: m.offset }));
    structs[plain(type.label).replace(/^struct ((Validators|Permission)\.)?/, '')] = { slots: type.numberOfBytes / 32, fields };
  }
  const selectors = Object.fromEntries(Object.entries(evm.methodIdentifiers).sort());
  const facts = { compiler: `solc ${solc.version()}`, settings, selectors, layout: { slots, structs }, abi };
  return { json: `${JSON.stringify(facts, null, 1)}\n`, hex: `${evm.deployedBytecode.object}\n` };
}

if (!solc.version().startsWith(`${compiler}+`)) throw new Error(`solc ${solc.version()} is not the pinned ${compiler}`);
let code = 0;
for (const contract of contracts) {
  for (const [extension, text] of Object.entries(compile(contract))) {
    const path = `artefacts/${contract.name}.${extension}`;
    if (process.argv.includes('--write')) writeFileSync(here(path), text);
    else if (readFileSync(here(path), 'utf8') === text) console.log(`${path}: the same, byte for byte`);
    else {
      console.error(`${path} is not what ${contract.source} compiles to; see what changed: node compile.mjs --write`);
      code = 1;
    }
  }
}
process.exitCode = code;
