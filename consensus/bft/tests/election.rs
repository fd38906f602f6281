//! The skip list: who proposes is a function of the headers, and keeps its promises whatever these say.

use std::sync::Arc;

use basalt_bft::{
    election::{self, Absences, PERIOD, Turns, history_from},
    sim::BftLab,
};
use basalt_consensus::{Past, sim::Lab};
use basalt_primitives::{Height, Round, ValidatorSet};
use proptest::prelude::*;

/// A chain of headers: each height is decided by the first in its order that is there.
struct Chain {
    set: Arc<ValidatorSet>,
    turns: Turns,
    past: Vec<Past>,
}

impl Chain {
    fn new(n: usize) -> Self {
        let set = BftLab::equal(n).set().clone();
        Self { set, turns: Turns::restored(Height(0), &[]), past: Vec::new() }
    }

    fn height(&self) -> Height {
        Height(self.past.len() as u64 + 1)
    }

    fn absences(&self) -> &Absences {
        self.turns.at(self.height()).expect("the height being agreed on")
    }

    fn order(&self) -> Vec<u16> {
        let rounds = 0..self.set.len() as u32;
        rounds.map(|r| election::proposer(&self.set, self.absences(), self.height(), Round(r))).collect()
    }

    fn skipped(&self) -> Vec<u16> {
        self.absences().skipped(&self.set, self.height())
    }

    fn decide(&mut self, first_round: u32) {
        let (height, first_round) = (self.height(), Round(first_round));
        self.past.push(Past { height, first_round, set: self.set.clone() });
        self.turns.decided(&self.set, first_round);
    }

    /// The next height when these validators are away; gives back the round and its proposer.
    fn decide_without(&mut self, away: &[u16]) -> (usize, u16) {
        let order = self.order();
        let round = order.iter().position(|v| !away.contains(v)).expect("somebody is there");
        self.decide(round as u32);
        (round, order[round])
    }
}

#[test]
fn while_nobody_is_absent_all_take_turns() {
    let mut chain = Chain::new(4);
    let proposers: Vec<u16> = (0..8).map(|_| chain.decide_without(&[]).1).collect();
    assert_eq!(proposers, [1, 2, 3, 0, 1, 2, 3, 0]);
}

#[test]
fn a_dead_validator_costs_fewer_and_fewer_heights() {
    for (n, most) in [(4, 10), (7, 9), (31, 6), (100, 4)] {
        let mut chain = Chain::new(n);
        let slow = (1..PERIOD).filter(|_| chain.decide_without(&[2]).0 > 0).count();
        let without_list = PERIOD as usize / n;
        assert!(slow <= most && slow * 2 <= without_list, "n = {n}: {slow} of {PERIOD} heights were slow");
    }
}

#[test]
fn one_missed_turn_skips_nobody_and_a_second_skips_one_turn() {
    let mut chain = Chain::new(4);
    let round_zero = |heights: u64, chain: &mut Chain| -> Vec<u16> {
        (0..heights).map(|_| (chain.order()[0], chain.decide_without(&[2])).0).collect()
    };
    assert_eq!(round_zero(4, &mut chain), [1, 2, 3, 0]);
    assert_eq!(round_zero(4, &mut chain), [1, 2, 3, 0], "one strike");
    assert_eq!(round_zero(4, &mut chain), [1, 3, 3, 0], "two strikes: a turn");
    assert_eq!(round_zero(4, &mut chain), [1, 2, 3, 0]);
    assert_eq!(round_zero(12, &mut chain), [1, 3, 3, 0, 1, 3, 3, 0, 1, 2, 3, 0], "three: two turns");
}

#[test]
fn a_proposal_clears_its_proposer() {
    let mut chain = Chain::new(4);
    for _ in 0..8 {
        chain.decide_without(&[2]);
    }
    assert_eq!((0..4).map(|_| chain.decide_without(&[]).1).collect::<Vec<_>>(), [1, 3, 3, 0], "skipped once");
    assert_eq!((0..4).map(|_| chain.decide_without(&[]).1).collect::<Vec<_>>(), [1, 2, 3, 0]);
    assert_eq!((0..4).map(|_| chain.decide_without(&[2]).1).collect::<Vec<_>>(), [1, 3, 3, 0], "a first strike");
    assert_eq!((0..4).map(|_| chain.decide_without(&[2]).0).collect::<Vec<_>>(), [0, 1, 0, 0], "which skips nobody");
}

