//! The PBFT-style engine: three phases, QBFT-like round change, for any n ≥ 1 with f = ⌊(n−1)/3⌋ Byzantine.
//!
//! It is a pure state machine ([`Bft`], an [`basalt_consensus::Engine`]): inputs in, effects out, no clock, no keys, no I/O.
//! All thresholds are sums of voting power; with equal votes a quorum is q = ⌊(n+f)/2⌋+1. Any two quorums share more than f,
//! so at least one honest validator; n − f ≥ q, so the honest alone are one.
//!
//! # A height
//!
//! A validator *acts* at height h once it has executed h − 1 (durably), knows the validator set of h, is in it, and has its
//! sign record. Rounds 0, 1, 2, … of a height each have one proposer ([`election::proposer`]).
//!
//! - **L1 propose.** When a block is *due* (work is pending, results must be certified, a heartbeat is due or a block is on
//!   its way; and the block interval has passed), the proposer of the current round has one built, with this round as its
//!   `first_round`, and proposes it. Above round 0 it first needs round changes of a quorum to exactly this round, which it
//!   sends along as justification.
//! - **L2 propose again.** If any of these claims a prepared block, the block of the highest such round is proposed verbatim,
//!   with its certificate; a missing body is fetched from whoever claimed it. The proposer may choose among more than q
//!   round changes and then leaves out claims whose body nobody gives it.
//! - **P1 judge, P2 prepare.** The first proposal of the round's proposer is checked ([`SignedMessage::check`], parent, timestamp)
//!   and judged by the driver; if valid, a prepare vote goes out, one per round. A block with a certificate was judged by
//!   honest validators already.
//! - **C1 commit.** Prepare votes of a quorum for one block in the validator's own round make a *prepared certificate*. The vote,
//!   the certificate and the body are synced to the sign record; then the commit vote leaves. The validator is now *locked*.
//! - **D1 decide.** Commit votes of a quorum for one block in one round, whichever, are a *commit certificate*: the block is final,
//!   is executed, and the next height begins at once: voting on h never waits for executing h. **D2**: a body that is
//!   missing is fetched.
//! - **R4 time is up.** The round timer (base timeout, doubling to a cap) runs in round 0 while a block is due, in later rounds
//!   also only once a quorum has come there. When it fires the validator promises to leave: round r + 1 is synced, then
//!   a *round change* leaves, carrying its certificate if it is locked. **R5**: a proposal that can never be prepared ends its round at
//!   once. **R3**: round changes of f + 1 to rounds above one's own prove that an honest validator is there; jump to the highest
//!   round so proven. **R2**: a justified proposal of a later round proves it too, and needs no round change of one's own.
//! - **T1 repeat.** Until a height is decided, each validator repeats what it last said there, after half a base timeout and then
//!   ever more seldom up to the cap, sooner when a peer's round change shows that somebody has come back. Whoever speaks of a
//!   height that is decided already is told so (`Decided`), and fetches or syncs.
//!
//! # Restart and the sign record
//!
//! Recorded and synced before anything that rests on it leaves ([`Record`]): every commit vote with certificate and body, and every
//! round above 0 before anything is said in it. Prepares and proposals of round 0 are *not* recorded: that would cost a second sync per
//! block. Instead, **R1**: at the heights above the restored head where it may have spoken unrecorded, a restarted validator
//! acts only in rounds above the highest recorded one, never in round 0, and asks for that round at once. Where all restart,
//! they meet there and go on within one round; where one restarts, the others go on in theirs and it rejoins at the next height.
//! (It acts at h only when h − 1 is executed and durable, so unrecorded words exist only at head + 1; head + 2 is guarded too, for a
//! driver that reports a block as executed a moment before its batch is on disk.)
//!
//! # A wiped validator
//!
//! A key without a record must not vote; only `network create` and `node init` write a first entry. It follows and syncs, and asks
//! the others (**W1**) for their signed states (height, round, certificate), under a nonce of this start. When validators
//! with power P − q + f + 1 have answered and it has executed up to the highest height among them, h, it adopts the highest
//! certificate for h with its body, and begins a new record (**W2**): it votes never below h, at h only above the highest round among the
//! answers, at h + 1 only above round 0.
//!
//! # Why it is safe
//!
//! *Say v was committed at (h, r).* A quorum C sent commit votes; each honest member has the certificate (r, v) on disk.
//! *No other block is ever prepared at a later round of h.* By induction over rounds r' > r: a prepare for r' needs a proposal justified
//! by a quorum of round changes to r'. It shares an honest validator p with C. p sent its commit before that round change, because after
//! promising r' > r it votes no more in r (in memory, and after a restart by R1). So it was locked when it promised, on round ≥ r; a lock only ever moves to
//! a higher round, and by induction all locks in (r, r') are on v. So the highest claim in the justification is for v, and honest
//! validators prepare nothing else in r'. *Two blocks cannot be prepared in one round*: two quorums of prepares share an honest
//! validator, which prepares once per round; R1 makes that hold across restarts.
//!
//! *Leaving out claims (L2) is safe*: the argument holds for every quorum of round changes.
//!
//! *A validator p that lost its record.* It counts among the f faulty until the heights it may have acted at are decided (a round
//! change it sent just before may outlive its memory of it), but it must not contradict a vote, nor forget one that others built on. Had p
//! committed v at (h', r) with a quorum C: at most P − q of the others are outside C, so among the answerers are more than f that are
//! in C, one of them honest and with its record: it reports h' and a certificate for v at round ≥ r, or a height above h'. In the first case p adopts a lock
//! on v at least as high and votes only in later rounds; in the second it never votes at h' again. Prepares: for p to have acted at h' it had
//! executed h' − 1, which q committed, so an honest answerer reports h' − 1 or more; p's votes at h' above round 0 needed a quorum of round
//! changes or of prepares there, so an honest answerer reports h' and that round. What remains is round 0 of the height after the highest reported,
//! which W2 bars. Any subset of answers with enough power will do; the lowest is taken, so that liars cannot push p far ahead.
//!
//! # Why it is live
//!
//! Once messages arrive within some delay and a quorum of honest validators is up: repetition brings every round change to
//! everyone; those behind the highest honest round jump (R3) or are with a quorum and time out (R4); since nobody's timer
//! runs before a quorum is there, honest validators are never more than a round apart for longer than a delay, however
//! long they were cut off, and the round number has not run away meanwhile. Timeouts double until a round is long
//! enough, within the cap, and its proposer comes round. A locked body is on the disk of whoever claims it.
//!
//! # Where it departs from the papers
//!
//! PBFT's view spans heights; here, as in QBFT, every height starts at round 0. Round timers wait for a quorum as PBFT's view-change
//! timers do (QBFT's do not). Justifications carry only the signed part of each round change and one certificate, so a proposal
//! grows with n, not n². Prepares of round 0 are not persisted. A body missing at commit time is fetched instead of losing the round.
//! An idle network is silent: no timer runs without a reason to expect a block.
//!
//! Proposers that were absent are not skipped yet; [`election`] is where that goes.

pub mod election;
mod engine;
mod guard;
mod inbox;
pub mod message;
pub mod mutation;
mod pace;
pub mod record;
mod recovery;
mod rules;
pub mod sim;
mod status;
mod timers;
mod votes;

pub use engine::{Bft, Config};
pub use message::{
    Message, MessageError, PreparedCertificate, PreparedClaim, Proposal, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
pub use pace::Timing;
pub use record::{Prepared, Record};
pub use status::{Status, Step};
