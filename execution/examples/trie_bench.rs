//! CPU per updated account of the state trie: `cargo run -p basalt-execution --example trie_bench [ACCOUNTS] [BUDGET_MB]`.
//!
//! Fills a trie, then applies blocks of 4,000 balance changes of random accounts, as a block of 2,000 transfers makes
//! them. Nodes are kept in a map that stands for the store, so what is measured is the trie and not a disk. Times are CPU
//! time of the thread, so other work on the machine does not count.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::HashMap, time::Duration};

use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, U256};
use basalt_execution::{StateError, StateTrie, TrieReader, trie::EMPTY_ROOT};
use basalt_primitives::state::{Account, StateChanges, TrieKey, TrieUpdates};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const UPDATES: usize = 4_000;
const BLOCKS: usize = 50;

#[derive(Default)]
struct Store {
    nodes: HashMap<TrieKey, Bytes>,
    reads: std::sync::atomic::AtomicU64,
}

impl TrieReader for Store {
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError> {
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(self.nodes.get(key).cloned())
    }
}

impl Store {
    fn write(&mut self, updates: TrieUpdates) -> (usize, usize) {
        let mut bytes = 0;
        let count = updates.nodes.len();
        for (key, node) in updates.nodes {
            match node {
                Some(node) => {
                    bytes += node.len() + key.path.len();
                    self.nodes.insert(key, Bytes::copy_from_slice(&node));
                }
                None => drop(self.nodes.remove(&key)),
            }
        }
        (count, bytes)
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn address(n: u64) -> Address {
    Address::left_padding_from(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
}

fn account(balance: u64) -> Option<Account> {
    Some(Account { nonce: 1, balance: U256::from(balance) << 40, code_hash: KECCAK256_EMPTY })
}

/// What hashing costs here and now, as a yardstick.
fn keccak_cost() {
    for size in [20usize, 100, 532] {
        let mut data = vec![7u8; size];
        let start = cpu();
        for i in 0..20_000u32 {
            data[0] = i as u8;
            data[1] = alloy_primitives::keccak256(&data)[0];
        }
        println!("keccak of {size} bytes: {:.2} µs", (cpu() - start).as_secs_f64() * 1e6 / 20_000.0);
    }
}

fn main() {
    keccak_cost();
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let accounts = args.next().unwrap_or(1_000_000);
    let budget = args.next().unwrap_or(512) as usize * 1024 * 1024;
    let mut store = Store::default();
    let mut trie = StateTrie::open(EMPTY_ROOT, budget);
    let started = cpu();
    for chunk in (0..accounts).collect::<Vec<_>>().chunks(50_000) {
        let changes = changes(chunk.iter().map(|n| (*n, *n)));
        let batch = trie.apply(&changes, &store).unwrap();
        store.write(batch.updates);
        trie.commit();
    }
    println!(
        "filled {accounts} accounts in {:.1} s, {} MB in memory",
        (cpu() - started).as_secs_f64(),
        trie.memory() >> 20
    );
    measure(&mut trie, &mut store, accounts);
}

fn changes(all: impl Iterator<Item = (u64, u64)>) -> StateChanges {
    StateChanges { accounts: all.map(|(n, b)| (address(n), account(b))).collect(), ..StateChanges::default() }
}

fn measure(trie: &mut StateTrie, store: &mut Store, accounts: u64) {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut apply, mut commit) = (Vec::new(), Vec::new());
    let (mut nodes, mut bytes, mut updated) = (0, 0, 0);
    let reads = store.reads.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..BLOCKS {
        let changes = changes((0..UPDATES).map(|_| (rng.random_range(0..accounts), rng.random())));
        updated += changes.accounts.len();
        let start = cpu();
        let batch = trie.apply(&changes, store).unwrap();
        apply.push(cpu() - start);
        let (n, b) = store.write(batch.updates);
        (nodes, bytes) = (nodes + n, bytes + b);
        let start = cpu();
        trie.commit();
        commit.push(cpu() - start);
    }
    let reads = store.reads.load(std::sync::atomic::Ordering::Relaxed) - reads;
    report("apply", &mut apply, updated);
    report("commit", &mut commit, updated);
    let per = |n: usize| n as f64 / updated as f64;
    println!(
        "per account: {:.2} nodes and {:.0} bytes written, {:.2} read",
        per(nodes),
        per(bytes),
        per(reads as usize)
    );
    println!("{} MB in memory", trie.memory() >> 20);
}

fn report(name: &str, times: &mut [Duration], updated: usize) {
    times.sort_unstable();
    let total: Duration = times.iter().sum();
    let median = times[times.len() / 2];
    println!(
        "{name}: {:.2} µs per updated account (mean), {:.2} µs (median block), slowest block {:.1} ms",
        total.as_secs_f64() * 1e6 / updated as f64,
        median.as_secs_f64() * 1e6 * BLOCKS as f64 / updated as f64,
        times[times.len() - 1].as_secs_f64() * 1e3,
    );
}
