//! A validator whose disk has no sign record: it learns from the others what it may have signed, and begins a new record.

use std::collections::BTreeMap;

use basalt_consensus::{Effect, Target};
use basalt_primitives::{Height, Millis, PublicKey, Round, ValidatorSet};

use crate::{
    engine::Bft,
    guard::Guard,
    message::{Message, PreparedCertificate, SignState, SignStateRequest},
    mutation::Mutation,
    record::{Prepared, Record},
    rules::Rule,
};

/// What a wiped validator has learnt so far.
#[derive(Debug)]
pub struct Recovery {
    nonce: u64,
    answers: BTreeMap<PublicKey, SignState>,
    ask_at: Millis,
}

/// Enough signed states, summed up.
#[derive(Debug)]
pub(crate) struct Sample {
    height: Height,
    round: Round,
    prepared: Option<PreparedCertificate>,
    holder: PublicKey,
}

impl Recovery {
    /// Nothing learnt yet. `nonce` tells answers to this start from older ones.
    pub const fn new(nonce: u64) -> Self {
        Self { nonce, answers: BTreeMap::new(), ask_at: 0 }
    }

    /// When to ask (again).
    pub const fn ask_at(&self) -> Millis {
        self.ask_at
    }

    /// The validators that have answered.
    pub fn answered(&self, set: &ValidatorSet) -> Vec<u16> {
        self.answers.keys().filter_map(|key| set.index_of(key)).collect()
    }

    /// Power that must answer: P − q + f + 1. Whatever was committed with this validator's vote was committed by q, so
    /// P − q of the others had no part in it; f of the rest may lie; one more tells the truth about it.
    pub fn needed(set: &ValidatorSet) -> u64 {
        if Mutation::RecoverySampleTooSmall.on() {
            return set.max_faulty() + 1;
        }
        set.total_power() - set.quorum() + set.max_faulty() + 1
    }

    /// The lowest answers that reach the needed power: any choice is safe, and this one leaves out exaggeration.
    fn sample(&self, set: &ValidatorSet) -> Option<Sample> {
        let mut answers: Vec<_> = self
            .answers
            .iter()
            .filter_map(|(key, state)| Some((state, *key, set.get(set.index_of(key)?)?.power)))
            .collect();
        answers.sort_unstable_by_key(|(state, key, _)| (state.height, state.round, *key));
        let mut power = 0;
        let enough = answers.iter().position(|(_, _, p)| {
            power += p;
            power >= Self::needed(set)
        })?;
        let chosen = &answers[..=enough];
        let (last, holder, _) = chosen[enough];
        let at_height = chosen.iter().filter(|(state, ..)| state.height == last.height);
        let highest = at_height
            .filter_map(|(state, key, _)| Some((state.prepared.as_ref()?, *key)))
            .max_by_key(|(prepared, _)| prepared.round);
        Some(Sample {
            height: last.height,
            round: last.round,
            prepared: highest.map(|(prepared, _)| prepared.clone()),
            holder: highest.map_or(holder, |(_, key)| key),
        })
    }
}

impl Bft {
    /// Rules of a wiped validator: ask, and once enough have answered and the chain has reached them, begin a new record.
    pub(crate) fn recovering(&self, set: &ValidatorSet) -> Option<Rule> {
        let recovery = self.recovery.as_ref()?;
        self.own_index()?;
        let Some(sample) = recovery.sample(set) else { return self.ask_again(recovery) };
        let (executed, current) = (self.chain().executed, self.height());
        if executed.next() < sample.height || current < sample.height {
            return self.ask_again(recovery);
        }
        let needed = sample.prepared.filter(|_| current == sample.height);
        let Some(certificate) = needed else {
            return Some(Rule::Recover { height: sample.height, round: sample.round, prepared: None });
        };
        match self.body(&certificate.block_hash) {
            Some(block) => {
                let prepared = Some(Prepared { certificate, block });
                Some(Rule::Recover { height: sample.height, round: sample.round, prepared })
            }
            None => {
                let hint = set.index_of(&sample.holder).unwrap_or_default();
                self.fetch_rule(certificate.block_hash, hint).or_else(|| self.ask_again(recovery))
            }
        }
    }

    fn ask_again(&self, recovery: &Recovery) -> Option<Rule> {
        (self.now >= recovery.ask_at).then_some(Rule::AskSignStates)
    }

    pub(crate) fn ask_sign_states(&mut self) {
        let at = self.now + 2 * self.repeat_interval();
        let height = self.height();
        let (Some(recovery), Some(key)) = (&mut self.recovery, self.config.key) else { return };
        recovery.ask_at = at;
        let request = SignStateRequest { height, key, nonce: recovery.nonce };
        self.send(Target::All, Message::SignStateRequest(request));
    }

    pub(crate) fn recover(&mut self, height: Height, round: Round, prepared: Option<Prepared>) {
        self.out.push(Effect::Persist(Record::Recovered { height, round, prepared: prepared.clone() }));
        self.guard = Guard::recovered(height, round);
        self.guard.prune(self.height());
        self.local.prepared = prepared;
        self.recovery = None;
    }

    pub(crate) fn on_sign_state(&mut self, from: u16, state: SignState) {
        let own = self.config.key;
        let Some(set) = self.chain().sets.get(&state.height).cloned() else { return };
        let Some(recovery) = &mut self.recovery else { return };
        let Some(validator) = set.get(from) else { return };
        let fresh = state.nonce == recovery.nonce && own == Some(state.asker) && own != Some(validator.public_key);
        if fresh {
            recovery.answers.insert(validator.public_key, state);
        }
    }

    /// Answers a wiped validator, if this one has its own record.
    pub(crate) fn answer_sign_state(&mut self, request: &SignStateRequest) {
        let (Some(set), Some(own)) = (self.set(), self.own_index()) else { return };
        let Some(asker) = set.index_of(&request.key) else { return };
        let recently = self.answered.get(&asker).is_some_and(|at| self.now < at + self.repeat_interval());
        if self.recovery.is_some() || asker == own || recently {
            return;
        }
        let guarded = self.guard.round(self.height()).unwrap_or_default();
        let state = SignState {
            height: self.height(),
            asker: request.key,
            nonce: request.nonce,
            round: self.local.round.max(guarded),
            prepared: self.local.prepared.as_ref().map(|p| p.certificate.clone()),
        };
        self.answered.insert(asker, self.now);
        self.send(Target::One(asker), Message::SignState(state));
    }
}
