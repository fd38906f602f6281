//! PBFT-style consensus with QBFT-like round change, as a pure state machine: [`Bft`].
//!
//! # The protocol
//!
//! For each height the validators agree on one block, in rounds 0, 1, … Each round has one proposer ([`election`]). With
//! voting power P, f = ⌊(P−1)/3⌋ may be Byzantine and a quorum is q = ⌊(P+f)/2⌋+1; any two quorums share more than f.
//!
//! In the good case there are three message delays: the proposer sends the block (*pre-prepare*), everyone who finds it valid
//! sends *prepare*, everyone who holds a quorum of prepares (a [`PreparedCertificate`]) sends *commit*, and a quorum of
//! commits makes the block final; their signatures are its commit certificate. Votes are made only when the parent is
//! executed; nobody waits for the block's own execution.
//!
//! The rules, by the numbers the code names:
//!
//! - **D1** A quorum of commits in one round decides, whatever round one is in; so does a certificate a peer shows. **D2** A
//!   block that a quorum voted for and that is not here is fetched from any holder.
//! - **P1** The first proposal of the round's proposer is judged by the driver, once the parent is executed; one that repeats a
//!   prepared block needs no second judgement. **P2** If valid, it is prepared, once per round.
//! - **C1** With a quorum of prepares in one's own round and the body at hand: record vote, certificate and body, then commit.
//!   This locks: round changes carry the certificate from now on.
//! - **R1** After a start, out of the rounds this key may have voted in before. **R2** After a proposal that a quorum of round
//!   changes justifies. **R3** To the highest round that f + 1 have reached: one of them is honest. **R4** When the round's time
//!   is up. **R5** When its proposal can never be prepared. Entering a round is recorded before anything said in it leaves.
//! - **L1** The proposer of round r > 0 needs round changes of a quorum to exactly r. If none of them claims a prepared block it
//!   builds a new one. **L2** Else it proposes the block of the highest claim again, verbatim, with its certificate; everyone
//!   checks that (`SignedMessage::check`).
//! - **T1** What was said at an undecided height is said again, ever more seldom. Who lags is shown the certificate.
//! - **W1** A key without sign record asks the others what it may have signed. **W2** When P − q + f + 1 have answered and the
//!   chain has reached them, it begins a new record and votes only above what it learnt.
//!
//! Timers run on the monotonic clock only, double from round to round up to a cap that is a chain parameter, stand still
//! while there is nothing to agree on, and in rounds above 0 begin only when a quorum is there: so validators do not run
//! away from each other while too few are up, and meet again within two rounds when enough are back.
//!
//! # Why it is safe
//!
//! *One round.* Two quorums of prepares for different blocks would share an honest validator that prepared twice in one round. It
//! does not: P2, across crashes by R1 (ADR-0003 has the argument about what is and is not synced).
//!
//! *Across rounds.* Suppose block B is committed in round r by a quorum Q. Claim: in every round above r only B is prepared. In the
//! first such round r' with another block prepared, some honest validator accepted its proposal, which carried round changes
//! of a quorum to r'. It shares an honest member with Q, which committed in r before it changed to r' (after a round change it
//! votes no more below), so it claimed a certificate of round ≥ r. The highest claim is of a round in [r, r'), where only B was
//! prepared; so the proposal was B.
//!
//! *Deviations from PBFT and QBFT.* No checkpoints or watermarks: heights are agreed one after the other. A certificate shown by
//! anyone decides. Prepares of round 0 are not synced, see R1. A proposer may choose among more than a quorum of round
//! changes, and leaves out claims whose block nobody has: a committed block is held by an honest member of every quorum.
//!
//! # Bounds
//!
//! Per height and validator: one proposal per round within a window, the highest round change, votes of a few rounds. Only the
//! current and the next height are kept. Everything else is dropped, and comes again by T1 or sync.

pub mod election;
mod engine;
mod guard;
mod inbox;
pub mod message;
pub mod mutation;
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
pub use record::{Prepared, Record};
pub use status::{Status, Step};
