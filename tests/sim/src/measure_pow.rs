//! What proof of work costs: hashes, headers, reorgs of the engine. `basalt-sim measure --engine pow` prints it.

use std::{hint::black_box, time::Instant};

use basalt_consensus::{Effect, Engine, Input, Restored, Verdict, Verified};
use basalt_pow::{Config, Message, Pow, SealedHeader, Sealing, message::MAX_HEADERS, sim::test_params};
use basalt_primitives::{
    Address, B256, Block, HashFn, Header, Height, PowParams, Round, Seal, SealedBlock, U256, WorkHash,
    header::HEADER_VERSION,
};
use serde::Serialize;

/// Hashes tried in one measurement.
const TRIES: u64 = 2_000_000;

/// One work function.
#[derive(Clone, Debug, Serialize)]
pub struct HashRow {
    /// Its name.
    pub hash: String,
    /// Bare hashes a second on one core, in a loop.
    pub bare_per_s: f64,
    /// Nonces a second that a search tries on one core.
    pub search_per_s: f64,
    /// Headers a second whose seal one core checks, with both hashes of the header.
    pub checked_per_s: f64,
}

/// Measures each work function.
#[must_use]
pub fn hashes() -> Vec<HashRow> {
    WorkHash::ALL.into_iter().map(measure_hash).collect()
}

fn measure_hash(work_hash: WorkHash) -> HashRow {
    let sealing = Sealing { hash_fn: HashFn::Sha256, work_hash };
    let mut header = genesis().header().clone();
    header.seal = Seal::Work { target: U256::ONE, nonce: 0 };
    let bare = per_second(TRIES, || {
        (0..TRIES).for_each(|nonce| {
            black_box(work_hash.number(B256::repeat_byte(7), nonce));
        });
    });
    let search = per_second(TRIES, || assert_eq!(sealing.search(&header, 0, TRIES), None));
    header.seal = Seal::Work { target: U256::MAX, nonce: 0 };
    let count = TRIES / 10;
    let headers: Vec<Header> = (0..count).map(|n| Header { timestamp_ms: n, ..header.clone() }).collect();
    let checked = per_second(count, || {
        headers.into_iter().for_each(|header| {
            black_box(sealing.check(header)).ok();
        });
    });
    HashRow { hash: format!("{work_hash:?}"), bare_per_s: bare, search_per_s: search, checked_per_s: checked }
}

fn per_second(count: u64, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    count as f64 / start.elapsed().as_secs_f64()
}

/// What the engine takes, without seals, disks and execution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EngineRow {
    /// Headers of one chain.
    pub headers: u64,
    /// Seconds until all seals were checked.
    pub check_s: f64,
    /// Seconds until all headers were in the tree, in messages of 512.
    pub sync_s: f64,
    /// Seconds of a reorg of 64 blocks, headers, bodies and verdicts.
    pub reorg_64_s: f64,
}

/// Measures header-first sync of a chain of so many headers, and a reorg at the end of a short one.
#[must_use]
pub fn engine(headers: u64) -> EngineRow {
    let params = PowParams { initial_target: U256::MAX, max_target: U256::MAX, ..test_params() };
    let chain = chain(&genesis(), headers, 0);
    let sealing = Sealing { hash_fn: HashFn::Sha256, work_hash: WorkHash::Sha256d };
    let start = Instant::now();
    let check = |block: &SealedBlock| sealing.check(block.header().clone()).ok();
    let sealed: Vec<SealedHeader> = chain.iter().filter_map(check).collect();
    let check_s = start.elapsed().as_secs_f64();
    let mut pow = started(&params, headers as usize + 1_000);
    let start = Instant::now();
    for part in sealed.chunks(MAX_HEADERS) {
        let message = Verified::assume(Message::Headers(part.to_vec()));
        black_box(pow.step(0, u64::MAX >> 20, Input::Message { from: 1, message }));
    }
    let sync_s = start.elapsed().as_secs_f64();
    assert_eq!(pow.status().map(|s| s.best_header), Some(Height(headers)), "all headers were taken");
    EngineRow { headers, check_s, sync_s, reorg_64_s: reorg(&PowParams { finality_depth: 64, ..params }) }
}

