// Calls of Ethereum's public methods: for each at least three sets of parameters. `params` makes them of a chain's
// scenario; `same` takes from an answer what must be equal on anvil, `compare` compares in another way; `mayBeNull` marks the sets whose answer is null.
import { ethers } from 'ethers';
import { raw } from '../support.js';

const NOBODY = '0x00000000000000000000000000000000000000aa';
const NOTHING = ethers.ZeroHash;
const SLOT_1 = ethers.zeroPadValue('0x01', 32);

/** A set of parameters. */
const set = (params, more = {}) => ({ params: typeof params === 'function' ? params : () => params, ...more });
/** Without parameters: an empty list, an empty object, none at all. */
const none = (more) => [set([], more), set({}, more), set(undefined, more)];
const as = (same) => ({ same });
const itself = as((answer) => answer);
const absent = { mayBeNull: true, same: (answer) => answer };

/** An estimate is enough, and at most 2 % more than the least that anvil looks for; go-ethereum stops at 1.5 %, too. */
const estimated = { compare: (ours, theirs) => BigInt(ours) >= BigInt(theirs) && BigInt(ours) * 100n <= BigInt(theirs) * 102n };

/** Fields that depend on the chain's own blocks, and those that only one of the two nodes has. */
const OF_THE_CHAIN = new Set(['blockHash', 'blockNumber', 'blockTimestamp', 'transactionIndex', 'logIndex', 'cumulativeGasUsed', 'removed', 'index',
  'blobGasPrice', 'blobGasUsed', 'timestamp', 'parentHash', 'stateRoot', 'miner', 'hash', 'gasLimit', 'baseFeePerGas', 'size', 'v', 'extraData',
  'receiptsRoot', 'transactionsRoot', 'mixHash', 'number', 'logsBloom', 'accountProof']);
function essence(value) {
  if (Array.isArray(value)) return value.map(essence);
  if (value === null || typeof value !== 'object') return value;
  const kept = Object.entries(value).filter(([key, v]) => !OF_THE_CHAIN.has(key) && v !== null && v !== undefined);
  return Object.fromEntries(kept.map(([key, v]) => [key, essence(v)]));
}
const similar = as(essence);
/** Only these fields. */
const fields = (...names) => as((answer) => Object.fromEntries(names.map((n) => [n, essence(answer[n])])));

const call = (c, name, ...args) => ({ to: c.contract, data: c.ledger.encodeFunctionData(name, args) });
const count = (c) => ({ from: c.wallet.address, ...call(c, 'count') });
const noting = (c) => ({ from: c.wallet.address, ...call(c, 'note', ethers.id('new'), 3) });
const block = (c, n) => c.sent[n].block;
const blockHash = (c, n) => c.sent[n].blockHash;
const filter = (c) => ({ fromBlock: block(c, 0), toBlock: block(c, 6), address: c.contract });
const send = async (c, method, params = []) => (await raw(c.url, { method, params })).result;
/** A log filter of this scenario, freshly installed. */
const logFilter = async (c, more = {}) => send(c, 'eth_newFilter', [{ ...filter(c), ...more }]);

/** The sets that differ by block alone. */
const ofBlocks = (more, ...which) => which.map((n) => set((c) => [block(c, n)], more));

const state = (params, more = itself) => [
  set((c) => [...params(c), 'latest'], more),
  set((c) => [...params(c)]),
  set((c) => [...params(c), { blockHash: blockHash(c, 6) }], more),
  set((c) => [...params(c), block(c, 2)], more),
];

