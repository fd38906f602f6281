//! The engine: inputs in, effects out. [`Bft::step`] files the input, then applies the rules of [`crate::rules`] until none
//! is enabled.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use basalt_consensus::{Effect, Engine, Input, Restored, Target, Verdict};
use basalt_primitives::{
    B256, CommitCertificate, Height, Millis, PublicKey, Round, SealedBlock, ValidatorSet, chainspec::BftParams,
};

use crate::{
    election::{self, Turns},
    guard::{Guard, Recorded},
    message::{Message, PreparedCertificate, RoundChange, SignedMessage, SignedRoundChange, Vote},
    mutation::Mutation,
    pace::Pace,
    record::{Prepared, Record},
    recovery::Recovery,
    votes::HeightVotes,
};

/// What the engine says.
pub(crate) type Out = Effect<Message, SignedMessage, Record>;

/// Heights whose validator sets are kept below the head, to tell who a straggler is.
const SETS_KEPT: u64 = 64;
/// Blocks kept that were fetched or built for the current height.
const BLOCKS_KEPT: usize = 4;
/// Verdicts kept for the current height.
const VERDICTS_KEPT: usize = 16;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This validator's key; `None` for a node that only follows.
    pub key: Option<PublicKey>,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// The chain's parameters.
    pub params: BftParams,
}

/// The decided chain, as far as the engine cares.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Newest decided block.
    pub head: SealedBlock,
    /// Its certificate; `None` for genesis.
    pub certificate: Option<Arc<CommitCertificate>>,
    /// When (mono) the head was first seen proposed: blocks are paced from there.
    pub head_at: Millis,
    /// When (mono) it was decided.
    pub decided_at: Millis,
    /// Newest executed and durable height.
    pub executed: Height,
    /// Whether the executed head had transactions, whose results a further block must certify.
    pub uncertified: bool,
    /// Validator sets by height.
    pub sets: BTreeMap<Height, Arc<ValidatorSet>>,
    /// Who is skipped at the next height and the one after.
    pub turns: Turns,
}

/// What this validator has said at the current height and repeats until the height is decided.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Proposal of the current round.
    pub proposal: Option<Message>,
    /// Prepare of the current round.
    pub prepare: Option<Vote>,
    /// The newest commit.
    pub commit: Option<Vote>,
    /// Round change to the current round.
    pub change: Option<RoundChange>,
}

/// A block being built for a proposal.
#[derive(Debug)]
pub(crate) struct Building {
    pub round: Round,
    pub justification: Vec<SignedRoundChange>,
}

/// This validator's own position at the current height (head + 1).
#[derive(Debug, Default)]
pub(crate) struct Local {
    /// The proposers of the height's rounds, once its validators are known.
    pub order: OnceLock<Vec<u16>>,
    /// The round it is in.
    pub round: Round,
    /// Since when (mono) the current round's timer runs.
    pub timer_since: Option<Millis>,
    /// What it has said.
    pub said: Said,
    /// The block it is locked on: recorded on disk.
    pub prepared: Option<Prepared>,
    /// The block it has asked for.
    pub building: Option<Building>,
    /// Not before this moment is a failed build tried again.
    pub build_retry_at: Millis,
    /// Blocks fetched or built.
    pub blocks: Vec<SealedBlock>,
    /// Judgements asked for; `None` while unanswered. With NotYet goes the moment to ask again.
    pub verdicts: BTreeMap<B256, Option<(Verdict, Millis)>>,
    /// Blocks being fetched, and when to ask again. Only blocks that a quorum has voted for get here.
    pub fetching: BTreeMap<B256, Millis>,
    /// A certificate of this height that a peer has shown.
    pub decided: Option<CommitCertificate>,
    /// When to repeat, and the interval after that.
    pub resend: Option<(Millis, Millis)>,
}

