//! What must hold in every run at level 2. Agreement, validity, no equivocation and "persist before you speak" are those of
//! level 1; the others look at real certificates, real state and real receipts. Each invariant is a named function.

use std::collections::{BTreeMap, BTreeSet};

use basalt_consensus::sim::{Violation, oracle};
use basalt_node::chain::Chain;
use basalt_primitives::{B256, Height, SealedBlock, U256};
use basalt_storage::{Head, Outcome, Reader as _, Snapshot};

use super::chain::{COUNTER, Setup};

pub fn violation(oracle: &'static str, what: impl Into<String>) -> Violation {
    Violation { oracle, what: what.into() }
}

fn unreadable(e: &basalt_storage::StorageError) -> Violation {
    violation("readable ledger", e.to_string())
}

/// What somebody who sees everything has seen.
#[derive(Default)]
pub struct Oracles {
    /// Those that level 1 has too.
    pub shared: oracle::Oracles,
    results: BTreeMap<Height, (B256, Outcome)>,
    /// Transactions in a block, with its height.
    committed: BTreeMap<B256, Height>,
    calls: BTreeMap<Height, u64>,
    burnt: BTreeMap<Height, U256>,
}

impl Oracles {
    /// A node has executed and stored a block: all that can be said of it at once.
    pub fn executed(&mut self, chain: &Chain, setup: &Setup) -> Result<(), Violation> {
        let snapshot = chain.ledger.snapshot();
        let head = snapshot.head();
        let parent = head.height().prev().and_then(|h| snapshot.block(h).transpose()).transpose();
        if let Some(parent) = parent.map_err(|e| unreadable(&e))? {
            oracle::validity(&parent, &head.block)?;
        }
        certificate_soundness(chain, &head)?;
        self.shared.agreement(&head.block)?;
        self.same_state_root(&head)?;
        self.executed_once(&snapshot, &head.block)?;
        self.conservation_of_balances(&snapshot, setup)?;
        self.contract_counts(&snapshot, &head.block)
    }

    /// Same state root: whoever has executed a height has the same state, receipts and gas after it.
    fn same_state_root(&mut self, head: &Head) -> Result<(), Violation> {
        let result = (head.hash(), head.outcome);
        let first = *self.results.entry(head.height()).or_insert(result);
        if first == result {
            return Ok(());
        }
        Err(violation("same state root", format!("height {}: {first:?} and {result:?}", head.height())))
    }

    /// A transaction is executed at one height and no other.
    fn executed_once(&mut self, snapshot: &Snapshot, block: &SealedBlock) -> Result<(), Violation> {
        let height = block.height();
        let receipts = snapshot.receipts(height).map_err(|e| unreadable(&e))?.unwrap_or_default();
        for receipt in receipts {
            let first = *self.committed.entry(receipt.tx_hash).or_insert(height);
            if first != height {
                let what = format!("{} was executed at {first} and at {height}", receipt.tx_hash);
                return Err(violation("executed once", what));
            }
        }
        Ok(())
    }

    /// The counter's slot is the number of calls that all blocks up to here carried.
    fn contract_counts(&mut self, snapshot: &Snapshot, block: &SealedBlock) -> Result<(), Violation> {
        let count = snapshot.storage(&COUNTER, &U256::ZERO).map_err(|e| unreadable(&e))?;
        let receipts = snapshot.receipts(block.height()).map_err(|e| unreadable(&e))?.unwrap_or_default();
        // Transfers use 21,000 gas exactly; calls use more.
        let here = receipts.iter().filter(|r| r.success && r.gas_used > 21_000).count() as u64;
        let before = block.height().prev().and_then(|h| self.calls.get(&h)).copied().unwrap_or_default();
        self.calls.insert(block.height(), before + here);
        if count == U256::from(before + here) {
            return Ok(());
        }
        let what = format!("the contract counts {count} at height {}, but {} calls ran", block.height(), before + here);
        Err(violation("contract state", what))
    }

    /// Conservation of balances: what all accounts hold, and the base fees that were burnt, is what there was at genesis.
    fn conservation_of_balances(&mut self, snapshot: &Snapshot, setup: &Setup) -> Result<(), Violation> {
        let mut held = U256::ZERO;
        for address in setup.accounts() {
            held += snapshot.account(&address).map_err(|e| unreadable(&e))?.unwrap_or_default().balance;
        }
        let head = snapshot.head();
        let before = head.height().prev().and_then(|h| self.burnt.get(&h)).copied().unwrap_or_default();
        let burnt = before + U256::from(head.block.header().base_fee) * U256::from(head.outcome.gas_used);
        self.burnt.insert(head.height(), burnt);
        if held + burnt == setup.supply() {
            return Ok(());
        }
        let what = format!(
            "height {}: {held} held and {burnt} burnt are not the {} of genesis",
            head.height(),
            setup.supply()
        );
        Err(violation("conservation of balances", what))
    }

    /// No committed transaction lost: a node that has reached a height has everything committed up to it.
    pub fn no_committed_transaction_lost(&self, chain: &Chain) -> Result<(), Violation> {
        let snapshot = chain.ledger.snapshot();
        let top = snapshot.head().height();
        for (hash, height) in self.committed.iter().filter(|(_, height)| **height <= top) {
            let here = snapshot.tx_location(hash).map_err(|e| unreadable(&e))?;
            if here.is_none_or(|l| l.height != *height) {
                let what = format!("{hash} was committed at {height}, but a node at {top} has it at {here:?}");
                return Err(violation("no committed transaction lost", what));
            }
        }
        Ok(())
    }

    /// Transactions that are in blocks.
    pub fn committed(&self) -> BTreeSet<B256> {
        self.committed.keys().copied().collect()
    }

    /// Height that somebody has reached.
    pub fn height(&self) -> Height {
        self.results.last_key_value().map(|(h, _)| *h).unwrap_or_default()
    }
}

/// Certificate soundness: a stored block has real signatures of a quorum of the validators of its height.
pub fn certificate_soundness(chain: &Chain, head: &Head) -> Result<(), Violation> {
    let certificate = head.certificate.as_deref().filter(|c| c.height == head.height() && c.block_hash == head.hash());
    let set = chain.sets.at(head.height());
    if certificate.is_some_and(|c| set.as_ref().is_some_and(|set| set.verify_certificate(chain.genesis, c).is_ok())) {
        return Ok(());
    }
    Err(violation("certificate soundness", format!("height {} is stored with a bad certificate", head.height())))
}
