//! Blocks that are not final, of several branches, against a ledger on which the same blocks are committed one by one.

use std::{collections::BTreeMap, path::Path};

use basalt_primitives::{Address, B256, Block, Height, Seal, SealedBlock, U256, state::StorageChanges};
use basalt_storage::{
    BlockCommit, ChainWork, Head, Ledger, LogQuery, Reader as _, SearchLimits, Snapshot, StorageError,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::chain::{ALICE, CONTRACT, Made, account, next, open};

fn work(height: Height) -> ChainWork {
    ChainWork { total: U256::from(height.0 * 1000), time_ms: height.0 }
}

/// A block with a seal on a head; what it changes is drawn.
fn sealed(head: &Head, rng: &mut StdRng) -> Made {
    let mut made = next(head, rng.random_range(0..6));
    let mut header = made.block.header().clone();
    header.seal = Seal::Work { target: U256::MAX, nonce: rng.random_range(0..u64::MAX) };
    let transactions = made.block.block().transactions.clone();
    made.block =
        SealedBlock::new(Block { header, last_certificate: None, transactions }, crate::chain::spec(1).hash_fn);
    for _ in 0..rng.random_range(0..4) {
        let (address, height) = (other(rng.random_range(0..5)), head.height().0);
        let wiped = rng.random_range(0..4) == 0;
        let slots =
            (0..3).map(|_| (U256::from(rng.random_range(0..6u64)), U256::from(rng.random_range(0..3u64)))).collect();
        made.changes.accounts.insert(address, Some(account(height, rng.random_range(0..9))));
        made.changes.storage.insert(address, StorageChanges { wiped, slots });
        if rng.random_range(0..5) == 0 {
            made.changes.accounts.insert(address, None);
            made.changes.storage.remove(&address);
        }
    }
    made
}

fn other(n: u8) -> Address {
    let mut a = Address::repeat_byte(0x77);
    a.0[19] = n;
    a
}

fn commit(made: &Made) -> BlockCommit<'_> {
    BlockCommit { certificate: None, work: Some(work(made.block.height())), ..made.commit() }
}

/// A ledger on which every block of a chain is final at once.
fn committed(path: &Path, chain: &[&Made]) -> Ledger {
    let ledger = open(path).unwrap();
    for made in chain {
        let view = ledger.stage(&ledger.snapshot(), &commit(made)).unwrap();
        let hash = view.head().hash();
        let durable = ledger.adopt(&hash, view.head().height(), &hash).unwrap();
        assert_eq!(durable.len(), 1);
    }
    assert_eq!(ledger.staged_count(), 0);
    ledger
}

/// Everything readers can ask is the same in both.
fn same(a: &Snapshot, b: &Snapshot) {
    assert_eq!(a.head().hash(), b.head().hash());
    let head = a.head().height();
    for height in (0..=head.0 + 1).map(Height) {
        assert_eq!(a.summary(height).unwrap(), b.summary(height).unwrap());
        assert_eq!(a.block(height).unwrap(), b.block(height).unwrap());
        assert_eq!(a.receipts(height).unwrap(), b.receipts(height).unwrap());
        assert_eq!(a.skipped(height).unwrap(), b.skipped(height).unwrap());
        assert_eq!(a.bloom(height).unwrap(), b.bloom(height).unwrap());
        assert_eq!(a.changed(height).unwrap(), b.changed(height).unwrap());
        assert_eq!(a.certified_bytes(height).unwrap(), b.certified_bytes(height).unwrap());
        assert_eq!(a.check_block(height).unwrap(), height <= head);
        for receipt in a.receipts(height).unwrap().unwrap_or_default() {
            assert_eq!(a.tx_location(&receipt.tx_hash).unwrap(), b.tx_location(&receipt.tx_hash).unwrap());
        }
        if height <= head {
            same_state(a, b, height);
        }
    }
    same_logs(a, b, head);
}

fn same_state(a: &Snapshot, b: &Snapshot, height: Height) {
    let (a, b) = (a.state_at(height).unwrap(), b.state_at(height).unwrap());
    for address in [ALICE, CONTRACT].into_iter().chain((0..5).map(other)) {
        assert_eq!(a.account(&address).unwrap(), b.account(&address).unwrap(), "{address} after {height}");
        for slot in (0..12).map(U256::from) {
            assert_eq!(a.storage(&address, &slot).unwrap(), b.storage(&address, &slot).unwrap());
        }
    }
}

