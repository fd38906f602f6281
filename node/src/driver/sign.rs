//! Signs what a BFT engine says, with the validator's key.

use basalt_bft::message::{Message, SignedMessage};
use basalt_consensus::{Input, Target, Verified};
use basalt_primitives::{B256, SecretKey};

use crate::validators::ValidatorSets;

/// The validator's key and what its signatures are for.
pub struct Signer {
    /// Without it the node follows and never speaks.
    pub key: Option<SecretKey>,
    /// Of the chain.
    pub genesis: B256,
    /// Who votes when.
    pub sets: ValidatorSets,
}

impl Signer {
    /// Signs; `None` where this node has no vote at the message's height.
    #[must_use]
    pub fn sign(&self, message: Message) -> Option<SignedMessage> {
        let key = self.key.as_ref()?;
        let from = self.sets.at(message.height())?.index_of(&key.public_key())?;
        let signature = key.sign(message.signing_layout(self.genesis).as_slice());
        Some(SignedMessage { from, message, signature })
    }
}

/// What went to all comes back to the engine, as the contract of [`basalt_consensus::Effect::Send`] says.
#[must_use]
pub fn handed_back<R>(to: Target, signed: SignedMessage) -> Option<Input<SignedMessage, R>> {
    let from = signed.from;
    (to == Target::All).then(|| Input::Message { from, message: Verified::assume(signed) })
}
