//! The proof-of-work engine: the chain with most work, difficulty by ASERT, and a depth below which nothing is taken back
//! without an operator's word.
//!
//! It is a pure state machine ([`Pow`], an [`basalt_consensus::Engine`]): inputs in, effects out, no clock, no randomness,
//! no I/O. It holds headers, not blocks, and keeps no state of accounts: it asks the driver to fetch, to judge, to write
//! and to search, and says which chain is right. Nobody signs; `from` and [`Target::One`](basalt_consensus::Target::One)
//! are the driver's numbers of peers.
//!
//! # Headers
//!
//! A block's *sealing hash* covers every field of its header but the nonce, its target included; its *work number* is the
//! chain's work function of that and the nonce ([`WorkHash`](basalt_primitives::WorkHash)). The driver's pool checks that
//! the number is at most the header's own target ([`Sealing::check`]): only then is there a [`SealedHeader`]. Then, in
//! order of arrival:
//!
//! - **H1 rules.** A header must be one above its parent, have exactly the target that is due, and a timestamp above the
//!   median of the eleven timestamps that end in its parent (or of as many as there are). The target is a function of
//!   height and time of its parent and of the time of block 1 ([`asert`]), so whoever has the headers can check it.
//! - **H2 headers first.** A header whose parent is unknown is an orphan: it waits, and its sender is asked for the headers
//!   after what is known here (a locator: hashes ever sparser down the chain). A full answer is followed by the next
//!   question; an answer that teaches nothing is not, for a while. Orphans are at most 64, and at most 16 of one peer.
//! - **H3 not yet.** A timestamp ahead of this clock by more than the drift is not wrong, it is early: the header waits, in
//!   the same bounds, and is looked at again when the clock has come near, and every interval, should the clock be set.
//!
//! # Bodies
//!
//! - **B1 the heaviest.** The engine follows the leaf with most work among those that may be adopted, if it is more than
//!   the head's; of equal ones the first seen. A chain whose next body nobody gives, four times in a row, is left aside for
//!   half a minute.
//! - **B2 fetch** the lowest missing bodies of that chain, at most 16 at once, first from whoever sent the header. **B3
//!   judge** one at a time: the driver executes it on the state of its parent, which was judged before, beside the states
//!   of other branches. **B4** A valid block is written ([`Record::Block`]), once; an invalid one bars all that rest on it,
//!   and new headers on them are refused.
//!
//! # Fork choice
//!
//! - **C1 more work.** A block that was judged valid and whose chain has more work than the head's becomes the head. The
//!   announcement names the newest common block, what is abandoned (newest first) and what is adopted (oldest first): the
//!   driver switches states, and gives transactions of the abandoned back. Only then the header is announced to peers: what
//!   a node announces, it has judged, and has on disk.
//! - **Ties: the first seen stays.** It costs nothing to keep and a reorg to change; no reorg without gain; and no
//!   randomness is needed. (Eyal and Sirer's proposal to choose at random makes γ = 1/2 for everyone, so selfish mining
//!   pays from 25 % on; with the first seen, γ depends on how well the attacker is connected: from 33 % on where it never
//!   comes first, sooner where it does. [`theory::selfish_threshold`].) Two blocks on one parent always have equal work,
//!   since their targets are equal; longer branches hardly ever.
//! - **C2 final** is the newest block of the chain with at least the finality depth F of blocks on it *and* at least as
//!   much work on it as F blocks of its own difficulty, and never a lower one than before. (Blocks alone would do for a
//!   steady hash rate. But a node that is cut off with little of the work, or whose clock is ahead, sees difficulty fall,
//!   and F easy blocks would bury a history that most of the world's work does not share. In work, whoever is cut off with
//!   a share s waits 1/s times as long.) `safe` is a smaller number of blocks below the head.
//! - **Deep branches.** What leaves the chain below its newest final block may be in the tree, but is never fetched nor
//!   adopted. **A1** When one has more work than the head, that is an alarm, once per branch: either most of the work is
//!   elsewhere, or somebody has rewritten history; only people can tell. The node stays where it is.
//! - **C3 checkpoint.** The operator names a block. If it is on the chain, it is final at once. If it is on another branch,
//!   all others are deep from now on: the node fetches and judges that branch, stays on its head meanwhile (mining
//!   nothing), and goes over when the named block is valid, however much work that has. If it is unknown, other new blocks
//!   of that height are refused. The last word counts.
//!
//! # Mining
//!
//! **M1** On each new head, when transactions come, and every quarter of an interval, a block is asked for; **M2** the
//! engine sets its target and hands it out to be sealed; the search is the driver's. **M3** What it finds goes the way of
//! every other block. A node that is more than eight blocks behind does not mine, nor one whose clock is so far behind the
//! chain's that its own block would be early.
//!
//! **T1** Every interval the head is announced again: what got lost is said twice, and who was cut off hears of it.
//!
//! # Restart
//!
//! **R1** The ledger holds what is final, with its state; records hold every block judged valid above that. After a crash
//! the driver gives back the last final headers ([`Record::Root`], [`Record::Trunk`]) and the records; the engine takes the
//! newest final block for the head and judges the rest anew, in the old order, so that ties come out as before. A block is
//! announced after it was written, so restarting all miners at once loses nothing that anybody builds on.
//!
//! # No accepted history has less work
//!
//! *Claim*: whatever comes in, the work of the head's chain only grows, but by a checkpoint; and it is the greatest among
//! all chains of judged blocks that do not leave it below finality. *Work cannot be claimed*: a header enters the tree only
//! with a seal that meets its target (by its type), with the target that H1 computes from its chain, and the work added up
//! for it is that of this target. So the work of a chain in the tree is the sum of 2²⁵⁶/(target + 1) over headers that were
//! really sealed, on average by as many hashes. *It only grows*: the head moves in one place ([`Pow`]'s `move_head`), to a
//! judged block whose work is greater; a restart puts it to the newest final block, whose descendants on disk are judged
//! before anything of peers can be heavier than they were; nothing else moves it. *It is greatest*: B1 follows the heaviest
//! leaf that may be adopted and whose bodies can be had, and every block on the way is compared with the head as it is
//! judged; a heavier judged block that was passed over would have been the head when it was judged, and heads only got
//! heavier. *What is excepted*: deep branches (by the operator's interest, with an alarm), chains whose bodies nobody gives
//! (nobody can execute them), and in a full tree the leaves with least work: room for a quarter of a million headers is
//! bought with as many real seals.
//!
//! The oracles of [`sim`] compute all of this anew after every fork choice.
//!
//! # What the theory promises
//!
//! Let the honest have the share p of the work and the attacker q = 1 − p, and let messages be fast against the interval
//! (where they take the part d of it, about d of the honest work is lost in forks, and p is to be read as p·(1 − d)).
//!
//! - **Common prefix** (Garay, Kiayias, Leonardos, "The Bitcoin backbone protocol", Eurocrypt 2015, theorem 15): with p >
//!   q, the probability that two honest nodes differ by more than their last z blocks falls exponentially in z. How fast,
//!   exactly, for one attack from before a payment: P(z) = 1 − Σ_{k<z} (p^z·q^k − q^z·p^k)·C(k+z−1, k) (Grunspan,
//!   Pérez-Marco, "Double spend races", 2018; [`theory::double_spend`]); to have *more* work, as is needed here,
//!   [`theory::overtake`]. With q = 10 %, six blocks hold to one in a thousand; 20 %: 13; 30 %: 32. No depth holds against
//!   half of the work: `finality_depth` is where machines stop believing it and ask people.
//! - **Chain quality** (the same, theorem 16): against an attacker that wins every race at least 1 − q/p of the blocks of a
//!   long stretch are honest ([`theory::chain_quality`]). What *selfish mining* really takes is Eyal and Sirer's R(α, γ)
//!   (2014, equation 8; [`theory::selfish_share`]).
//! - **Growth and difficulty.** Under ASERT the target depends on the chain's schedule alone, so nothing adds up: neither
//!   rounding, nor what timestamps lie. Let block n come at true time t_n after block 1 with timestamps at most the drift D
//!   ahead. A target is 2^(x/τ) of the initial one, x being how far the parent's timestamp is behind schedule. *Time warps
//!   do not pay*: forging all timestamps within the rules gives, in any true time t, at most D/T blocks more than an honest
//!   clock would, once, not per round: x counts absolute time, and no timestamp is more than D above true time. (Choosing
//!   the least timestamps makes blocks harder; but for block 1, whose miner may say that it came right after genesis: if
//!   the network started g later than the time in its genesis, that is worth g/T easy blocks, once. Genesis should not be
//!   old.) *Hopping does not pay much*: with rates between r and R times what the initial target is made for, x stays
//!   between −τ·log₂R and −τ·log₂r but for chance, whose standard deviation is √(T·τ/(2·ln 2))
//!   ([`theory::schedule_deviation`]): a hopper moves blocks within this band, and makes none out of nothing.
//!
//! `tests/theory.rs` holds frequencies in the simulator against these figures, within four standard deviations.
//!
//! # What is not promised
//!
//! Agreement on what is final: an attacker with most of the work, or a partition longer than F blocks' worth of it, leaves
//! nodes on different final blocks, each with an alarm, until their operators agree. Nor that a node which hears only liars
//! is right: it follows the heaviest chain it hears of; peers are the network side's affair. Nor fairness between miners:
//! see selfish mining.
//!
//! # Where it departs from Bitcoin
//!
//! Targets are whole numbers, not 24 bits of them (ADR-0026). Difficulty is ASERT's, from block 1. A block is announced
//! after it was judged, not before: half a judgement slower at each hop, and nobody can make nodes pass on what is invalid.
//! Reorgs end at the finality depth. Times are in milliseconds, and the drift is a parameter.

pub mod asert;
mod bodies;
mod choice;
mod engine;
pub mod message;
mod miner;
pub mod mutation;
mod rules;
mod seal;
pub mod sim;
mod status;
mod sync;
pub mod theory;
mod tree;
pub mod work;

pub use engine::{Config, Pow};
pub use message::{Message, Record, Root};
pub use rules::Refusal;
pub use seal::{SealError, SealedHeader, Sealing};
pub use status::Status;
pub use work::Work;