/// The PBFT-style engine. See the crate documentation for the protocol.
#[derive(Debug)]
pub struct Bft {
    pub(crate) config: Config,
    pub(crate) now: Millis,
    pub(crate) chain: Option<Chain>,
    pub(crate) votes: HeightVotes,
    pub(crate) next_votes: HeightVotes,
    pub(crate) local: Local,
    pub(crate) guard: Guard,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) pending: bool,
    pub(crate) pace: Pace,
    /// When each straggler was last helped, by index in the head's set.
    pub(crate) helped: BTreeMap<u16, Millis>,
    /// When each wiped validator was last answered, by index in the current set.
    pub(crate) answered: BTreeMap<u16, Millis>,
    /// The highest height any peer has spoken of: a hint for status, never acted on.
    pub(crate) seen_height: Height,
    pub(crate) out: Vec<Out>,
}

impl Engine for Bft {
    type Message = Message;
    type Signed = SignedMessage;
    type Record = Record;

    fn step(&mut self, mono: Millis, wall: Millis, input: Input<SignedMessage, Record>) -> Vec<Out> {
        self.now = self.now.max(if Mutation::WallTimer.on() { wall } else { mono });
        match input {
            Input::Restored(restored) => self.restore(restored),
            Input::Tick | Input::Sealed { .. } | Input::Mine { .. } | Input::Checkpoint { .. } => {}
            Input::Message { from, message } => self.on_message(from, message.into_inner()),
            Input::Work { pending } => self.pending = pending,
            Input::Built { height, round, block } => self.on_built(height, round, &block),
            Input::BuildFailed { height, round } => self.on_build_failed(height, round),
            Input::Validated { block, verdict } => self.on_validated(block, verdict),
            Input::Executed { height, block, had_transactions, .. } => {
                self.on_executed(height, block, had_transactions);
            }
            Input::Synced { block, certificate } => self.on_synced(&block, certificate),
            Input::Fetched { block } => self.on_fetched(block),
            Input::FetchFailed { block } => self.on_fetch_failed(&block),
            Input::ValidatorSet { height, set } => self.on_set(height, set),
        }
        if self.chain.is_some() {
            self.apply_rules();
        }
        std::mem::take(&mut self.out)
    }

    fn deadline(&self) -> Option<Millis> {
        self.next_deadline()
    }

    fn block(&self, hash: &B256) -> Option<SealedBlock> {
        self.body(hash).or_else(|| self.next_votes.block(hash).cloned())
    }
}