fn same_logs(a: &Snapshot, b: &Snapshot, head: Height) {
    let topic = |n| LogQuery { addresses: Vec::new(), topics: vec![vec![B256::repeat_byte(n)]] };
    let address = LogQuery { addresses: vec![CONTRACT], topics: Vec::new() };
    for query in [LogQuery::default(), address, topic(1), topic(2), topic(4)] {
        for limit in [1, 3, 1000] {
            let limits = SearchLimits { logs: limit, rows: 100_000 };
            let find = |s: &Snapshot| s.find_logs(&query, Height(1), head, limits).unwrap();
            assert_eq!(find(a), find(b), "{query:?}");
        }
    }
}

/// Grows a tree of blocks on several tips, adopts one after the other, finalizes some depth below; after every step every branch
/// reads as a ledger of its own.
#[test]
fn every_branch_reads_like_a_ledger_of_its_own() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(dir.path()).unwrap();
        let genesis = ledger.head().hash();
        let mut blocks: BTreeMap<B256, Made> = BTreeMap::new();
        let mut tips = vec![genesis];
        for step in 0..24 {
            let live: Vec<B256> = tips.iter().copied().filter(|t| ledger.view_of(t).is_some()).collect();
            let parent = live[rng.random_range(0..live.len())];
            let view = ledger.view_of(&parent).unwrap();
            let made = sealed(&view.head(), &mut rng);
            let hash = made.block.hash();
            ledger.stage(&view, &commit(&made)).unwrap();
            assert_eq!(ledger.staged(&hash), Some(made.block.clone()));
            blocks.insert(hash, made);
            tips.push(hash);
            let view = ledger.view_of(&hash).unwrap();
            let height = view.head().height();
            let depth = rng.random_range(3..6);
            let finalized = (height.0.checked_sub(depth)).map(Height).unwrap_or_default();
            let finalized = view.block_hash(finalized.max(ledger.finalized().height())).unwrap().unwrap();
            ledger.adopt(&hash, height, &finalized).unwrap();
            assert_eq!((ledger.head().hash(), ledger.finalized().hash()), (hash, finalized));
            if step % 6 == 5 {
                for tip in tips.iter().filter(|t| **t != genesis).filter_map(|t| ledger.view_of(t)) {
                    let fresh = tempfile::tempdir().unwrap();
                    same(&tip, &committed(fresh.path(), &chain_of(&blocks, &tip)).snapshot());
                }
            }
        }
    }
}

fn chain_of<'a>(blocks: &'a BTreeMap<B256, Made>, tip: &Snapshot) -> Vec<&'a Made> {
    let mut chain = Vec::new();
    let mut at = tip.head().hash();
    while let Some(made) = blocks.get(&at) {
        chain.push(made);
        at = made.block.header().parent_hash;
    }
    chain.reverse();
    chain
}

#[test]
fn only_what_is_final_outlives_the_process() {
    let mut rng = StdRng::seed_from_u64(7);
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut hashes = Vec::new();
    for _ in 0..5 {
        let view = ledger.snapshot();
        let made = sealed(&view.head(), &mut rng);
        ledger.stage(&view, &commit(&made)).unwrap();
        hashes.push(made.block.hash());
        let finalized = hashes.len().checked_sub(3).map_or(view.finalized().hash(), |at| hashes[at]);
        ledger.adopt(&made.block.hash(), Height(1), &finalized).unwrap();
    }
    assert_eq!(
        (ledger.head().height(), ledger.finalized().height(), ledger.snapshot().safe()),
        (Height(5), Height(3), Height(3))
    );
    let kept = ledger.view_of(&hashes[2]).unwrap().head();
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!((ledger.head().hash(), ledger.staged_count()), (hashes[2], 0));
    assert_eq!((ledger.head().work, ledger.head().outcome), (kept.work, kept.outcome));
}

#[test]
fn a_block_whose_parent_is_gone_and_a_head_off_the_final_chain_are_refused() {
    let mut rng = StdRng::seed_from_u64(9);
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let root = ledger.snapshot();
    let (a, b) = (sealed(&root.head(), &mut rng), sealed(&root.head(), &mut rng));
    let side = ledger.stage(&root, &commit(&b)).unwrap();
    ledger.stage(&root, &commit(&a)).unwrap();
    let hash = a.block.hash();
    ledger.adopt(&hash, Height(1), &hash).unwrap();
    assert!(ledger.view_of(&b.block.hash()).is_none(), "it went when the other became final");
    assert!(matches!(ledger.adopt(&b.block.hash(), Height(1), &hash), Err(StorageError::NotNext { .. })));
    let above = sealed(&side.head(), &mut rng);
    assert!(matches!(ledger.stage(&side, &commit(&above)), Err(StorageError::NotNext { .. })));
    let plain = next(&ledger.head(), 1);
    assert!(matches!(ledger.stage(&ledger.snapshot(), &commit(&plain)), Err(StorageError::NotNext { .. })), "no seal");
}
