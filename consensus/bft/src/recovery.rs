//! A validator whose disk has no sign record: it learns from the others what it may have signed, and begins a new record.

use std::{collections::BTreeMap, sync::Arc};

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
    asked: u32,
    /// The power an operator has said is enough.
    released: Option<u64>,
}

/// A released key asks so many times before it makes do with less than is safe: whoever can answer has done so by then.
const RELEASED_ASKS: u32 = 5;

/// Enough signed states, summed up.
#[derive(Debug)]
pub(crate) struct Sample {
    height: Height,
    round: Round,
    prepared: Option<PreparedCertificate>,
    holder: Option<PublicKey>,
    power: u64,
}

impl Recovery {
    /// Nothing learnt yet. `nonce` tells answers to this start from older ones; `released` is what an operator has said is
    /// enough.
    pub const fn new(nonce: u64, released: Option<u64>) -> Self {
        Self { nonce, answers: BTreeMap::new(), ask_at: 0, asked: 0, released }
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
    /// P − q of the others had no part in it; f of the rest may lie; one more tells the truth about it. An operator's
    /// release lowers it.
    ///
    /// In a set override all others that remain must answer: of an old quorum that this validator was part of there may be
    /// no more than one left, whoever it is.
    pub fn needed(&self, set: &ValidatorSet, own: Option<&PublicKey>) -> u64 {
        let own = own.and_then(|key| set.index_of(key)).map_or(0, |index| set.power_at(index));
        let all_others = set.total_power() - own;
        let usual = set.total_power() - set.quorum() + set.max_faulty() + 1;
        let safe = if set.is_overridden() { all_others } else { usual };
        self.released.map_or(safe, |released| released.min(safe))
    }

    /// The answers to rely on, once they are enough, counted among the validators of the highest height in them. Do they say
    /// that a block was prepared there, it may have been decided and this key have gone on: then they must be enough among
    /// the validators of the height above it as well (see the crate documentation). `current` is where this validator is.
    fn sample(
        &self,
        sets: &BTreeMap<Height, Arc<ValidatorSet>>,
        own: Option<&PublicKey>,
        current: Height,
    ) -> Option<Sample> {
        let mut answers: Vec<Answer<'_>> = self.answers.iter().collect();
        answers.sort_unstable_by_key(|(key, state)| (state.height, state.round, **key));
        let height = |chosen: &[Answer<'_>]| chosen.last().map_or(current, |(_, state)| state.height);
        let enough = |chosen: &[Answer<'_>]| {
            let counted = |height| sets.get(&height).is_some_and(|set| power_in(set, chosen) >= self.needed(set, own));
            let height = height(chosen);
            let claimed = chosen.iter().any(|(_, state)| state.height == height && state.prepared.is_some());
            counted(height) && (!claimed || counted(height.next()))
        };
        let chosen = if self.released.is_some() {
            // With fewer than is safe, all that can be had.
            Some(&answers[..]).filter(|all| self.asked > RELEASED_ASKS && enough(all))?
        } else {
            // Any choice is safe, and the lowest leaves out exaggeration.
            (1..=answers.len()).map(|count| &answers[..count]).find(|chosen| enough(chosen))?
        };
        let height = height(chosen);
        let at_height = chosen.iter().filter(|(_, state)| state.height == height);
        let highest = at_height
            .filter_map(|(key, state)| Some((state.prepared.as_ref()?, **key)))
            .max_by_key(|(prepared, _)| prepared.round);
        Some(Sample {
            height,
            round: chosen.last().map_or(Round::ZERO, |(_, state)| state.round),
            prepared: highest.map(|(prepared, _)| prepared.clone()),
            holder: highest.map(|(_, key)| key),
            power: sets.get(&height).map_or(0, |set| power_in(set, chosen)),
        })
    }
}

type Answer<'a> = (&'a PublicKey, &'a SignState);

fn power_in(set: &ValidatorSet, answers: &[Answer<'_>]) -> u64 {
    set.power_of(answers.iter().filter_map(|(key, _)| set.index_of(key)))
}

impl Bft {
    /// Rules of a wiped validator: ask, and once enough have answered and the chain has reached them, begin a new record.
    pub(crate) fn recovering(&self, set: &ValidatorSet) -> Option<Rule> {
        let recovery = self.recovery.as_ref()?;
        self.own_index()?;
        let (executed, current) = (self.chain().executed, self.height());
        let sample = recovery.sample(&self.chain().sets, self.config.key.as_ref(), current);
        let Some(sample) = sample else { return self.ask_again(recovery) };
        if executed.next() < sample.height || current < sample.height {
            return self.ask_again(recovery);
        }
        let Sample { height, round, prepared, holder, power: answers } = sample;
        let Some(certificate) = prepared.filter(|_| current == height) else {
            return Some(Rule::Recover { height, round, prepared: None, answers });
        };
        match self.body(&certificate.block_hash) {
            Some(block) => {
                let prepared = Some(Prepared { certificate, block });
                Some(Rule::Recover { height, round, prepared, answers })
            }
            None => {
                let hint = holder.and_then(|key| set.index_of(&key)).unwrap_or_default();
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
        recovery.asked = recovery.asked.saturating_add(1);
        let request = SignStateRequest { height, key, nonce: recovery.nonce };
        self.send(Target::All, Message::SignStateRequest(request));
    }

    pub(crate) fn recover(&mut self, height: Height, round: Round, prepared: Option<Prepared>, answers: u64) {
        self.out.push(Effect::Persist(Record::Recovered { height, round, prepared: prepared.clone(), answers }));
        self.guard = if Mutation::RecoveredUnguarded.on() { Guard::default() } else { Guard::recovered(height, round) };
        self.guard.prune(self.height());
        self.local.prepared = prepared;
        self.recovery = None;
    }

    pub(crate) fn on_sign_state(&mut self, from: u16, state: SignState) {
        let own = self.config.key;
        let Some(set) = self.chain().sets.get(&state.height).cloned() else { return };
        let Some(recovery) = &mut self.recovery else { return };
        let Some(validator) = set.get(from).filter(|_| !set.is_lost(from)) else { return };
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
        if self.recovery.is_some() || asker == own || set.is_lost(asker) || recently {
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
