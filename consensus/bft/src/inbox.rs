//! Messages of validators: which are of use, and which show that their sender needs help.

use std::cmp::Ordering;

use basalt_consensus::{Effect, Target};
use basalt_primitives::{Height, Millis};

use crate::{
    engine::Bft,
    message::{MAX_ROUND, Message, SignedMessage},
};

impl Bft {
    /// Files a message by its height: current or next are collected, past ones are answered with the certificate of the
    /// head, later ones are only noted, since a claim by a peer moves nobody.
    pub(crate) fn on_message(&mut self, from: u16, signed: SignedMessage) {
        if self.chain.is_none() || from != signed.from {
            return;
        }
        let height = signed.message.height();
        match (signed.message, height.cmp(&self.height())) {
            (Message::SignStateRequest(request), _) => self.answer_sign_state(&request),
            (Message::SignState(state), _) => self.on_sign_state(from, state),
            (message @ Message::Decided(_), Ordering::Equal) => {
                self.on_decided(SignedMessage { from, message, signature: signed.signature });
            }
            (Message::Decided(_), Ordering::Less) => {}
            (message @ Message::RoundChange(_), Ordering::Less) => self.help(from, &message),
            (message, Ordering::Less) => {
                // Votes that were under way when the height was decided are no sign of a straggler; later ones are.
                if self.now >= self.chain().decided_at + self.repeat_interval() {
                    self.help(from, &message);
                }
            }
            (message, _) => {
                self.seen_height = self.seen_height.max(height);
                self.collect(SignedMessage { from, message, signature: signed.signature });
            }
        }
    }

    fn on_decided(&mut self, signed: SignedMessage) {
        let sound = self.set().is_some_and(|set| signed.check(set).is_ok());
        if let Message::Decided(certificate) = signed.message
            && sound
        {
            self.local.decided = Some(certificate);
        }
    }

    fn collect(&mut self, signed: SignedMessage) {
        if signed.message.round() >= MAX_ROUND {
            return;
        }
        let height = signed.message.height();
        let chain = self.chain();
        let (Some(set), Some(absences)) = (chain.sets.get(&height).cloned(), chain.turns.at(height).cloned()) else {
            return;
        };
        let votes = if height == self.votes.height() {
            &mut self.votes
        } else if height == self.next_votes.height() {
            &mut self.next_votes
        } else {
            return;
        };
        let from = signed.from;
        let before = votes.changed_to(from);
        let evidence = votes.add(self.now, &set, &absences, signed);
        let news = before != votes.changed_to(from);
        self.out.extend(evidence.map(Effect::Report));
        // Somebody has come back or moved on: what it needs from here should not wait for the end of a long back-off.
        if news && height == self.height() && Some(from) != self.own_index() {
            self.repeat_soon();
        }
    }

    /// Tells a straggler what the head is, so that it fetches or syncs. Seldom per peer, because it repeats itself.
    fn help(&mut self, from: u16, message: &Message) {
        let chain = self.chain();
        let (Some(set), Some(certificate)) = (chain.sets.get(&chain.head.height()), &chain.certificate) else { return };
        // Indexes are those of the set of the message's height; who that was so long ago that it is forgotten here syncs.
        let Some(theirs) = chain.sets.get(&message.height()) else { return };
        let Some(index) = theirs.get(from).and_then(|v| set.index_of(&v.public_key)) else { return };
        let own = self.config.key.as_ref().and_then(|key| set.index_of(key));
        let recently = self.helped.get(&index).is_some_and(|at| self.now < at + self.repeat_interval() / 2);
        if own.is_none() || own == Some(index) || recently {
            return;
        }
        let message = Message::Decided(certificate.as_ref().clone());
        self.helped.insert(index, self.now);
        self.send(Target::One(index), message);
    }

    /// How soon something unanswered is first repeated.
    pub(crate) fn repeat_interval(&self) -> Millis {
        (self.pace.base() / 2).max(1)
    }

    /// How soon something that failed here is tried again.
    pub(crate) fn retry_after(&self) -> Millis {
        (self.config.params.round_timeout_ms / 8).clamp(10, 500)
    }

    /// The highest height a peer has spoken of.
    #[must_use]
    pub const fn seen_height(&self) -> Height {
        self.seen_height
    }
}
