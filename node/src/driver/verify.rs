//! Checks messages of peers off the engine's thread: decode, shape, signatures, block body. What passes becomes
//! [`Verified`]; what does not is counted, and its sender reported.

use std::sync::Arc;

use basalt_bft::message::{Message, SignedMessage};
use basalt_consensus::Verified;
use basalt_primitives::{B256, Bytes, ChainSpec, Height, PublicKey, SealedBlock, tx::Transaction};

use super::{
    bodies::Bodies,
    rules::{self, BlockError},
};
use crate::{mempool::SharedPool, validators::ValidatorSets};

/// How far above the executed height a message may be and still be worth a signature check. The engine keeps messages of the
/// next height; one beyond shows that we are behind.
const MAX_AHEAD: u64 = 2;

/// A message as it came from a peer.
#[derive(Debug)]
pub struct Incoming {
    /// The validator key the connection has proven.
    pub sender: PublicKey,
    /// The encoded message.
    pub bytes: Bytes,
}

/// What became of it.
#[derive(Debug)]
pub enum Checked {
    /// For the engine.
    Good {
        /// The validator key of whoever sent it.
        sender: PublicKey,
        /// The signer's index.
        from: u16,
        /// The message.
        message: Box<Verified<SignedMessage>>,
    },
    /// Against the rules; text for the log.
    Bad {
        /// Who sent it.
        sender: PublicKey,
        /// Why.
        reason: String,
    },
}

/// What verifying needs to know.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The chain.
    pub spec: Arc<ChainSpec>,
    /// Its genesis hash.
    pub genesis: B256,
    /// Who votes when.
    pub sets: ValidatorSets,
    /// Transactions already verified.
    pub pool: SharedPool,
    /// Where verified bodies go.
    pub bodies: Bodies,
}

impl Verifier {
    /// Checks one message; `None` for one that is in order but of no use now. `executed` is the newest executed height.
    pub fn check(&self, incoming: &Incoming, executed: Height) -> Option<Checked> {
        let bad = |reason: String| Some(Checked::Bad { sender: incoming.sender, reason });
        let signed = match basalt_proto::consensus::decode_message(incoming.bytes.0.clone(), self.spec.hash_fn) {
            Ok(signed) => signed,
            Err(e) => return bad(e.to_string()),
        };
        let height = signed.message.height();
        if height.0 > executed.0 + MAX_AHEAD && !matches!(signed.message, Message::Decided(_)) {
            return None;
        }
        // Not determined yet: a height we shall come to, and the message will be sent again.
        let set = self.sets.at(height)?;
        if set.get(signed.from).map(|v| v.public_key) != Some(incoming.sender) {
            return bad(format!("signed as validator {}, which is not the sender", signed.from));
        }
        if let Err(e) = signed.verify(&set, self.genesis) {
            return bad(e.to_string());
        }
        if let Message::Proposal(p) = &signed.message
            && let Err(e) = self.check_body(&p.block)
        {
            return bad(e.to_string());
        }
        Some(Checked::Good { sender: incoming.sender, from: signed.from, message: Box::new(Verified::assume(signed)) })
    }

    /// Checks a block's body against its header and its transactions' signatures, once. A body that is not the header's is
    /// an error of whoever sent it; a bad signature inside makes the block invalid, which the engine must hear of.
    pub fn check_body(&self, block: &SealedBlock) -> Result<(), BlockError> {
        if self.bodies.get(&block.hash()).is_some() {
            return Ok(());
        }
        match rules::check_transactions(&self.spec, block, |hash| self.pool_transaction(hash)) {
            Ok(txs) => self.bodies.insert(block.clone(), Ok(Arc::new(txs))),
            Err(e @ BlockError::Transaction { .. }) => self.bodies.insert(block.clone(), Err(e.to_string())),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn pool_transaction(&self, hash: &B256) -> Option<Arc<Transaction>> {
        self.pool.lock().get(hash).cloned()
    }
}
