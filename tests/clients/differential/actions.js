// What a random transaction may do.
import { Interface, ethers } from 'ethers';
import { compile } from '../support.js';

const SECP256R1 = // Wycheproof's first valid signature, as P256VERIFY takes it.
  '0xbb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca6050232ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18' +
  '4cd60b855d442f5b3c7b11eb6c4e0ae7525fe710fab9aa7c77a67f79e6fadd762927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838' +
  'c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e';
const word = (n) => ethers.toBeHex(n, 32).slice(2);
/** The generator of alt_bn128 and its double, as words. */
const G1 = word(1) + word(2);

/** Calls of precompiles that do something: address and input. */
const precompiles = [
  [1, `0x456e9aea5e197a1f1af7a3e85a3212fa4049a3ba34c2289b4c860fc0b0c64ef3${word(28)}9242685bf161793cc25603c231bc2f568eb630ea16aa137d2664ac8038825608` +
    '4f8ae3bd7535248d0bd448298cc2e2071e56992d0774dc340c368ae950852ada'],
  [2, '0x616263'],
  [3, '0x616263'],
  [4, '0x0102030405'],
  [5, `0x${word(1)}${word(32)}${word(32)}03${word(2n ** 255n)}${word(2n ** 256n - 189n)}`],
  [6, `0x${G1}${G1}`],
  [7, `0x${G1}${word(12345)}`],
  [8, '0x'],
  [9, `0x0000000c48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b61626300000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000300000000000000000000000000000001`],
  [11, `0x${'00'.repeat(256)}`],
  [12, `0x${'00'.repeat(160)}`],
  [15, `0x${'00'.repeat(384)}`],
  [16, `0x${'00'.repeat(63)}05`],
  [0x100, SECP256R1],
];

/** Opcodes whose result is the same on any chain, for programs drawn at random, each with how many words it takes. */
const OPCODES = [
  ...[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0b, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1d].map((op) => [op, 2]),
  ...[0x08, 0x09].map((op) => [op, 3]), // ADDMOD, MULMOD
  ...[0x15, 0x19, 0x1e, 0x35, 0x3b, 0x3f, 0x50, 0x51, 0x54, 0x5c].map((op) => [op, 1]), // ISZERO, NOT, CLZ, loads
  ...[0x20, 0x52, 0x53, 0x55, 0x55, 0x5d].map((op) => [op, 2]), // KECCAK256 and stores
  ...[0x30, 0x33, 0x34, 0x36, 0x38, 0x3d, 0x46, 0x58, 0x59, 0x5a, 0x5b, 0x5f].map((op) => [op, 0]), // surroundings
  ...[0x37, 0x39, 0x3e, 0x5e].map((op) => [op, 3]), // copies
  ...[[0x3c, 4], [0x80, 1], [0x81, 2], [0x83, 4], [0x90, 2], [0x92, 4], [0xa0, 2], [0xa1, 3], [0xa4, 6]],
  ...[[0xf0, 3], [0xf1, 7], [0xf2, 7], [0xf4, 6], [0xf5, 4], [0xfa, 6]],
];
/** And what ends a program. */
const ENDS = [[0xf3, 2], [0xfd, 2], [0xfe, 0], [0x00, 0], [0x56, 1], [0xff, 1]];

/** The deployable contracts: their interfaces and creation code. */
export const contracts = () =>
  Object.fromEntries(
    ['Machine', 'Workshop'].map((name) => {
      const { abi, bytecode } = compile(name, { evmVersion: 'osaka' });
      return [name, { face: new Interface(abi), bytecode }];
    }),
  );

/**
 * The actions, each giving the fields of a transaction. `world` has `pick`, `run` (a text of this run alone), `wallets`, `machines` and `workshops` (their
 * addresses so far), `Machine` and `Workshop`.
 */