export const publicCalls = {
  eth_accounts: none(),
  eth_baseFee: none(),
  eth_blobBaseFee: none(),
  eth_blockNumber: none(),
  eth_chainId: none(itself),
  eth_gasPrice: none(),
  eth_maxPriorityFeePerGas: none(),
  eth_syncing: none(itself),
  net_version: none(itself),
  txpool_content: none(),
  txpool_status: none(),
  txpool_contentFrom: [set((c) => [c.wallet.address]), set((c) => ({ address: c.wallet.address })), set([NOBODY])],
  debug_getBadBlocks: none(),

  eth_getBalance: [...state((c) => [c.wallet.address]), set([NOBODY, 'finalized'], itself),  set((c) => [c.contract, 'safe']), set((c) => [c.other.address, 'pending'], itself)],
  eth_getTransactionCount: [...state((c) => [c.wallet.address]), set((c) => [c.wallet.address, 'pending'], itself), set((c) => [c.contract, 'latest'], itself)],
  eth_getCode: [...state((c) => [c.contract]), set((c) => [c.other.address, 'latest'], itself), set([NOBODY, 'latest'], itself)],
  eth_getStorageAt: [...state((c) => [c.contract, '0x1']), set((c) => [c.contract, SLOT_1, 'latest'], itself), set([NOBODY, '0x0', 'latest'], itself)],
  eth_getStorageValues: state((c) => [{ [c.contract]: ['0x0', SLOT_1], [NOBODY]: ['0x0'] }], {}),
  eth_getProof: [
    set((c) => [c.contract, [SLOT_1, NOTHING], 'latest'], fields('balance', 'nonce', 'codeHash', 'storageHash', 'storageProof')),
    set((c) => [c.contract, [], 'latest'], fields('address', 'nonce', 'codeHash', 'storageHash')),
    set((c) => [c.wallet.address, [], block(c, 6)], fields('nonce', 'balance', 'storageHash')),
    set([NOBODY, ['0x0', '0x1'], 'latest']),
  ],
  eth_call: [
    set((c) => [count(c), 'latest'], itself),
    set((c) => [count(c)], itself),
    set((c) => [count(c), block(c, 1)], itself),
    set((c) => [call(c, 'notes', c.key), { blockHash: blockHash(c, 2) }], itself),
    set((c) => [call(c, 'owner'), 'finalized']),
    set((c) => [count(c), 'latest', { [c.contract]: { stateDiff: { [SLOT_1]: ethers.zeroPadValue('0x63', 32) } } }], itself),
    set((c) => [{ to: NOBODY, data: '0x1234' }, 'latest', { [NOBODY]: { code: '0x4360005260206000f3' } }, { number: '0x1234' }], itself),
    set([{ data: '0x602a60005260206000f3' }, 'latest'], itself),
  ],
  eth_estimateGas: [
    set((c) => [noting(c)], estimated),
    set((c) => [noting(c), 'latest'], estimated),
    set((c) => [{ from: c.wallet.address, to: NOBODY, value: '0x1' }, 'latest'], itself),
    set((c) => [{ from: c.wallet.address, to: c.contract, value: '0x7', data: c.ledger.encodeFunctionData('deposit') }], estimated),
  ],
  eth_createAccessList: [
    set((c) => [noting(c), 'latest'], fields('accessList')),
    set((c) => [count(c)], fields('accessList')),
    set((c) => [{ from: c.wallet.address, to: NOBODY }, 'latest'], fields('accessList')),
  ],
  eth_simulateV1: [
    set((c) => [{ blockStateCalls: [{ calls: [count(c)] }] }, 'latest'], as((a) => a[0].calls.map(({ returnData, status, gasUsed }) => ({ returnData, status, gasUsed })))),
    set((c) => [{ blockStateCalls: [{ calls: [noting(c), noting(c)] }, { calls: [count(c)] }] }, 'latest'], as((a) => a.map((b) => b.calls.map(({ returnData, status }) => ({ returnData, status }))))),
    set((c) => [{ blockStateCalls: [{ stateOverrides: { [NOBODY]: { balance: '0xde0b6b3a7640000' } }, calls: [{ from: NOBODY, to: c.contract, value: '0x1', data: c.ledger.encodeFunctionData('deposit') }] }], traceTransfers: true, validation: false }]),
  ],
  eth_feeHistory: [set(['0x3', 'latest', [25, 75]]), set((c) => ['0x1', block(c, 3), []]), set(['0x400', 'latest', []])],

  eth_getBlockByNumber: [
    set((c) => [block(c, 1), true], as((b) => essence(b.transactions))),
    set((c) => [block(c, 1), false], as((b) => b.transactions)),
    set(['latest', false]), set(['earliest', true]), set(['pending', false]), set(['finalized', false]), set(['safe', true]),
    set(['0xfffffffff', false], absent),
  ],
  eth_getBlockByHash: [
    set((c) => [blockHash(c, 5), true], as((b) => essence(b.transactions))),
    set((c) => [blockHash(c, 2), false], as((b) => b.transactions)),
    set([NOTHING, false], absent),
  ],
  eth_getBlockReceipts: [
    set((c) => [block(c, 1)], similar), set((c) => [blockHash(c, 5)], similar), set((c) => [block(c, 6)], similar), set(['latest']),
    set(['0xfffffffff'], absent),
  ],
  eth_getBlockTransactionCountByNumber: [...ofBlocks(itself, 0, 3), set(['earliest'], itself), set(['0xfffffffff'], { mayBeNull: true })],
  eth_getBlockTransactionCountByHash: [set((c) => [blockHash(c, 0)], itself), set((c) => [blockHash(c, 4)], itself), set([NOTHING], absent)],
  eth_getTransactionByHash: [...[0, 1, 2, 5].map((n) => set((c) => [c.sent[n].hash], similar)), set([NOTHING], absent)],
  eth_getTransactionByBlockHashAndIndex: [set((c) => [blockHash(c, 2), '0x0'], similar), set((c) => [blockHash(c, 0), '0x0'], similar), set((c) => [blockHash(c, 0), '0x9'], absent)],
  eth_getTransactionByBlockNumberAndIndex: [set((c) => [block(c, 3), '0x0'], similar), set((c) => [block(c, 5), '0x0'], similar), set(['earliest', '0x0'], absent)],
  eth_getTransactionReceipt: [...[0, 1, 2, 3, 4, 5, 6].map((n) => set((c) => [c.sent[n].hash], similar)), set([NOTHING], absent)],

  eth_getLogs: [
    set((c) => [filter(c)], similar),
    set((c) => [{ ...filter(c), topics: [null, null, c.key] }], similar),
    set((c) => [{ ...filter(c), topics: [[NOTHING, c.ledger.getEvent('Noted').topicHash]] }], similar),
    set((c) => [{ blockHash: blockHash(c, 1), address: [c.contract, NOBODY] }], similar),
    set((c) => [{ ...filter(c), topics: [NOTHING] }], similar),
  ],
  eth_newFilter: [set((c) => [filter(c)]), set([{}]), set([{ fromBlock: 'latest', topics: [] }])],
  eth_newBlockFilter: none(),
  eth_newPendingTransactionFilter: none(),
  eth_uninstallFilter: [set(async (c) => [await logFilter(c)], itself), set(async (c) => [await send(c, 'eth_newBlockFilter')], itself), set(['0x1234567'], itself)],
  eth_getFilterLogs: [
    set(async (c) => [await logFilter(c)], similar),
    set(async (c) => [await logFilter(c, { topics: [null, null, c.key] })], similar),
    set(async (c) => [await logFilter(c, { topics: [NOTHING] })], similar),
  ],
  eth_getFilterChanges: [
    set(async (c) => [await logFilter(c)]),
    set(async (c) => [await send(c, 'eth_newBlockFilter')]),
    set(async (c) => [await send(c, 'eth_newPendingTransactionFilter')]),
  ],
  eth_sendRawTransaction: [0, 1, 2].map((n) => set((c) => [c.next[n]], itself)),

  debug_getRawHeader: [set(['latest']), set((c) => [block(c, 1)]), set(['earliest'])],
  debug_getRawBlock: [set(['latest']), set((c) => [block(c, 1)]), set((c) => [block(c, 4)])],
  debug_getRawReceipts: ofBlocks({}, 1, 5, 6),
  debug_getRawTransaction: [0, 2, 5].map((n) => set((c) => [c.sent[n].hash], itself)),
  debug_traceTransaction: [
    ...[0, 1, 6].map((n) => set((c) => [c.sent[n].hash], as(({ gas, failed, structLogs }) => ({ gas, failed, steps: structLogs.map((s) => [s.pc, s.op, s.gas, s.depth]) })))),
    set((c) => [c.sent[1].hash, { tracer: 'callTracer', tracerConfig: { withLog: true } }], as(({ gas, ...t }) => essence(t))),
    set((c) => [c.sent[3].hash, { tracer: 'prestateTracer', tracerConfig: { diffMode: true } }]),
    set((c) => [c.sent[1].hash, { disableStack: true, enableMemory: true }]),
  ],
  debug_traceBlockByNumber: [set((c) => [block(c, 1), { tracer: 'callTracer' }], as((all) => all.map((t) => [t.txHash, t.result.output]))), set((c) => [block(c, 1)]), set((c) => [block(c, 6), { disableStorage: true }])],
  debug_traceBlockByHash: [set((c) => [blockHash(c, 3), { tracer: 'callTracer' }], as((all) => all.map((t) => [t.txHash, t.result.type]))), set((c) => [blockHash(c, 2)]), set((c) => [blockHash(c, 0), { disableStack: true }])],
};

