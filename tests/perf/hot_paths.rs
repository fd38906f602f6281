//! The hot paths of a transaction, one at a time, for counting their instructions: `tests/perf/run.sh` runs each case under
//! callgrind, which counts only inside [`basalt_perf_measured`]. Counts are exact and the same on a busy machine, so a gate on
//! them does not flake; time is measured elsewhere (`basalt bench`).
//!
//! Usage: hot-paths CASE (prints how many items it worked on), hot-paths --list.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use basalt_execution::{BlockEnv, Executor, MemoryState, StateTrie, genesis_state};
use basalt_node::{
    bench::{
        Account, Draft, Terms,
        workload::{self, Options, built_in},
    },
    mempool::{AccountView, BlockUpdate, Mempool, MempoolConfig, PoolContext},
};
use basalt_primitives::{
    Address, B256, Block, Bytes, ChainSpec, HashFn, Header, Height, Round, Seal, SecretKey, Transaction, U256,
    block::transactions_root,
    chainspec::{BftParams, Consensus, EvmFork, Fees, GenesisAccount, GenesisValidator},
    header::HEADER_VERSION,
    tx::{self, Unverified},
    validators::Validator,
};
use basalt_proto::{Codec as _, wire::TxBatch};

const CHAIN: u64 = 31_337;
const GAS_LIMIT: u64 = 1_000_000_000;
/// Accounts in the state before the measured block.
const ACCOUNTS: usize = 10_000;

/// What is measured: does the work and says on how many items.
type Work = Box<dyn FnOnce() -> usize>;

/// A case: its name, and what makes ready for it.
type Case = (&'static str, fn() -> Work);

const CASES: &[Case] = &[
    ("decode-native", || decode(natives(256))),
    ("decode-ethereum", || decode(ethereums(256))),
    ("verify-batch", || verify(natives(512))),
    ("recover", || verify(ethereums(64))),
    ("transactions-root", hash_tree),
    ("pool-insert", pool_insert),
    ("pool-on-block", pool_on_block),
    ("wire-batch-encode", wire_encode),
    ("wire-batch-decode", wire_decode),
    ("execute-transfer", execute_transfers),
    ("execute-call", execute_calls),
    ("trie-update", trie_update),
    ("block-encode", block_encode),
    ("block-decode", block_decode),
];

/// Callgrind counts between this function's entry and its return.
#[unsafe(no_mangle)]
#[inline(never)]
extern "Rust" fn basalt_perf_measured(work: Work) -> usize {
    work()
}

fn main() -> std::process::ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == "--list" {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return std::process::ExitCode::SUCCESS;
    }
    let Some((_, prepare)) = CASES.iter().find(|(n, _)| *n == name) else {
        eprintln!("no case `{name}`; --list names them");
        return std::process::ExitCode::FAILURE;
    };
    // What is counted must run on this thread.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    alone.expect("no pool has been used yet");
    println!("{}", black_box(basalt_perf_measured(prepare())));
    std::process::ExitCode::SUCCESS
}

fn native_account(i: usize) -> Account {
    Account::Native(SecretKey::from_bytes(&HashFn::Sha256.hash(&i.to_be_bytes()).0))
}

fn ethereum_account(i: usize) -> Account {
    let seed = HashFn::Sha256.hash(&i.to_be_bytes()).0;
    Account::Ethereum(secp256k1::SecretKey::from_byte_array(seed).expect("a key"))
}

const TERMS: Terms = Terms { chain_id: CHAIN, max_fee: 0, hash_fn: HashFn::Sha256 };

fn transfers(n: usize, account: fn(usize) -> Account) -> Vec<Bytes> {
    let one = |i| {
        let draft =
            Draft { nonce: 0, to: Some(address(i + n)), value: U256::from(1), input: Bytes::new(), gas: 21_000 };
        account(i).sign(&TERMS, draft).raw
    };
    (0..n).map(one).collect()
}

fn natives(n: usize) -> Vec<Bytes> {
    transfers(n, native_account)
}

fn ethereums(n: usize) -> Vec<Bytes> {
    transfers(n, ethereum_account)
}

/// An address of the state that no key belongs to.
fn address(i: usize) -> Address {
    Address::from_slice(&HashFn::Sha256.hash(&(i as u64).to_le_bytes())[..20])
}

