//! Receipts and logs: what a transaction did.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes};

use crate::{HashFn, layout::Layout, merkle};

/// One event of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Contract that emitted it.
    pub address: Address,
    /// At most four topics.
    pub topics: Vec<B256>,
    /// The data.
    pub data: Bytes,
}

/// The result of one executed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Hash of the transaction.
    pub tx_hash: B256,
    /// EIP-2718 type: 0, 1, 2, 4, or [`crate::tx::native::TX_TYPE`].
    pub tx_type: u8,
    /// Whether it ran to its end; a reverted transaction pays and counts its nonce.
    pub success: bool,
    /// Gas used by this transaction.
    pub gas_used: u64,
    /// Gas used in the block up to and including this transaction.
    pub cumulative_gas_used: u64,
    /// Price paid per gas, in wei.
    pub effective_gas_price: u128,
    /// The contract made, if any.
    pub contract_address: Option<Address>,
    /// Events, in order.
    pub logs: Vec<Log>,
    /// Return data of a failed transaction, bounded to [`Self::MAX_OUTPUT`] bytes; empty when it succeeded.
    pub revert_data: Bytes,
}

impl Receipt {
    /// Revert data beyond this many bytes is cut.
    pub const MAX_OUTPUT: usize = 1024;

    /// The Ethereum bloom of the logs.
    #[must_use]
    pub fn bloom(&self) -> Bloom {
        let mut b = Bloom::ZERO;
        for log in &self.logs {
            b.accrue(BloomInput::Raw(log.address.as_slice()));
            for t in &log.topics {
                b.accrue(BloomInput::Raw(t.as_slice()));
            }
        }
        b
    }

    /// The receipt's hash: every field, in the fixed layout.
    #[must_use]
    pub fn hash(&self, hash_fn: HashFn) -> B256 {
        let mut l = Layout::new("basalt/receipt/v1");
        l.fixed(&self.tx_hash.0)
            .u8(self.tx_type)
            .u8(self.success.into())
            .u64(self.gas_used)
            .u64(self.cumulative_gas_used)
            .u128(self.effective_gas_price)
            .option(self.contract_address, |l, a| {
                l.fixed(&a.0.0);
            })
            .len(self.logs.len());
        for log in &self.logs {
            l.fixed(&log.address.0.0).len(log.topics.len());
            for t in &log.topics {
                l.fixed(&t.0);
            }
            l.bytes(&log.data);
        }
        l.bytes(&self.revert_data);
        hash_fn.of(&l)
    }
}

/// Root of the hash tree over a block's receipts.
#[must_use]
pub fn receipts_root(hash_fn: HashFn, receipts: &[Receipt]) -> B256 {
    let hashes: Vec<B256> = receipts.iter().map(|r| r.hash(hash_fn)).collect();
    merkle::root(hash_fn, &hashes)
}
