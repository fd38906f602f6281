//! The PBFT-style engine: three phases, QBFT-like round change, for any n ≥ 1 with f = ⌊(n−1)/3⌋ Byzantine.
//!
//! It is a pure state machine ([`Bft`], an [`basalt_consensus::Engine`]): inputs in, effects out, no clock, no keys, no I/O.
//! All thresholds are sums of voting power; with equal votes a quorum is q = ⌊(n+f)/2⌋+1. Any two quorums share more than f,
//! so at least one honest validator; n − f ≥ q, so the honest alone are one.
//!
//! # A height
//!
//! A validator *acts* at height h once it has executed h − 1 (durably), knows the validator set of h, is in it, and has its
//! sign record. Rounds 0, 1, 2, … of a height each have one proposer ([`election::proposer`]): round robin, in which those that
//! let their last turns pass come after all others. Who did so follows from the headers alone ([`election`]).
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
//! - **R4 time is up.** The round timer (a base, doubling from round to round up to the chain's cap; the base follows what
//!   rounds take here, between the chain's parameter and the cap: [`Timing`]) runs in round 0 while a block is due, in later rounds
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
//! answers, at h + 1 only above round 0. P, q and f are those of the set of h; does one of the answers claim a prepared block
//! at h, the answers must be enough in the set of h + 1 as well.
//!
//! # A released validator
//!
//! With more than f records lost, too few can answer and all wiped wait. `basalt validator reset-record` writes
//! [`Record::Released`] in the place of a lost record (never of one that is intact): this key makes do with answers of the power
//! the operator names, but takes all that come while it asks six times, adopts the highest certificate among them, and
//! votes only above what they say. Its [`Record::Recovered`] says on how much power it rests, and ends the release. Then it answers the
//! next wiped validator, which may thus heal by itself.
//!
//! *What stays safe*: with answers of power P − q + 1 or more, all honest, every quorum this key was part of has one of them in it, so
//! nothing it helped to commit is contradicted. *What the operator takes upon themselves*: that nobody among those lies (f
//! may, without a release); and with fewer answers than that, that no block was committed by lost records alone, or that a
//! node which has it runs and is synced from first. Nothing is lost while one honest holder of a record or a block is up.
//!
//! # Validator sets that change
//!
//! The set of h + 2 follows from the state after h and comes in before h is reported as executed. A key is given to the engine
//! whether it is in a set or not, and each height decides: a validator that joins acts from the first height whose set
//! has it, one that leaves falls silent at the first that has not, and follows. Indexes are always those of the set of
//! the message's height. Every certificate, quorum and justification is counted in the set of its own height, and safety is
//! argued height by height, so a change of sets is no case of its own, but for a wiped validator (below). A key that joins with a first
//! record has signed nothing; one that joins without asks first, as if wiped, since it may have been a member before.
//!
//! # A set override
//!
//! At two heights H and H + 1 some members may be declared lost ([`ValidatorSet::without`](basalt_primitives::ValidatorSet::without),
//! ADR-0015): they have no power, nothing they say is heard ([`SignedMessage::check`]), none of them proposes, and a quorum is
//! *all* that remain, with f = 0; so R3 jumps to any round change, and a wiped one asks all others that remain. At H a prepared
//! certificate by a quorum of all members, as it was before, still counts.
//!
//! *It is safe*: any quorum by the new rule contains whoever is locked, and each justification at H carries every claim of
//! those that remain; a quorum by the old rule that committed, with an honest member among them that has its record, is
//! therefore repeated; R1 keeps them all out of round 0. Since prepares and commits are the same bytes under both rules, one who
//! has not yet restarted cannot vote twice. Unlocked by any that remains, nothing of before is known to them: that is the operators' word.
//! `tests/set_override.rs` lets the lost come back, unaware, at random moments.
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
//! *Across a change of sets*: let h be the highest height in enough answers, counted in the set of h. Had p acted at h + 1, h was
//! committed by a quorum of its set, of which an honest member answered: with a certificate at h, since it reports no more than
//! h. So without any claim p never left h; with one, answers that are enough in the set of h + 1 say by the argument above what p
//! may have done there, and that it did not leave h + 1.
//!
//! *The skip list* touches no vote: it only says whose proposal counts in a round, and all nodes read it from the same headers. No
//! header can lie about its first round: a quorum prepared the block, so an honest validator did first, and prepares a block as new
//! only in the round, and from the proposer, that its header names; later rounds repeat it verbatim.
//!
//! # Why it is live
//!
//! Once messages arrive within some delay and a quorum of honest validators is up: repetition brings every round change to
//! everyone; those behind the highest honest round jump (R3) or are with a quorum and time out (R4); since nobody's timer
//! runs before a quorum is there, honest validators are never more than a round apart for longer than a delay, however
//! long they were cut off, and the round number has not run away meanwhile. Timeouts double until a round is long
//! enough, within the cap, and its proposer comes round: whoever is skipped, the rounds 0…n−1 are a permutation of the validators. No
//! base is below the chain's parameter or above its cap, so bases that differ from node to node change only how soon.
//! A locked body is on the disk of whoever claims it.
//!
//! # How long proposers can censor
//!
//! A transaction that all honest mempools hold is in a block by the first height that an honest proposer's block decides. Let
//! f of n equal validators conspire, propose in time and leave it out, while the network is well (what an honest proposer
//! proposes in round 0 is decided). With nobody skipped, the proposers of n heights in a row are all different, so the
//! transaction waits for at most **f heights**. With a skip list, a height goes to the conspirators also where the honest whose turn
//! it is are skipped: at most f are at once, and while no honest validator is struck anew they only grow fewer (nobody waits for
//! a place on the list), so it is at most **2f heights**, and n − 2f > f honest proposers remain in every rotation. Conspirators that let their
//! rounds run out instead lose their turns. (Under a network that is not well there is no bound, as for every protocol.)
//! `tests/election.rs` measures both figures.
//!
//! # Where it departs from the papers
//!
//! PBFT's view spans heights; here, as in QBFT, every height starts at round 0. Round timers wait for a quorum as PBFT's view-change
//! timers do (QBFT's do not). Justifications carry only the signed part of each round change and one certificate, so a proposal
//! grows with n, not n². Prepares of round 0 are not persisted. A body missing at commit time is fetched instead of losing the round.
//! An idle network is silent: no timer runs without a reason to expect a block. Proposers are elected by the chain's headers
//! (PBFT and QBFT: by round robin alone).

pub mod bounds;
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
