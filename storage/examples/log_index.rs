//! What a search for logs costs over a long chain: `cargo run --release -p basalt-storage --example log_index [BLOCKS]`.
//!
//! Commits a chain in which a token contract has one transfer a block, a hundred other contracts an event now and then,
//! and two accounts deal with each other rarely; then searches the whole of it. Times are wall time of one search: the
//! first, median and worst of seven, with a node's default cache. Commits are synced, so the filling takes minutes.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::time::{Duration, Instant};

use basalt_primitives::{
    Address, B256, Block, Bytes, ChainSpec, CommitCertificate, Header, Height, Log, Receipt, Round, Seal, SealedBlock,
    SecretKey,
    block::transactions_root,
    header::HEADER_VERSION,
    keccak256,
    receipt::receipts_root,
    state::{StateChanges, TrieUpdates},
};
use basalt_storage::{
    BlockCommit, GenesisState, Ledger, LogQuery, OpenOptions, Outcome, Reader as _, SearchEnd, SearchLimits,
};

const RARE_EVERY: u64 = 2_000;

fn account(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

fn transfer() -> B256 {
    keccak256("Transfer(address,address,uint256)")
}

fn log(address: Address, event: B256, from: Address, to: Address) -> Log {
    Log { address, topics: vec![event, from.into_word(), to.into_word()], data: Bytes::from(vec![7; 32]) }
}

/// One transfer of the token, one event of another contract, and sometimes the pair.
fn logs(height: u64) -> Vec<Log> {
    let mut logs = vec![
        log(account(1), transfer(), account(1000 + height % 50_000), account(1000 + height * 7 % 50_000)),
        log(account(2 + height % 100), keccak256("Something"), account(height), account(height + 1)),
    ];
    if height.is_multiple_of(RARE_EVERY) {
        logs.push(log(account(1), transfer(), account(500), account(501)));
    }
    logs
}

fn receipt(height: u64) -> Receipt {
    Receipt {
        tx_hash: keccak256(height.to_be_bytes()),
        tx_type: 2,
        success: true,
        gas_used: 50_000,
        cumulative_gas_used: 50_000,
        effective_gas_price: 0,
        contract_address: None,
        logs: logs(height),
        revert_data: Bytes::new(),
    }
}

fn spec() -> ChainSpec {
    let key = SecretKey::from_bytes(&[1; 32]).public_key();
    ChainSpec::from_json(&format!(
        r#"{{
            "name": "bench", "chainId": 31337, "genesisTimeMs": 1700000000000, "hashFn": "sha256", "development": true,
            "consensus": {{"engine": "pbft", "blockIntervalMs": 1000, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 10000,
                           "emptyBlockMs": null, "clockToleranceMs": 1000}},
            "gasLimit": 30000000, "maxBlockBytes": 1048576, "fees": {{"kind": "zero"}}, "forks": {{"0": "osaka"}},
            "validators": [{{"name": "a", "public_key": "{key}", "power": 1}}], "alloc": {{}}
        }}"#
    ))
    .unwrap()
}

/// The next block, with one transaction that leaves this receipt.
fn commit(ledger: &Ledger, spec: &ChainSpec, receipt: Receipt) {
    let head = ledger.head();
    let last_certificate = head.certificate.as_deref().cloned();
    let hashes = [receipt.tx_hash];
    let header = Header {
        version: HEADER_VERSION,
        chain_id: spec.chain_id,
        height: head.height().next(),
        timestamp_ms: head.block.header().timestamp_ms + 1000,
        parent_hash: head.hash(),
        transactions_root: transactions_root(spec.hash_fn, &hashes),
        parent_state_root: head.outcome.state_root,
        parent_receipts_root: head.outcome.receipts_root,
        parent_gas_used: head.outcome.gas_used,
        gas_limit: spec.gas_limit,
        base_fee: 0,
        proposer: account(0),
        first_round: Round(0),
        next_validators_hash: B256::repeat_byte(3),
        last_certificate_hash: last_certificate.as_ref().map_or(B256::ZERO, |c| c.hash(spec.hash_fn)),
        seal: Seal::None,
    };
    let block = Block { header, last_certificate, transactions: vec![Bytes::from(vec![1; 170])] };
    let block = SealedBlock::new(block, spec.hash_fn);
    let (height, block_hash) = (block.height(), block.hash());
    let certificate = CommitCertificate { height, round: Round(0), block_hash, signatures: Vec::new() };
    let receipts = [receipt];
    let outcome = Outcome { receipts_root: receipts_root(spec.hash_fn, &receipts), ..head.outcome };
    let commit = BlockCommit {
        block: &block,
        certificate: Some(&certificate),
        work: None,
        tx_hashes: &hashes,
        receipts: &receipts,
        skipped: &[],
        changes: &StateChanges::default(),
        trie: &TrieUpdates::default(),
        outcome,
    };
    ledger.commit(&commit).unwrap();
}

fn search(ledger: &Ledger, name: &str, query: &LogQuery, blocks: u64) {
    let limits = SearchLimits { logs: 20_000, rows: 4_000_000 };
    let mut times: Vec<Duration> = Vec::new();
    let mut found = 0;
    for _ in 0..7 {
        let snapshot = ledger.snapshot();
        let start = Instant::now();
        let logs = snapshot.find_logs(query, Height(1), Height(blocks), limits).unwrap();
        times.push(start.elapsed());
        found = logs.logs.len();
        assert_eq!(logs.end, SearchEnd::Complete);
    }
    let first = times[0];
    times.sort_unstable();
    println!("{name}: {found} logs in {:.1?} (first time {first:.1?}, worst {:.1?})", times[3], times[6]);
}

fn main() {
    let blocks = std::env::args().nth(1).map_or(1_000_000, |a| a.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let spec = spec();
    let genesis = || GenesisState { root: keccak256([0x80]), ..GenesisState::default() };
    let ledger = Ledger::open(dir.path(), &spec, &OpenOptions::default(), genesis).unwrap();
    let start = Instant::now();
    for height in 1..=blocks {
        commit(&ledger, &spec, receipt(height));
    }
    let rows = 2 * blocks + blocks / RARE_EVERY;
    println!(
        "{blocks} blocks with {rows} logs written in {:.0?}, {} MB on the disk",
        start.elapsed(),
        ledger.disk_bytes() >> 20
    );
    assert!(ledger.bloom(Height(1)).unwrap().is_some());
    let query = |addresses: &[u64], topics: Vec<Vec<B256>>| LogQuery {
        addresses: addresses.iter().map(|n| account(*n)).collect(),
        topics,
    };
    let (from, to) = (vec![account(500).into_word()], vec![account(501).into_word()]);
    let pair = |n| query(n, vec![vec![transfer()], from.clone(), to.clone()]);
    search(&ledger, "token, event and both accounts", &pair(&[1]), blocks);
    search(&ledger, "sender of the token", &query(&[1], vec![vec![], vec![account(1700).into_word()]]), blocks);
    search(&ledger, "one of ten contracts and the pair", &pair(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), blocks);
    search(&ledger, "nothing such", &query(&[1], vec![vec![keccak256("Never")]]), blocks);
    search(&ledger, "two frequent terms that never meet", &query(&[1], vec![vec![keccak256("Something")]]), blocks);
}
