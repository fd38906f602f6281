//! Proof that a validator signed two different blocks in one step of one round, as the validator contract takes it.

use alloy_primitives::B256;

use crate::{
    Height, PublicKey, Round, Signature,
    layout::Layout,
    validators::{VoteKind, vote_bytes},
};

/// What was signed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// First phase.
    Proposal,
    /// A vote of the second or third phase.
    Vote(VoteKind),
}

impl Step {
    /// Stable code: 1 proposal, then those of [`VoteKind`].
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Proposal => 1,
            Self::Vote(kind) => kind.code(),
        }
    }

    /// The step of a code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Proposal,
            2 => Self::Vote(VoteKind::Prepare),
            3 => Self::Vote(VoteKind::Commit),
            _ => return None,
        })
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Vote(VoteKind::Prepare) => "prepare",
            Self::Vote(VoteKind::Commit) => "commit",
        }
    }
}

/// Two signatures that no honest validator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// What was signed twice.
    pub kind: Step,
    /// The offender.
    pub key: PublicKey,
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// The two blocks.
    pub blocks: [B256; 2],
    /// A signature for each.
    pub signatures: [Signature; 2],
}

impl Equivocation {
    /// The bytes that were signed for one of the blocks.
    #[must_use]
    pub fn signed_bytes(&self, genesis: B256, block: B256) -> Layout {
        match self.kind {
            Step::Proposal => proposal_bytes(genesis, self.height, self.round, block),
            Step::Vote(kind) => vote_bytes(genesis, kind, self.height, self.round, block),
        }
    }

    /// Whether it proves anything: two different blocks, and both signatures verify.
    #[must_use]
    pub fn holds(&self, genesis: B256) -> bool {
        let signed = |i: usize| {
            let bytes = self.signed_bytes(genesis, self.blocks[i]);
            self.key.verify(bytes.as_slice(), &self.signatures[i])
        };
        self.blocks[0] != self.blocks[1] && signed(0) && signed(1)
    }
}

/// The bytes a proposer signs. `genesis` is the genesis block's hash.
#[must_use]
pub fn proposal_bytes(genesis: B256, height: Height, round: Round, block: B256) -> Layout {
    let mut l = Layout::new("basalt/proposal/v1");
    l.fixed(&genesis.0).u64(height.0).u32(round.0).fixed(&block.0);
    l
}