/** Calls that are refused: method, parameters, code, and what the message must say. */
export const errors = (c) => [
  ['eth_getBalance', ['0x12', 'latest'], -32602, /invalid argument 0/],
  ['eth_getBalance', [NOBODY, '0xfffffffff'], -32000, /header not found/],
  ['eth_getBalance', [NOBODY, { blockHash: NOTHING }], -32000, /not found/],
  ['eth_getBalance', [NOBODY, 'newest'], -32602, /"latest"/],
  ['eth_chainId', [1], -32602, /too many arguments/],
  ['eth_call', [call(c, 'refuse'), 'latest'], 3, /execution reverted: refused on purpose/],
  ['eth_call', [call(c, 'overflow', 1), 'latest'], 3, /arithmetic/],
  ['eth_call', [{ to: c.contract, gas: '0x5208', data: c.ledger.encodeFunctionData('count') }, 'latest'], -32000, /gas/],
  ['eth_estimateGas', [call(c, 'refuse')], 3, /refused on purpose/],
  ['eth_estimateGas', [{ from: NOBODY, to: c.contract, value: '0xffffffffffffffffffff' }], -32000, /insufficient funds/],
  ['eth_sendRawTransaction', ['0x'], -32000, /./],
  ['eth_sendRawTransaction', ['0x02aabb'], -32000, /./],
  ['eth_sendRawTransaction', [c.sent[0].signed], -32000, /nonce too low|already known/],
  ['eth_getLogs', [{ blockHash: c.sent[0].blockHash, fromBlock: '0x1' }], -32602, /blockHash/],
  ['eth_getLogs', [{ fromBlock: '0x5', toBlock: '0x1' }], -32602, /./],
  ['eth_getLogs', [{ topics: [NOTHING, NOTHING, NOTHING, NOTHING, NOTHING] }], -32602, /topics/],
  ['eth_getFilterChanges', ['0x1234567'], -32000, /filter not found/],
  ['eth_feeHistory', ['0x1', 'latest', [50, 20]], -32602, /percentile/],
  ['eth_simulateV1', [{ blockStateCalls: [] }, 'latest'], -32602, /empty/],
  ['eth_sendTransaction', [{}], -32601, /eth_sendRawTransaction/],
  ['eth_nothing', [], -32601, /does not exist/],
  ['debug_traceTransaction', [NOTHING], -32000, /transaction not found/],
  ['debug_traceTransaction', [c.sent[0].hash, { tracer: 'nonsenseTracer' }], -32602, /tracer/],
];