fn reorg(params: &PowParams) -> f64 {
    let mut pow = started(params, 10_000);
    let old = chain(&genesis(), 100, 0);
    follow(&mut pow, &old);
    let new = chain(&old[35], 65, 1);
    let start = Instant::now();
    follow(&mut pow, &new);
    let took = start.elapsed().as_secs_f64();
    assert_eq!(pow.status().map(|s| s.head_hash), new.last().map(SealedBlock::hash), "the longer branch won");
    took
}

/// Gives the engine headers, bodies and verdicts.
fn follow(pow: &mut Pow, blocks: &[SealedBlock]) {
    let sealing = Sealing { hash_fn: HashFn::Sha256, work_hash: WorkHash::Sha256d };
    let headers = blocks.iter().filter_map(|b| sealing.check(b.header().clone()).ok()).collect();
    let mut inputs = vec![Input::Message { from: 1, message: Verified::assume(Message::Headers(headers)) }];
    while let Some(input) = inputs.pop() {
        for effect in pow.step(0, u64::MAX >> 20, input) {
            match effect {
                Effect::Fetch { block, height, .. } => {
                    let at = (height.0 - blocks[0].height().0) as usize;
                    inputs.push(Input::Fetched { block: blocks[at].clone() });
                    assert_eq!(blocks[at].hash(), block);
                }
                Effect::Validate { block } => {
                    inputs.push(Input::Validated { block: block.hash(), verdict: Verdict::Valid });
                }
                _ => {}
            }
        }
    }
}

fn started(params: &PowParams, capacity: usize) -> Pow {
    let sealing = Sealing { hash_fn: HashFn::Sha256, work_hash: WorkHash::Sha256d };
    let (params, genesis) = (params.clone(), genesis());
    let mut pow = Pow::new(Config { params, sealing, genesis: genesis.clone(), capacity, margin: 1_000, mine: false });
    let (sets, past) = (Vec::new(), Vec::new());
    let restored = Restored {
        head: genesis,
        certificate: None,
        had_transactions: false,
        sets,
        past,
        records: Some(Vec::new()),
        nonce: 0,
    };
    pow.step(0, 0, Input::Restored(restored));
    pow
}

/// Blocks on schedule, every nonce of which seals: only their number counts.
fn chain(parent: &SealedBlock, count: u64, fork: u64) -> Vec<SealedBlock> {
    let mut chain: Vec<SealedBlock> = Vec::new();
    for _ in 0..count {
        let below = chain.last().unwrap_or(parent);
        let header = Header {
            height: below.height().next(),
            timestamp_ms: below.header().timestamp_ms + test_params().block_interval_ms,
            parent_hash: below.hash(),
            seal: Seal::Work { target: U256::MAX, nonce: fork },
            ..below.header().clone()
        };
        let block = Block { header, last_certificate: None, transactions: Vec::new() };
        chain.push(SealedBlock::new(block, HashFn::Sha256));
    }
    chain
}

fn genesis() -> SealedBlock {
    let header = Header {
        version: HEADER_VERSION,
        chain_id: 7,
        height: Height::GENESIS,
        timestamp_ms: 1_000,
        parent_hash: B256::ZERO,
        transactions_root: B256::ZERO,
        parent_state_root: B256::ZERO,
        parent_receipts_root: B256::ZERO,
        parent_gas_used: 0,
        gas_limit: 30_000_000,
        base_fee: 0,
        proposer: Address::ZERO,
        first_round: Round::ZERO,
        next_validators_hash: B256::ZERO,
        last_certificate_hash: B256::ZERO,
        seal: Seal::None,
    };
    SealedBlock::new(Block { header, last_certificate: None, transactions: Vec::new() }, HashFn::Sha256)
}