export function actions(world) {
  const { pick, wallets, Machine, Workshop } = world;
  const choose = (all) => all[pick(all.length)];
  const bytes = (most) => ethers.hexlify(Uint8Array.from({ length: pick(most) }, () => pick(256)));
  const stranger = () => ethers.getAddress(ethers.id(`${world.run} stranger ${pick(5)}`).slice(0, 42));
  const someone = () => choose([...world.machines, ...world.workshops, ...wallets.map((w) => w.address), stranger()]);
  const machine = (name, ...args) => ({ to: choose(world.machines), data: Machine.face.encodeFunctionData(name, args) });
  const workshop = (name, ...args) => ({ to: choose(world.workshops), data: Workshop.face.encodeFunctionData(name, args) });
  const inner = () =>
    choose([
      Machine.face.encodeFunctionData('store', [pick(5), pick(3)]),
      Machine.face.encodeFunctionData('grow', [pick(3)]),
      Machine.face.encodeFunctionData('dare', [pick(9)]),
      Machine.face.encodeFunctionData('end', [stranger()]),
      Workshop.face.encodeFunctionData('logs', [pick(5), pick(100)]),
      Workshop.face.encodeFunctionData('refunds', [pick(6)]),
      bytes(70),
    ]);
  /** Mostly sound: every opcode finds its words, which are mostly small. */
  const program = () => {
    const code = [];
    const step = ([op, takes]) => {
      for (let i = pick(25) ? takes : pick(takes + 1); i > 0; i--) {
        if (pick(12)) code.push(0x60, pick(4) ? pick(40) : pick(256));
        else code.push(0x7f, ...Array.from({ length: 32 }, () => pick(256)));
      }
      code.push(op);
    };
    for (let left = 3 + pick(40); left > 0; left--) step(choose(OPCODES));
    step(choose(ENDS));
    return ethers.hexlify(Uint8Array.from(code));
  };
  const precompile = () => {
    const [at, input] = choose(precompiles);
    const cut = pick(4) ? input : input.slice(0, 2 + 2 * pick(input.length / 2));
    return workshop('probe', pick(3), ethers.toBeHex(at, 20), 0, choose([100, 3_000, 400_000]), cut);
  };

  return {
    store: () => ({ ...machine('store', pick(5), pick(3)), value: BigInt(pick(2) * pick(1000)) }),
    grow: () => machine('grow', pick(6)),
    shrink: () => machine('shrink'),
    breed: () => ({ ...machine('breed', pick(4)), value: BigInt(pick(100)) }),
    unlucky: () => machine('unlucky', pick(9)),
    dare: () => machine('dare', pick(9)),
    pay: () => machine('pay', someone(), pick(200)),
    descend: () => machine('descend', pick(8)),
    hashes: () => machine('hashes', bytes(90)),
    burn: () => ({ ...machine('burn', pick(400)), gasLimit: BigInt(30_000 + pick(60_000)) }),
    end: () => machine('end', choose([...world.machines, stranger()])),
    probe: () => ({ ...workshop('probe', pick(3), someone(), pick(3), 20_000 + pick(100_000), inner()), value: BigInt(pick(9)) }),
    delegate: () => workshop('probe', 2, choose([...world.machines, ...world.workshops]), 0, 150_000, inner()),
    callcode: () => workshop('callcode', choose([...world.machines, ...world.workshops]), inner(), pick(200)),
    logs: () => workshop('logs', pick(5), pick(8) ? pick(300) : 10_000 + pick(20_000)),
    flicker: () => workshop('flicker', pick(5)),
    copies: () => workshop('copies', someone(), pick(60), pick(300)),
    mayfly: () => ({ ...workshop('mayfly', pick(40), stranger(), pick(3) === 0), value: BigInt(pick(50)) }),
    refunds: () => workshop('refunds', pick(12)),
    dig: () => ({ ...workshop('dig', 5 + pick(30)), gasLimit: BigInt(60_000 + pick(500_000)) }),
    fail: () => workshop('fail', pick(2000)),
    precompile,
    precompileDirectly: () => {
      const [at, input] = choose(precompiles);
      return { to: ethers.toBeHex(at, 20), data: input, gasLimit: BigInt(22_000 + pick(200_000)) };
    },
    program: () => ({ to: null, data: program(), gasLimit: BigInt(100_000 + pick(400_000)) }),
    programDeployed: () => {
      // Init code that returns the program as code, then whoever calls it runs it.
      const code = program().slice(2);
      const size = (code.length / 2).toString(16).padStart(4, '0');
      return { to: null, data: `0x61${size}80600a5f395ff3${code}`, keep: 'machines' };
    },
    outOfGas: () => ({ ...machine('grow', 20), gasLimit: BigInt(22_000 + pick(200_000)) }),
    data: () => ({ to: choose(world.machines), data: bytes(90) }),
    transfer: () => ({ to: someone(), value: BigInt(1 + pick(1000)), data: '0x' }),
    notEnoughGas: () => ({ to: someone(), data: bytes(40), gasLimit: BigInt(20_000 + pick(1_500)) }),
    tooMuchValue: () => ({ to: stranger(), data: '0x', value: ethers.parseEther('5000') }),
  };
}