#[test]
fn when_more_than_f_fail_at_once_nobody_is_struck() {
    let mut chain = Chain::new(4);
    for _ in 0..100 {
        chain.decide(2);
        assert_eq!(chain.skipped(), [0u16; 0]);
    }
    let mut few = Chain::new(3);
    for _ in 0..100 {
        few.decide_without(&[2]);
    }
    assert_eq!(few.skipped(), [0u16; 0], "f = 0");
}

#[test]
fn no_more_headers_are_asked_for_than_a_period() {
    for (head, from) in [(0, 1), (1, 1), (500, 1), (1022, 1), (1023, 1023), (1024, 1024), (1030, 1024), (2047, 2047)] {
        assert_eq!(history_from(Height(head)), Height(from), "head {head}");
    }
}

/// The longest run of heights decided by proposals of the coalition, once the network is well: it may let its own turns
/// pass, and honest validators never do.
fn longest_censorship(n: usize, coalition: &[u16], storm: &[u8], lazy: &[bool]) -> usize {
    let mut chain = Chain::new(n);
    storm.iter().for_each(|r| chain.decide(u32::from(*r)));
    let (mut run, mut longest) = (0, 0);
    for lazy in lazy {
        let away = if *lazy { coalition } else { &[] };
        let (_, proposer) = chain.decide_without(away);
        run = if coalition.contains(&proposer) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[test]
fn censoring_proposers_keep_a_transaction_out_for_f_heights_and_for_2f_with_a_full_skip_list() {
    let patient = [false; 200];
    for (n, f) in [(4, 1), (7, 2), (10, 3)] {
        let last: Vec<u16> = (n as u16 - f as u16..n as u16).collect();
        assert_eq!(longest_censorship(n, &last, &[], &patient), f, "nobody is skipped");
        // The f honest validators before the coalition were cut off for some turns; then the network was well.
        let cut: Vec<u16> = (n as u16 - 2 * f as u16..n as u16 - f as u16).collect();
        let mut chain = Chain::new(n);
        let storm: Vec<u8> = (0..20 * n).map(|_| chain.decide_without(&cut).0 as u8).collect();
        let worst = (0..storm.len()).map(|end| longest_censorship(n, &last, &storm[..end], &patient)).max();
        assert_eq!(worst, Some(2 * f), "the worst case, n = {n}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_headers_say(
        n in 1usize..12,
        rounds in prop::collection::vec(prop_oneof![3 => Just(0u32), 2 => 1u32..4, 1 => 0u32..30], 0..400),
    ) {
        let mut chain = Chain::new(n);
        for first_round in rounds {
            let mut order = chain.order();
            let skipped = chain.skipped();
            prop_assert!(skipped.len() as u64 <= chain.set.max_faulty(), "never more than f");
            if let Some(at) = order.iter().position(|v| skipped.contains(v)) {
                prop_assert!(order[at..].iter().all(|v| skipped.contains(v)), "the skipped come last");
            }
            order.sort_unstable();
            prop_assert_eq!(order, (0..n as u16).collect::<Vec<_>>(), "everyone has its turn within n rounds");
            chain.decide(first_round);
        }
    }

    #[test]
    fn a_restarted_node_elects_as_one_that_never_stopped(
        n in 4usize..8,
        absent in prop::collection::vec(0u32..3, 64..128),
        stop in 1usize..2300,
    ) {
        let mut chain = Chain::new(n);
        for height in 0..stop + 70 {
            chain.decide(absent[(height * height / 7) % absent.len()] / 2);
            let head = Height(height as u64 + 1);
            if height == stop || height > stop && head.0 % PERIOD < 3 || head.0 % PERIOD == PERIOD - 1 {
                let past = &chain.past[history_from(head).0 as usize - 1..];
                let restored = Turns::restored(head, past);
                for above in [1, 2] {
                    let height = Height(head.0 + above);
                    prop_assert_eq!(restored.at(height), chain.turns.at(height));
                }
            }
        }
    }

    #[test]
    fn no_coalition_of_f_keeps_a_transaction_out_for_more_than_2f_heights(
        f in 1usize..4,
        seats in any::<prop::sample::Index>(),
        stride in 1usize..4,
        storm in prop::collection::vec(0u8..4, 0..300),
        lazy in prop::collection::vec(prop::bool::weighted(0.3), 100..300),
    ) {
        let n = 3 * f + 1;
        let first = seats.index(n);
        let mut coalition: Vec<u16> = (0..f).map(|i| ((first + i * stride) % n) as u16).collect();
        coalition.dedup();
        prop_assert!(longest_censorship(n, &coalition, &storm, &lazy) <= 2 * f);
    }
}
