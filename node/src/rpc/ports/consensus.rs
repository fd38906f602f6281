//! Consensus.

use alloy_primitives::Address;
use basalt_primitives::{Height, Millis, PublicKey, Round, system::evidence::Equivocation};
use serde::Serialize;

use crate::explain::Explanation;

/// One validator, as `consensus_validators` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorInfo {
    /// Index in the set.
    pub index: u16,
    /// Account address of its key.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// Voting power.
    pub power: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is this node.
    pub is_self: bool,
    /// Whether it is connected (or is this node).
    pub online: bool,
    /// Whether its vote is in the newest certificate; `None` while there is none.
    pub in_last_certificate: Option<bool>,
    /// The newest of the last 64 certificates with its signature. A certificate carries the first quorum that answered, so
    /// a validator that is only slow may be in none.
    pub last_signed: Option<Height>,
}

/// Where consensus stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusStatus {
    /// Consensus family: `pbft`.
    pub engine: String,
    /// Whether this node votes.
    pub is_validator: bool,
    /// Height that is being agreed on.
    pub height: Height,
    /// Round of it.
    pub round: Round,
    /// Step: what is being waited for.
    pub step: String,
    /// Proposer of the round.
    pub proposer: Option<Address>,
    /// Newest finalized height.
    pub finalized: Height,
    /// Newest executed height.
    pub executed: Height,
    /// Milliseconds since this node last committed a block; `None` if it has not since it started.
    pub last_commit_age_ms: Option<Millis>,
    /// Voting power of a quorum.
    pub quorum: u64,
    /// Voting power of all validators.
    pub total_power: u64,
    /// Voting power that is connected, this node's included.
    pub online_power: u64,
    /// Whether the connected power is a quorum.
    pub quorum_reachable: bool,
    /// The highest height a peer has spoken of: a hint.
    pub highest_seen: Height,
    /// The round whose block this validator is locked on.
    pub locked_round: Option<Round>,
    /// Milliseconds that the round timer has run and after which it fires; `None` while it stands still.
    pub round_timer_ms: Option<(Millis, Millis)>,
    /// Validators from which the current step lacks something, by name.
    pub missing: Vec<String>,
    /// In words: what it waits for. `consensus_explain` says more.
    pub explanation: String,
}

/// What the driver knows of consensus.
pub trait ConsensusInfo: Send + Sync {
    /// Where it stands.
    fn status(&self) -> ConsensusStatus;
    /// Why there is no block, or why the last one took as long as it did.
    fn explain(&self) -> Explanation;
    /// The validators of a height; `None` when it is not known here.
    fn validators(&self, height: Option<Height>) -> Option<Vec<ValidatorInfo>>;
    /// The name of a key that is or was a validator's.
    fn validator_name(&self, key: &PublicKey) -> Option<String>;
    /// Proof of misbehaviour that this node itself has seen.
    fn evidence(&self) -> Vec<Equivocation>;
    /// Milliseconds since the node started.
    fn uptime_ms(&self) -> Millis;
}
