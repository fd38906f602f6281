//! The other side of catching up: what this node gives to peers that ask.

use basalt_primitives::{B256, Bytes, Height};
use basalt_proto::Codec as _;
use basalt_storage::Reader as _;

use crate::{chain::Chain, driver::bodies::Bodies, network::BlockSource};

/// Serves blocks to peers: final ones from the ledger, proposed ones from where they are kept until then.
#[derive(Clone)]
pub struct Blocks {
    /// Final blocks.
    pub chain: Chain,
    /// Proposed ones.
    pub bodies: Bodies,
}

impl BlockSource for Blocks {
    fn head(&self) -> (u64, B256) {
        let head = self.chain.ledger.head();
        (head.height().0, head.hash())
    }

    fn block_range(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Bytes> {
        let ledger = self.chain.ledger.snapshot();
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        for height in (from..).take(max_count) {
            let block = match ledger.certified_bytes(Height(height)) {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(e) => {
                    tracing::error!("block {height} could not be read for a peer: {e}");
                    break;
                }
            };
            bytes += block.len();
            if bytes > max_bytes && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
        }
        blocks
    }

    fn block_by_hash(&self, hash: &B256) -> Option<Bytes> {
        let stored = || self.chain.ledger.block_by_hash(hash).ok().flatten();
        let block = self.bodies.block(hash).or_else(|| self.chain.ledger.staged(hash)).or_else(stored)?;
        Some(block.block().encode().into())
    }

    fn genesis(&self) -> Option<Bytes> {
        Some(self.chain.spec.to_json().into_bytes().into())
    }
}
