//! The state machine of one height. [`Bft::enabled`] says which rule applies next, without changing anything;
//! [`Bft::apply`] carries it out. Rule numbers are those of the crate documentation.

use std::sync::Arc;

use basalt_consensus::{BuildRequest, Effect, Target, Verdict};
use basalt_primitives::{B256, CommitCertificate, Height, Round, SealedBlock, ValidatorSet, validators::VoteKind};

use crate::{
    engine::{Bft, Building},
    message::{Message, PreparedCertificate, Proposal, RoundChange, SignedRoundChange, Vote},
    mutation::Mutation,
    record::{Prepared, Record},
};

/// Decided blocks that may wait for execution before votes decide no more.
const MAX_UNEXECUTED: u64 = 16;

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Rule {
    /// D1: a quorum has committed a block.
    Decide { block: SealedBlock, certificate: CommitCertificate },
    /// D2: a block that a quorum voted for is not here.
    Fetch { block: B256, hint: u16 },
    /// W1: a wiped validator asks.
    AskSignStates,
    /// W2: it has learnt enough.
    Recover { height: Height, round: Round, prepared: Option<Prepared>, answers: u64 },
    /// R1 to R5: into a later round; announced by a round change unless a justified proposal led there.
    EnterRound { round: Round, announce: bool },
    /// P1: a proposal is to be judged.
    Validate { block: SealedBlock },
    /// P2: second phase.
    Prepare { block: B256 },
    /// C1: third phase.
    Commit { prepared: Prepared },
    /// L1: a new block is wanted from this validator.
    Build { justification: Vec<SignedRoundChange> },
    /// L2: the prepared block is proposed again.
    Repropose { prepared: Prepared, justification: Vec<SignedRoundChange> },
    /// T1: what was said is said again.
    Repeat,
}

impl Bft {
    pub(crate) fn apply_rules(&mut self) {
        self.run_timer();
        while let Some(rule) = self.enabled() {
            self.apply(rule);
            self.run_timer();
        }
    }

    /// The first rule that applies, in order of importance. Deciding needs no vote of one's own; everything else does.
    fn enabled(&self) -> Option<Rule> {
        let set = self.set()?;
        self.decision(set).or_else(|| self.recovering(set)).or_else(|| {
            let own = self.acting()?;
            self.round_to_enter(set)
                .or_else(|| self.prepare_rule())
                .or_else(|| self.commit_rule(set))
                .or_else(|| self.give_up())
                .or_else(|| self.propose_rule(set, own))
                .or_else(|| self.repeat_rule())
        })
    }

    fn apply(&mut self, rule: Rule) {
        let height = self.height();
        let round = self.local.round;
        match rule {
            // D1: final with q commit votes in one round, whatever round this validator is in.
            Rule::Decide { block, certificate } => self.decide(&block, Arc::new(certificate)),
            // D2: from any holder.
            Rule::Fetch { block, hint } => {
                self.local.fetching.insert(block, self.now + self.repeat_interval());
                self.out.push(Effect::Fetch { block, height, hint });
            }
            Rule::AskSignStates => self.ask_sign_states(),
            Rule::Recover { height, round, prepared, answers } => self.recover(height, round, prepared, answers),
            // R1–R5: the round is on disk before anything said in it leaves.
            Rule::EnterRound { round, announce } => self.enter_round(round, announce),
            Rule::Validate { block } => {
                self.keep_verdict(block.hash(), None);
                self.out.push(Effect::Validate { block });
            }
            // P2: once per round.
            Rule::Prepare { block } => {
                let vote = Vote { height, round, block_hash: block };
                self.local.said.prepare = Some(vote);
                self.send(Target::All, Message::Prepare(vote));
                self.repeat_soon();
            }
            // C1: vote, certificate and body are on disk before the vote leaves.
            Rule::Commit { prepared } => {
                let vote = Vote { height, round, block_hash: prepared.certificate.block_hash };
                self.out.push(Effect::Persist(Record::Vote { height, prepared: prepared.clone() }));
                self.local.prepared = Some(prepared).filter(|_| !Mutation::NoLock.on());
                self.local.said.commit = Some(vote);
                self.send(Target::All, Message::Commit(vote));
                self.mutate_order();
                self.repeat_soon();
            }
            // L1: the header will carry this round as its first.
            Rule::Build { justification } => {
                self.local.building = Some(Building { round, justification });
                let head = &self.chain().head;
                let request = BuildRequest {
                    height,
                    round,
                    parent: head.hash(),
                    last_certificate: self.chain().certificate.as_deref().cloned(),
                    min_timestamp_ms: self.min_timestamp(),
                };
                self.out.push(Effect::Build(request));
            }
            // L2: verbatim.
            Rule::Repropose { prepared, justification } => {
                self.propose(prepared.block, justification, Some(prepared.certificate));
            }
            Rule::Repeat => self.repeat(),
        }
    }