fn unverified(raws: Vec<Bytes>) -> Vec<Unverified> {
    raws.into_iter().map(|r| basalt_proto::tx::decode(r, CHAIN, HashFn::Sha256).expect("decodes")).collect()
}

fn verified(raws: Vec<Bytes>) -> Vec<Transaction> {
    unverified(raws).into_iter().map(|t| t.assume_verified().expect("signed")).collect()
}

fn decode(raws: Vec<Bytes>) -> Work {
    Box::new(move || unverified(raws).len())
}

fn verify(raws: Vec<Bytes>) -> Work {
    let txs = unverified(raws);
    Box::new(move || tx::verify_all(txs).iter().filter(|t| t.is_ok()).count())
}

fn hash_tree() -> Work {
    let hashes: Vec<B256> = (0..1024u64).map(|i| HashFn::Sha256.hash(&i.to_be_bytes())).collect();
    Box::new(move || {
        black_box(transactions_root(HashFn::Sha256, &hashes));
        hashes.len()
    })
}

fn pool_context() -> PoolContext {
    PoolContext { next_height: Height(1), base_fee: 0, gas_limit: GAS_LIMIT, fork: EvmFork::Osaka, now_ms: 1 }
}

const RICH: AccountView = AccountView { nonce: 0, balance: U256::from_limbs([u64::MAX, 0, 0, 0]) };

fn fill(pool: &mut Mempool, txs: Vec<Transaction>) -> usize {
    txs.into_iter().filter_map(|t| pool.insert(t, RICH, &pool_context()).ok()).count()
}

/// Into a pool that is not empty.
fn full_pool() -> Mempool {
    let mut pool = Mempool::new(MempoolConfig::default());
    assert_eq!(fill(&mut pool, verified(natives(1000))), 1000);
    pool
}

fn pool_insert() -> Work {
    let mut pool = full_pool();
    let more = (5000..6000).map(|i| {
        let draft = Draft { nonce: 0, to: Some(address(i)), value: U256::from(1), input: Bytes::new(), gas: 21_000 };
        native_account(i).sign(&TERMS, draft).raw
    });
    let more = verified(more.collect());
    Box::new(move || fill(&mut pool, more))
}

fn pool_on_block() -> Work {
    let mut pool = full_pool();
    let txs = verified(natives(500));
    let included: Vec<B256> = txs.iter().map(Transaction::hash).collect();
    let accounts: Vec<_> = txs.iter().map(|t| (t.sender(), AccountView { nonce: 1, ..RICH })).collect();
    Box::new(move || {
        let (accounts, included) = (&accounts[..], &included[..]);
        pool.on_block(&BlockUpdate {
            accounts,
            included,
            skipped: &[],
            next_height: Height(2),
            base_fee: 0,
            now_ms: 2,
        });
        1000 - pool.len()
    })
}

fn wire_encode() -> Work {
    let batch = TxBatch(natives(200));
    Box::new(move || black_box(batch.encode()).len().min(200))
}

fn wire_decode() -> Work {
    let bytes = TxBatch(natives(200)).encode();
    Box::new(move || TxBatch::decode(bytes).expect("decodes").0.len())
}

struct Chain {
    executor: Executor,
    state: MemoryState,
    trie: StateTrie,
}

fn spec(alloc: BTreeMap<Address, GenesisAccount>) -> ChainSpec {
    let public_key = SecretKey::from_bytes(&[9; 32]).public_key();
    ChainSpec {
        name: "perf".into(),
        chain_id: CHAIN,
        genesis_time_ms: 1_700_000_000_000,
        hash_fn: HashFn::Sha256,
        development: true,
        consensus: Consensus::Pbft(BftParams {
            block_interval_ms: 0,
            round_timeout_ms: 1000,
            round_timeout_cap_ms: 8000,
            empty_block_ms: None,
            clock_tolerance_ms: 1000,
        }),
        gas_limit: GAS_LIMIT,
        max_block_bytes: 1 << 20,
        essential: Default::default(),
        fees: Fees::Zero,
        forks: BTreeMap::from([(Height::GENESIS, EvmFork::Osaka)]),
        validators: vec![GenesisValidator { name: "one".into(), validator: Validator { public_key, power: 1 } }],
        alloc,
    }
}

