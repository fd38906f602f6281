//! A thousand random reorgs up to depth 64: the state that the announcements lead to is that of a fresh replay.
//!
//! The model of state is an account book: each block carries transfers of its own and, when it is done, keeps what it replaced, so
//! that it can be undone. A replay starts from nothing and does every block of the head's chain.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use basalt_consensus::{Effect, Engine, Input, Verdict, Verified};
use basalt_pow::{Message, Record, sim::test_params};
use basalt_primitives::{B256, PowParams, SealedBlock, U256};
use common::Bench;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Reorgs that are made.
const REORGS: usize = 1_000;
/// The deepest.
const DEPTH: u64 = 64;

/// What an account had before.
type Replaced = (u8, Option<u64>);

/// Balances, and for each block done what it replaced.
#[derive(Default)]
struct Book {
    accounts: BTreeMap<u8, u64>,
    replaced: Vec<(B256, Vec<Replaced>)>,
    waiting: BTreeSet<B256>,
}

/// What a block does: three accounts, chosen by its hash, get a value made of it and of what they had.
fn entries(hash: B256, accounts: &BTreeMap<u8, u64>) -> Vec<(u8, u64)> {
    let entry = |i: usize| {
        let account = hash.0[i] % 32;
        let had = accounts.get(&account).copied().unwrap_or_default();
        (account, had.wrapping_mul(31).wrapping_add(u64::from(hash.0[i + 8])))
    };
    (0..3).map(entry).collect()
}

impl Book {
    fn apply(&mut self, hash: B256) {
        let mut replaced = Vec::new();
        for (account, value) in entries(hash, &self.accounts) {
            replaced.push((account, self.accounts.insert(account, value)));
        }
        self.replaced.push((hash, replaced));
        self.waiting.remove(&hash);
    }

    fn undo(&mut self, hash: B256) {
        let (newest, replaced) = self.replaced.pop().expect("something was done");
        assert_eq!(newest, hash, "only the newest can be undone");
        for (account, had) in replaced.into_iter().rev() {
            match had {
                Some(value) => self.accounts.insert(account, value),
                None => self.accounts.remove(&account),
            };
        }
        self.waiting.insert(hash);
    }
}

struct Run {
    bench: Bench,
    book: Book,
    /// The head's chain, genesis first.
    chain: Vec<SealedBlock>,
    finalized: B256,
    reorgs: usize,
    deepest: usize,
}

impl Run {
    /// Gives the engine blocks as headers, bodies and verdicts, and follows its announcements.
    fn give(&mut self, blocks: &[SealedBlock]) {
        let message = Message::Headers(blocks.iter().map(Bench::sealed).collect());
        let mut inputs = vec![Input::Message { from: 1, message: Verified::assume(message) }];
        while let Some(input) = inputs.pop() {
            let (now, wall) = (self.bench.now, self.bench.wall);
            for effect in self.bench.engine.step(now, wall, input) {
                match effect {
                    Effect::Fetch { block, .. } => {
                        let found = blocks.iter().find(|b| b.hash() == block).expect("given before");
                        inputs.push(Input::Fetched { block: found.clone() });
                    }
                    Effect::Validate { block } => {
                        inputs.push(Input::Validated { block: block.hash(), verdict: Verdict::Valid });
                    }
                    Effect::Forkchoice { finalized, branch: Some(branch), .. } => self.follow(finalized, &branch),
                    Effect::Persist(Record::Block(_)) | Effect::Send { .. } => {}
                    other => panic!("unexpected: {other:?}"),
                }
            }
        }
    }

    fn follow(&mut self, finalized: B256, branch: &basalt_consensus::Branch) {
        branch.abandoned.iter().for_each(|hash| self.book.undo(*hash));
        branch.adopted.iter().for_each(|hash| self.book.apply(*hash));
        self.finalized = finalized;
        if !branch.abandoned.is_empty() {
            self.reorgs += 1;
            self.deepest = self.deepest.max(branch.abandoned.len());
        }
    }

    fn check(&self) {
        let mut fresh = Book::default();
        self.chain[1..].iter().for_each(|block| fresh.apply(block.hash()));
        assert_eq!(self.book.accounts, fresh.accounts, "not what a fresh replay leads to");
        let done: Vec<B256> = self.book.replaced.iter().map(|(hash, _)| *hash).collect();
        let chain: Vec<B256> = self.chain[1..].iter().map(SealedBlock::hash).collect();
        assert_eq!(done, chain);
    }
}

#[test]
fn a_thousand_reorgs_lead_where_a_fresh_replay_leads() {
    // All blocks alike: work is the number of blocks, so the longer branch wins, and depth is what the test says.
    let flat = U256::MAX >> 1;
    let params =
        PowParams { initial_target: flat, max_target: flat, finality_depth: DEPTH, safe_depth: 12, ..test_params() };
    let mut bench = Bench::with(params);
    bench.start(Vec::new());
    bench.wall += 1 << 40;
    let mut rng = ChaCha8Rng::seed_from_u64(64);
    let genesis = bench.genesis.clone();
    let mut run = Run {
        bench,
        book: Book::default(),
        chain: vec![genesis.clone()],
        finalized: genesis.hash(),
        reorgs: 0,
        deepest: 0,
    };
    let first = run.bench.row("first-", "genesis", 70);
    run.give(&first);
    run.chain.extend(first);
    run.check();
    for round in 0..REORGS {
        // Late blocks keep the target at its limit.
        let most = DEPTH.min(run.chain.len() as u64 - 1);
        let depth = if round % 10 == 0 { most } else { rng.random_range(1..=most) };
        run.chain.truncate(run.chain.len() - depth as usize);
        let parent = run.bench.names[&run.chain[run.chain.len() - 1].hash()].clone();
        let branch = run.bench.row(&format!("r{round}-"), &parent, depth + 1);
        run.give(&branch);
        run.chain.extend(branch);
        let status = run.bench.engine.status().expect("started");
        assert_eq!(status.head_hash, run.chain[run.chain.len() - 1].hash(), "round {round}, depth {depth}");
        assert_eq!(status.finalized.0, status.head.0 - DEPTH);
        run.check();
        // What is final is forgotten by the bench as well: names are of use no more.
    }
    println!("{} reorgs, the deepest of {} blocks", run.reorgs, run.deepest);
    assert_eq!((run.reorgs, run.deepest as u64), (REORGS, DEPTH));
    // What was given back is what no longer stands: nothing of the chain waits, and everything abandoned does.
    assert!(run.chain[1..].iter().all(|b| !run.book.waiting.contains(&b.hash())));
    assert!(run.book.waiting.len() > REORGS * 20);
}