    /// Whether this validator may act at the current height, and its index: it is one, has its record, and has executed
    /// the parent.
    pub(crate) fn acting(&self) -> Option<u16> {
        let chain = self.chain();
        let free = self.recovery.is_none() && !self.guard.forbids(self.height());
        self.own_index().filter(|_| free && chain.executed == chain.head.height())
    }

    /// D1, D2. A node whose execution lags far behind lets the votes go by, so that its backlog stays bounded.
    fn decision(&self, set: &ValidatorSet) -> Option<Rule> {
        let chain = self.chain();
        if chain.head.height().0 - chain.executed.0 >= MAX_UNEXECUTED {
            return None;
        }
        let shown = self.local.decided.as_ref().map(|c| (c.round, c.block_hash));
        let (round, block_hash) = self.votes.commit_quorum(set).or(shown)?;
        let Some(block) = self.body(&block_hash) else {
            let committed = self.votes.voters(VoteKind::Commit, round).first().copied();
            let signer = || self.local.decided.as_ref()?.signatures.first().map(|s| s.validator);
            return self.fetch_rule(block_hash, committed.or_else(signer)?);
        };
        if !self.follows_head(&block) {
            return None; // More than f are faulty. Explained by status; nothing is safe to do.
        }
        let heard = || {
            let signatures = self.votes.signatures(VoteKind::Commit, round, block_hash);
            CommitCertificate { height: self.height(), round, block_hash, signatures }
        };
        let certificate = match &self.local.decided {
            Some(shown) if shown.block_hash == block_hash => shown.clone(),
            _ => heard(),
        };
        Some(Rule::Decide { block, certificate })
    }

    pub(crate) fn fetch_rule(&self, block: B256, hint: u16) -> Option<Rule> {
        let waiting = self.local.fetching.get(&block).is_some_and(|again| self.now < *again);
        (!waiting).then_some(Rule::Fetch { block, hint })
    }

    /// R1: out of the rounds this key may have voted in before the start. R2: after a proposal that a quorum justifies.
    /// R3: after f + 1, of whom one is honest. R4: when the round's time is up.
    fn round_to_enter(&self, set: &ValidatorSet) -> Option<Rule> {
        let own = self.local.round;
        if let Some(guarded) = self.guard.round(self.height())
            && own <= guarded
        {
            return Some(Rule::EnterRound { round: guarded.next(), announce: true });
        }
        let justified = self.votes.proposals_above(own).find(|p| self.follows_head(&p.block)).map(|p| p.round);
        if let Some(round) = justified {
            return Some(Rule::EnterRound { round, announce: false });
        }
        let proven = self
            .votes
            .highest_round_of(set, set.max_faulty() + u64::from(!Mutation::JumpAtF.on()))
            .filter(|round| *round > own);
        let expired = self.timer_deadline().filter(|at| self.now >= *at).map(|_| own.next());
        let round = proven.or(expired)?;
        Some(Rule::EnterRound { round, announce: true })
    }

    /// P1, P2: the first proposal of the round's proposer, once the parent is executed. What a quorum has prepared before
    /// was judged valid by honest validators and needs no second judgement.
    fn prepare_rule(&self) -> Option<Rule> {
        let proposal = self.votes.proposal(self.local.round)?;
        let hash = proposal.block.hash();
        if self.local.said.prepare.is_some() || !self.follows_head(&proposal.block) {
            return None;
        }
        if proposal.prepared.is_some() {
            return Some(Rule::Prepare { block: hash });
        }
        let validate = || Rule::Validate { block: proposal.block.clone() };
        match self.local.verdicts.get(&hash) {
            None => Some(validate()),
            Some(None) => None,
            Some(Some((Verdict::Valid, _))) => Some(Rule::Prepare { block: hash }),
            Some(Some((Verdict::NotYet, again))) => (self.now >= *again).then(validate),
            Some(Some((Verdict::Invalid, _))) => None,
        }
    }