/// A state of [`ACCOUNTS`] accounts and these senders.
fn chain(senders: impl Iterator<Item = Address>) -> Chain {
    let account = || GenesisAccount { balance: U256::from(1_000_000), ..GenesisAccount::default() };
    let alloc = (0..ACCOUNTS).map(address).chain(senders).map(|a| (a, account())).collect();
    let spec = spec(alloc);
    let (changes, batch) = genesis_state(&spec).expect("genesis");
    let mut state = MemoryState::new();
    state.apply(&changes);
    state.apply_trie(&batch.updates);
    Chain { executor: Executor::new(Arc::new(spec)), state, trie: StateTrie::open(batch.root, 64 << 20) }
}

fn env(height: u64) -> BlockEnv {
    BlockEnv {
        height: Height(height),
        timestamp_ms: 1_700_000_001_000 + height,
        beneficiary: Address::repeat_byte(0xbb),
        base_fee: 0,
        gas_limit: GAS_LIMIT,
        parent_hash: B256::repeat_byte(0x11),
        prev_randao: B256::repeat_byte(0x11),
    }
}

fn execute_transfers() -> Work {
    let txs = verified(natives(1000));
    let chain = chain(txs.iter().map(Transaction::sender));
    Box::new(move || chain.executor.execute(&env(1), &txs, &chain.state).expect("executes").receipts.len())
}

/// Calls of the benchmark's contended contract, after its deployment.
fn execute_calls() -> Work {
    let workload = built_in("contended", Options::default()).expect("known");
    let deployer = ethereum_account(100_000);
    let senders: Vec<Account> = (0..200).map(ethereum_account).collect();
    let mut chain = chain(senders.iter().chain([&deployer]).map(Account::address));
    let code = workload.contracts[0].init_code.clone();
    let draft = Draft { nonce: 0, to: None, value: U256::ZERO, input: code, gas: 8_000_000 };
    let deployed =
        chain.executor.execute(&env(1), &verified(vec![deployer.sign(&TERMS, draft).raw]), &chain.state).expect("runs");
    chain.state.apply(&deployed.changes);
    let contract = deployer.address().create(0);
    let values = workload::Values {
        sender: contract,
        neighbour: contract,
        nonce: 0,
        contracts: std::slice::from_ref(&contract),
    };
    let input = workload.calls[0].data.render(&values);
    let sign = |s: &Account| {
        let draft = Draft { nonce: 0, to: Some(contract), value: U256::ZERO, input: input.clone(), gas: 60_000 };
        s.sign(&TERMS, draft).raw
    };
    let txs = verified(senders.iter().map(sign).collect());
    Box::new(move || {
        let done = chain.executor.execute(&env(2), &txs, &chain.state).expect("executes");
        done.receipts.iter().filter(|r| r.success).count()
    })
}

fn trie_update() -> Work {
    let txs = verified(natives(1000));
    let mut chain = chain(txs.iter().map(Transaction::sender));
    // A first block brings the nodes into memory, as they are in a node that runs.
    let first = chain.executor.execute(&env(1), &txs, &chain.state).expect("executes").changes;
    let batch = chain.trie.apply(&first, &chain.state).expect("applies");
    chain.state.apply(&first);
    chain.state.apply_trie(&batch.updates);
    chain.trie.commit();
    let mut second = first;
    second.accounts.values_mut().flatten().for_each(|a| a.nonce += 1);
    Box::new(move || {
        black_box(chain.trie.apply(&second, &chain.state).expect("applies").root);
        second.accounts.len()
    })
}

fn block() -> Block {
    Block {
        header: Header {
            version: HEADER_VERSION,
            chain_id: CHAIN,
            height: Height(1),
            timestamp_ms: 1_700_000_001_000,
            parent_hash: B256::repeat_byte(1),
            transactions_root: B256::repeat_byte(2),
            parent_state_root: B256::repeat_byte(3),
            parent_receipts_root: B256::repeat_byte(4),
            parent_gas_used: 0,
            gas_limit: GAS_LIMIT,
            base_fee: 0,
            proposer: Address::repeat_byte(5),
            first_round: Round(0),
            next_validators_hash: B256::repeat_byte(6),
            last_certificate_hash: B256::ZERO,
            seal: Seal::None,
        },
        last_certificate: None,
        transactions: natives(1000),
    }
}

fn block_encode() -> Work {
    let block = block();
    Box::new(move || black_box(block.encode()).len().min(1000))
}

fn block_decode() -> Work {
    let bytes = block().encode();
    Box::new(move || Block::decode(bytes).expect("decodes").transactions.len())
}
