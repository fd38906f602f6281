// Calls of the methods that only Basalt has, or that the public specification leaves out.
import { ethers } from 'ethers';

const set = (params, more = {}) => ({ params: typeof params === 'function' ? params : () => params, ...more });
const none = [set([]), set({})];
const webhook = 'http://127.0.0.1:9/alerts';

export const own = {
  admin_nodeInfo: none,
  admin_logLevel: none,
  admin_setLogLevel: [set(['info']), set({ level: 'info,basalt_node::rpc=debug' })],
  admin_peers: none,
  admin_addPeer: [set(['127.0.0.1:1']), set({ address: '/ip4/127.0.0.1/tcp/2' })],
  admin_removePeer: [set(['12D3KooWHbXxNTuT1yxHMVvytCQF7fFUoFRJB7Fm21Rja4yBfmde'])],
  basalt_sendRawTransactions: [set((c) => [[c.next[3], '0x02aa']])],
  consensus_evidence: none,
  consensus_explain: none,
  consensus_proposals: none,
  consensus_skipped: [set(['latest']), set((c) => [c.sent[0].block])],
  consensus_status: none,
  permission_status: none,
  consensus_validators: [set([]), set(['0x1'])],
  debug_traceCall: [
    set((c) => [{ to: c.contract, data: c.ledger.encodeFunctionData('count') }, 'latest', { tracer: 'callTracer' }]),
    set((c) => [{ to: c.contract, data: c.ledger.encodeFunctionData('count') }, 'latest']),
  ],
  eth_getRawTransactionByHash: [set((c) => [c.sent[0].hash])],
  eth_getRawTransactionByBlockHashAndIndex: [set((c) => [c.sent[0].blockHash, '0x0'])],
  eth_getRawTransactionByBlockNumberAndIndex: [set((c) => [c.sent[0].block, '0x0'])],
  eth_getUncleByBlockHashAndIndex: [set((c) => [c.sent[0].blockHash, '0x0'], { mayBeNull: true })],
  eth_getUncleByBlockNumberAndIndex: [set(['latest', '0x0'], { mayBeNull: true })],
  eth_getUncleCountByBlockHash: [set((c) => [c.sent[0].blockHash]), set([ethers.ZeroHash], { mayBeNull: true })],
  eth_getUncleCountByBlockNumber: [set(['latest'])],
  monitor_status: none,
  monitor_nodes: none,
  monitor_resources: none,
  monitor_tps: none,
  monitor_setTpsThreshold: [set([1000, null, 20]), set([{ upper: 500, lower: 1, windowSeconds: 10 }]), set({ upper: null, lower: null })],
  monitor_alerts: none,
  monitor_addWebhook: [set([webhook]), set([{ url: webhook, secret: 'a secret of thirty-two characters' }])],
  monitor_listWebhooks: none,
  monitor_removeWebhook: [
    set(async (c) => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'monitor_listWebhooks' });
      const answer = await fetch(c.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      return [(await answer.json()).result[0].id];
    }),
  ],
  net_listening: none,
  net_peerCount: none,
  platform_status: none,
  rpc_discover: none,
  rpc_modules: none,
  txpool_explain: [set((c) => [c.sent[0].hash]), set((c) => [c.wallet.address]), set([ethers.ZeroHash])],
  txpool_inspect: none,
  web3_clientVersion: none,
  web3_sha3: [set(['0x']), set(['0x1234'])],
};

/** Calls that are refused: method, parameters, code, and what the message must say. */
export const ownErrors = [
  // The network of this test votes; what these answer elsewhere is shown by tests/e2e/pow.rs.
  ['eth_getWork', [], -32000, /no proof of work/],
  ['eth_submitHashrate', ['0x1', ethers.ZeroHash], -32000, /no proof of work/],
  ['eth_submitWork', ['0x0000000000000001', ethers.ZeroHash, ethers.ZeroHash], -32000, /no proof of work/],
  ['miner_hashrate', [], -32000, /no proof of work/],
  ['miner_start', [1], -32000, /no proof of work/],
  ['miner_stop', [], -32000, /no proof of work/],
  ['consensus_skipped', ['0xfffffffff'], -32000, /no such block/],
  ['consensus_validators', ['0xfffffffff'], -32000, /not determined yet/],
  ['monitor_setTpsThreshold', [0], -32602, /upper/],
  ['monitor_setTpsThreshold', ['fast'], -32602, /upper/],
  ['monitor_addWebhook', ['ftp://example.com'], -32602, /http/],
  ['admin_setLogLevel', ['nonsense'], -32602, /error, warn, info/],
  ['admin_addPeer', ['nonsense'], -32602, /not a peer address/],
  ['admin_removePeer', ['nonsense'], -32602, /identity/],
  ['eth_subscribe', ['newHeads'], -32601, /WebSocket/],
  ['web3_sha3', ['xyz'], -32602, /invalid argument 0/],
];
