//! Why there is no block, or why the last one took as long as it did: in sentences for people and in fields for programs.
//!
//! In: pictures of the engine ([`Recorder::stepped`]), what was heard, judged and committed, and who is connected.
//! Out: an [`Explanation`] by [`explain`], a pure function of a [`View`], so that every situation can be tested; and, from
//! the explanations of several nodes, what to do about the network ([`merge`]).
//!
//! Everything kept is bounded: one record per validator, and per height at most [`FAILED_ROUNDS`] rounds.

mod merge;
mod record;
mod words;

use basalt_primitives::{Address, Height, Millis, Round};
use serde::{Deserialize, Serialize};

pub use merge::{Asked, NetworkExplanation, merge};
pub use record::{Late, Recorder, Refused};
pub use words::{View, explain, step_name};

/// Failed rounds of a height that are kept: the latest ones.
pub const FAILED_ROUNDS: usize = 16;

/// What a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Situation {
    /// Consensus has not started.
    NotStarted,
    /// Blocks are being fetched from peers.
    CatchingUp,
    /// This node does not vote.
    Following,
    /// The sign record was lost; others are being asked.
    Recovering,
    /// It must not vote at this height.
    Barred,
    /// A final block is being executed.
    Executing,
    /// No block is wanted.
    Idle,
    /// The block interval has not passed.
    Pacing,
    /// Fewer validators than a quorum can be reached.
    NoQuorum,
    /// A quorum can be reached and has not come to this round yet.
    AwaitingRound,
    /// The proposer has not spoken.
    AwaitingProposal,
    /// A proposal is being judged.
    Judging,
    /// The proposal's time is ahead of this node's clock.
    EarlyProposal,
    /// Prepare votes are missing.
    Preparing,
    /// Commit votes are missing.
    Committing,
    /// Proof of work: this node looks for the next block.
    Mining,
    /// Proof of work: a branch with more work leaves this node's chain below what is final, and is refused.
    DeepBranch,
}

/// Something the operator can safely do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// What kind of thing.
    pub action: Action,
    /// The validators it is about.
    pub validators: Vec<String>,
    /// In words.
    pub text: String,
}

/// Kinds of [`Advice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: all is as it should be.
    Nothing,
    /// Wait: it ends by itself.
    Wait,
    /// Start nodes that are down, or mend the network to them.
    StartNodes,
    /// Compare clocks.
    CheckClocks,
    /// More records are lost than heal by themselves.
    ResetRecord,
    /// Validators are gone for good.
    SetOverride,
    /// Look at a node's log.
    ReadLog,
    /// Find out which chain is right, and set a checkpoint.
    Checkpoint,
}

/// A validator from which something is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Whether this node is connected to it.
    pub connected: bool,
    /// How long ago it was last heard by this node; `None`: not since this node started.
    pub last_heard_ms: Option<Millis>,
}

/// Votes of the current step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Votes {
    /// Who has voted, by name.
    pub have: Vec<String>,
    /// Who has not.
    pub missing: Vec<Missing>,
    /// Power that has voted.
    pub power: u64,
    /// Power needed.
    pub needed: u64,
}

/// Whether a quorum can be reached from here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Whether it can.
    pub reachable: bool,
    /// Power connected, this node's included.
    pub power: u64,
    /// Power of a quorum.
    pub needed: u64,
    /// Power of all.
    pub total: u64,
    /// Validators without a connection, by name.
    pub unreachable: Vec<String>,
}

/// The round timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timer {
    /// How long it has run.
    pub running_ms: Millis,
    /// After how long it fires.
    pub timeout_ms: Millis,
    /// How long until then.
    pub remaining_ms: Millis,
}

/// The timeouts of this chain, and where this round stands among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Of round 0: the chain's parameter, or more where agreeing takes longer.
    pub base_ms: Millis,
    /// The longest.
    pub cap_ms: Millis,
    /// Of this round.
    pub current_ms: Millis,
    /// Whether this round's is the longest.
    pub at_cap: bool,
    /// What two thirds of the recent blocks took to be agreed on, at most, as this validator has measured it.
    pub typical_ms: Option<Millis>,
    /// The longest round trip to a connected validator, as measured by pings.
    pub round_trip_ms: Option<Millis>,
}

/// A round that ended without a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedRound {
    /// The round.
    pub round: Round,
    /// Who was to propose.
    pub proposer: Option<String>,
    /// How long this node was in it.
    pub lasted_ms: Millis,
    /// Why it ended, as far as this node could see.
    pub why: String,
}

/// How a block came to be; times are milliseconds after its parent was decided here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Its height.
    pub height: Height,
    /// The round that committed it; `None` while there is none.
    pub round: Option<Round>,
    /// Who proposed it, first.
    pub proposer: Option<String>,
    /// Account of the proposer.
    pub proposer_address: Option<Address>,
    /// When it was due: there was work, and the block interval had passed.
    pub due_ms: Option<Millis>,
    /// When its proposal was here.
    pub proposed_ms: Option<Millis>,
    /// When a quorum had prepared it.
    pub prepared_ms: Option<Millis>,
    /// When a quorum had committed it.
    pub committed_ms: Option<Millis>,
    /// When it was executed and on this node's disk.
    pub executed_ms: Option<Millis>,
    /// How long ago that was.
    pub ago_ms: Option<Millis>,
    /// Rounds of this height that failed, as far as this node took part.
    pub failed_rounds: Vec<FailedRound>,
    /// In words.
    pub text: String,
}

/// The whole answer of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Name of the node that says so.
    pub node: String,
    /// What it is in.
    pub situation: Situation,
    /// One sentence: what is waited for.
    pub summary: String,
    /// More sentences.
    pub details: Vec<String>,
    /// What can safely be done, most helpful first; never empty.
    pub advice: Vec<Advice>,
    /// The height being agreed on.
    pub height: Height,
    /// Its round.
    pub round: Round,
    /// The engine's step.
    pub step: String,
    /// Who is to propose.
    pub proposer: Option<String>,
    /// Whether this node votes at this height.
    pub is_validator: bool,
    /// Votes of the step.
    pub votes: Votes,
    /// Whether a quorum can be reached.
    pub quorum: Reach,
    /// The round timer, while it runs.
    pub timer: Option<Timer>,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Proposers that are skipped because headers prove them absent, by name.
    pub skipped: Vec<String>,
    /// The height being agreed on, so far.
    pub current: Option<Timeline>,
    /// The newest block that this process saw decided.
    pub last_block: Option<Timeline>,
}

#[cfg(test)]
mod tests;