impl Bft {
    /// An engine that waits for [`Input::Restored`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            pace: Pace::new(&config.params),
            config,
            now: 0,
            chain: None,
            votes: HeightVotes::new(Height(1)),
            next_votes: HeightVotes::new(Height(2)),
            local: Local::default(),
            guard: Guard::default(),
            recovery: None,
            pending: false,
            helped: BTreeMap::new(),
            answered: BTreeMap::new(),
            seen_height: Height::GENESIS,
            out: Vec::new(),
        }
    }

    /// The chain. Only called after Restored.
    pub(crate) const fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("Restored is the first input")
    }

    const fn chain_mut(&mut self) -> &mut Chain {
        self.chain.as_mut().expect("Restored is the first input")
    }

    /// The height being agreed on.
    pub(crate) const fn height(&self) -> Height {
        self.votes.height()
    }

    /// The validator set of the current height, once known.
    pub(crate) fn set(&self) -> Option<&Arc<ValidatorSet>> {
        self.chain().sets.get(&self.height())
    }

    /// This validator's index at the current height. One that was declared lost follows.
    pub(crate) fn own_index(&self) -> Option<u16> {
        let set = self.set()?;
        set.index_of(self.config.key.as_ref()?).filter(|index| !set.is_lost(*index))
    }

    /// The proposer of a round of the current height, once its validators are known.
    pub(crate) fn proposer(&self, round: Round) -> Option<u16> {
        let (set, absences) = (self.set()?, self.chain().turns.at(self.height())?);
        let order = self.local.order.get_or_init(|| election::order(set, absences, self.height()));
        order.get(round.0 as usize % order.len()).copied()
    }

    /// A block of the current height by hash, if it is here.
    pub(crate) fn body(&self, hash: &B256) -> Option<SealedBlock> {
        let local = &self.local;
        let locked = local.prepared.as_ref().map(|p| &p.block);
        let here = locked.into_iter().chain(&local.blocks).find(|b| b.hash() == *hash);
        here.or_else(|| self.votes.block(hash)).cloned()
    }

    /// Whether a block follows the head by the rules the engine itself knows.
    pub(crate) fn follows_head(&self, block: &SealedBlock) -> bool {
        let head = &self.chain().head;
        let parent_certified = match &block.block().last_certificate {
            None => head.height() == Height::GENESIS,
            Some(c) => c.height == head.height() && c.block_hash == head.hash(),
        };
        block.height() == head.height().next()
            && block.header().parent_hash == head.hash()
            && block.header().timestamp_ms >= self.min_timestamp()
            && parent_certified
    }

    /// The least timestamp of the next block.
    pub(crate) fn min_timestamp(&self) -> Millis {
        self.chain().head.header().timestamp_ms + self.config.params.block_interval_ms.max(1)
    }

    pub(crate) fn send(&mut self, to: Target, message: Message) {
        self.out.push(Effect::Send { to, message });
    }

    fn restore(&mut self, restored: Restored<Record>) {
        let Restored { head, certificate, had_transactions, sets, past, records, nonce } = restored;
        let height = head.height();
        let turns = Turns::restored(height, &past);
        let recent = past.into_iter().filter(|p| p.height.0 + SETS_KEPT > height.0).map(|p| (p.height, p.set));
        let released = records.as_ref().and_then(|r| match r.last() {
            Some(Record::Released { answers, .. }) => Some(*answers),
            _ => None,
        });
        let recorded = records.and_then(|r| Recorded::read(height, r));
        self.votes = HeightVotes::new(height.next());
        self.next_votes = HeightVotes::new(height.next().next());
        self.chain = Some(Chain {
            head,
            certificate,
            head_at: self.now,
            decided_at: self.now,
            executed: height,
            uncertified: had_transactions,
            sets: recent.chain(sets).collect(),
            turns,
        });
        if self.config.key.is_none() {
            return;
        }
        match recorded {
            None if Mutation::WipedVotes.on() => {}
            None => self.recovery = Some(Recovery::new(nonce, released)),
            Some(recorded) => self.resume(recorded),
        }
    }

    /// Takes up what the record says. A vote already on disk may be said again: it is the very same vote.
    fn resume(&mut self, recorded: Recorded) {
        let height = self.height();
        self.guard = recorded.guard;
        if recorded.fresh {
            self.out.push(Effect::Persist(Record::Round { height, round: Round::ZERO }));
        }
        let Some(prepared) = recorded.prepared else { return };
        if recorded.voted && self.own_index().is_some() {
            let PreparedCertificate { round, block_hash, .. } = prepared.certificate;
            let vote = Vote { height, round, block_hash };
            self.local.said.commit = Some(vote);
            self.send(Target::All, Message::Commit(vote));
            self.repeat_soon();
        }
        self.local.prepared = Some(prepared);
    }

    fn on_built(&mut self, height: Height, round: Round, block: &SealedBlock) {
        let asked = self.local.building.take_if(|b| b.round == round && height == self.votes.height());
        let Some(Building { justification, .. }) = asked.filter(|b| b.round == self.local.round) else { return };
        if !self.follows_head(block) || block.header().first_round != round {
            self.local.build_retry_at = self.now + self.retry_after();
            return;
        }
        self.keep_block(block.clone());
        self.keep_verdict(block.hash(), Some((Verdict::Valid, 0)));
        self.propose(block.clone(), justification, None);
    }

    fn on_build_failed(&mut self, height: Height, round: Round) {
        if height == self.height() && self.local.building.take_if(|b| b.round == round).is_some() {
            self.local.build_retry_at = self.now + self.retry_after();
        }
    }

    fn on_validated(&mut self, block: B256, verdict: Verdict) {
        let again = self.now + self.retry_after();
        if let Some(slot) = self.local.verdicts.get_mut(&block) {
            *slot = Some((verdict, again));
        }
    }

    fn on_executed(&mut self, height: Height, block: B256, had_transactions: bool) {
        let chain = self.chain_mut();
        if height <= chain.executed || height > chain.head.height() {
            return;
        }
        chain.executed = height;
        if height == chain.head.height() {
            assert_eq!(block, chain.head.hash(), "the executor reports another block than it was given");
            chain.uncertified = had_transactions;
        }
    }

    fn on_synced(&mut self, block: &SealedBlock, certificate: Arc<CommitCertificate>) {
        let certified = certificate.height == block.height() && certificate.block_hash == block.hash();
        // Without its validators the next height's skip list cannot be told: it comes again once more is executed.
        let certified = certified || Mutation::CertificateOfOtherHeight.on();
        if certified && self.set().is_some() && self.follows_head(block) {
            self.decide(block, certificate);
        }
    }

    fn on_fetched(&mut self, block: SealedBlock) {
        if block.height() == self.height() && self.local.fetching.remove(&block.hash()).is_some() {
            self.keep_block(block);
        }
    }

    fn on_fetch_failed(&mut self, block: &B256) {
        let again = self.now + self.retry_after();
        if let Some(at) = self.local.fetching.get_mut(block) {
            *at = again;
        }
    }

    fn on_set(&mut self, height: Height, set: Arc<ValidatorSet>) {
        let height = if Mutation::SetChangeEarly.on() { height.prev().unwrap_or_default() } else { height };
        if height >= self.height() {
            self.chain_mut().sets.insert(height, set);
        }
    }

    /// Makes a block the head: final, to be executed. Everything said at its height is forgotten.
    pub(crate) fn decide(&mut self, block: &SealedBlock, certificate: Arc<CommitCertificate>) {
        let now = self.now;
        let (hash, height) = (block.hash(), block.height());
        let head_at = self.votes.first_seen(&hash).unwrap_or(now);
        self.learn_pace(certificate.round);
        let first_round = if Mutation::SkipListLocal.on() { self.local.round } else { block.header().first_round };
        let chain = self.chain_mut();
        assert_eq!(chain.head.height().next(), height, "only the next height can be decided");
        let set = chain.sets.get(&height).expect("only a height whose validators are known is decided");
        chain.turns.decided(set, first_round);
        chain.head = block.clone();
        chain.certificate = Some(certificate.clone());
        (chain.head_at, chain.decided_at) = (head_at, now);
        chain.sets = chain.sets.split_off(&Height(height.0.saturating_sub(SETS_KEPT)));
        self.votes = std::mem::replace(&mut self.next_votes, HeightVotes::new(height.next().next()));
        self.local = Local::default();
        self.guard.prune(height.next());
        self.helped.clear();
        self.answered.clear();
        let proof = Some(certificate.clone());
        self.out.push(Effect::Forkchoice { head: hash, safe: hash, finalized: hash, proof, branch: None });
        self.out.push(Effect::Execute { block: block.clone(), certificate });
    }

    fn keep_block(&mut self, block: SealedBlock) {
        let blocks = &mut self.local.blocks;
        if blocks.len() >= BLOCKS_KEPT {
            blocks.remove(0);
        }
        blocks.push(block);
    }

    pub(crate) fn keep_verdict(&mut self, block: B256, verdict: Option<(Verdict, Millis)>) {
        let verdicts = &mut self.local.verdicts;
        if verdicts.len() >= VERDICTS_KEPT {
            let votes = &self.votes;
            verdicts.retain(|hash, _| votes.block(hash).is_some());
        }
        verdicts.insert(block, verdict);
    }
}