    /// C1: a quorum prepared a block in this validator's round, and its body is here.
    fn commit_rule(&self, set: &ValidatorSet) -> Option<Rule> {
        let round = self.local.round;
        if self.local.said.commit.is_some_and(|vote| vote.round >= round) {
            return None;
        }
        let block_hash = self.votes.prepare_quorum(set, round)?;
        let Some(block) = self.body(&block_hash) else {
            return self.fetch_rule(block_hash, *self.votes.voters(VoteKind::Prepare, round).first()?);
        };
        let signatures = self.votes.signatures(VoteKind::Prepare, round, block_hash);
        let certificate = PreparedCertificate { round, block_hash, signatures };
        self.follows_head(&block).then_some(Rule::Commit { prepared: Prepared { certificate, block } })
    }

    /// R5: a proposal that can never be prepared ends its round.
    fn give_up(&self) -> Option<Rule> {
        let proposal = self.votes.proposal(self.local.round)?;
        let judged = self.local.verdicts.get(&proposal.block.hash()).copied().flatten();
        let invalid = matches!(judged, Some((Verdict::Invalid, _))) && proposal.prepared.is_none();
        let useless = invalid || !self.follows_head(&proposal.block);
        useless.then(|| Rule::EnterRound { round: self.local.round.next(), announce: true })
    }

    /// L1, L2: the round's proposer, with a quorum of round changes to exactly this round unless it is the first. It may
    /// choose among more than a quorum, and leaves out claims whose block it cannot have: what was committed, an honest
    /// member of every quorum claims and holds.
    fn propose_rule(&self, set: &ValidatorSet, own: u16) -> Option<Rule> {
        let round = self.local.round;
        if self.proposer(round) != Some(own) || self.local.said.proposal.is_some() || self.local.building.is_some() {
            return None;
        }
        let asked: Vec<_> = self.votes.changes().filter(|(_, m, _)| m.round == round).collect();
        let power = |changes: &[(u16, &RoundChange, _)]| set.power_of(changes.iter().map(|(from, ..)| *from));
        if round > Round::ZERO && power(&asked) < set.quorum() {
            return None;
        }
        let here = |m: &RoundChange| m.prepared.as_ref().is_none_or(|p| self.body(&p.block_hash).is_some());
        let usable: Vec<_> = asked.iter().copied().filter(|(_, m, _)| here(m)).collect();
        if round > Round::ZERO && power(&usable) < set.quorum() {
            let (from, missing) =
                asked.iter().find_map(|(from, m, _)| Some((*from, m.prepared.as_ref().filter(|_| !here(m))?)))?;
            return self.fetch_rule(missing.block_hash, from);
        }
        let highest = usable.iter().filter_map(|(_, m, _)| m.prepared.as_ref()).max_by_key(|p| p.round);
        let justification = usable.iter().map(|(from, m, signature)| SignedRoundChange {
            from: *from,
            prepared: m.prepared.as_ref().map(PreparedCertificate::claim),
            signature: *signature,
        });
        let justification: Vec<_> = justification.collect();
        let Some(certificate) = highest.filter(|_| !Mutation::FreshReproposal.on()) else {
            let ready = self.due() && self.now >= self.local.build_retry_at;
            return ready.then_some(Rule::Build { justification });
        };
        let block = self.body(&certificate.block_hash)?;
        Some(Rule::Repropose { prepared: Prepared { certificate: certificate.clone(), block }, justification })
    }

    /// The deliberate bug of speaking first and writing afterwards.
    fn mutate_order(&mut self) {
        let n = self.out.len();
        if Mutation::RecordAfterVote.on() && n >= 2 {
            self.out.swap(n - 2, n - 1);
        }
    }

    pub(crate) fn propose(
        &mut self,
        block: SealedBlock,
        justification: Vec<SignedRoundChange>,
        prepared: Option<PreparedCertificate>,
    ) {
        let proposal = Proposal { height: self.height(), round: self.local.round, block, justification, prepared };
        let message = Message::Proposal(proposal);
        self.local.said.proposal = Some(message.clone());
        self.send(Target::All, message);
        self.repeat_soon();
    }

    fn enter_round(&mut self, round: Round, announce: bool) {
        debug_assert!(round > self.local.round, "rounds only rise");
        let height = self.height();
        self.local.round = round;
        self.local.timer_since = None;
        self.local.building = None;
        self.local.build_retry_at = 0;
        let said = &mut self.local.said;
        (said.proposal, said.prepare, said.change) = (None, None, None);
        self.out.push(Effect::Persist(Record::Round { height, round }));
        if Mutation::LockReleased.on() {
            self.local.prepared = None;
        }
        if announce {
            let prepared = self.local.prepared.as_ref().map(|p| p.certificate.clone());
            let change = RoundChange { height, round, prepared };
            self.local.said.change = Some(change.clone());
            self.send(Target::All, Message::RoundChange(change));
            self.mutate_order();
            self.repeat_soon();
        }
    }
}
