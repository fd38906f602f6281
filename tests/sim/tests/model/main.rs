//! An exhaustive check of the BFT core's rules: every state of a small model is visited (stateright). The model and what it
//! leaves out: [`protocol`]. The invariants bear the names of the simulator's oracles.
//!
//! CI visits two heights, of two rounds and of one, with each of the four validators as the first proposer: 1.2 million states.
//! `BASALT_MODEL_ROUNDS=2,2` visits another space (`make soak`); one height of three rounds (`3,0`) has 15 million states for
//! one order of proposers, and takes a minute or two.

mod protocol;

use protocol::{Action, Rules, State};
use stateright::{Checker, HasDiscoveries, Model, Property};

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(state, self.rounds, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.apply(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| state.agreement()),
            Property::always("no equivocation", |_, state: &State| state.no_equivocation()),
            Property::always("no committed transaction lost", |rules: &Self, state: &State| state.nothing_lost(rules)),
            Property::always("no deadlock", |rules: &Self, state: &State| state.can_end(rules)),
            // Without these the model might be sound because nothing ever happens in it.
            Property::sometimes("all is decided", |rules: &Self, state: &State| state.done(rules)),
            Property::sometimes("a block is decided above round 0", |_, state: &State| {
                state.decided.iter().flatten().flatten().any(|value| *value >= 2)
            }),
        ]
    }
}

const SOUND: Rules =
    Rules { heights: 2, rounds: [2, 1], quorum: 3, lock: true, guarded: true, justified: true, offset: 0 };

/// Rounds of the first and the second height; 0: there is none.
fn spaces() -> Vec<[u8; 2]> {
    let Ok(given) = std::env::var("BASALT_MODEL_ROUNDS") else { return vec![[2, 1]] };
    let numbers: Vec<u8> = given.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let fits = |n: &u8| usize::from(*n) + 3 <= protocol::ROOM;
    match numbers[..] {
        [first, second] if first > 0 && numbers.iter().all(fits) => vec![[first, second]],
        _ => panic!("BASALT_MODEL_ROUNDS must be two numbers below {}, such as 2,2", protocol::ROOM - 2),
    }
}

#[test]
fn every_state_of_the_model_is_sound() {
    for rounds in spaces() {
        let mut states = 0;
        for offset in 0..4 {
            let rules = Rules { offset, rounds, heights: 1 + u8::from(rounds[1] > 0), ..SOUND };
            let checker = rules.checker().threads(2).spawn_bfs().join();
            assert!(checker.is_done(), "the whole space is visited");
            checker.assert_properties();
            states += checker.unique_state_count();
        }
        println!("rounds {rounds:?}: {states} states");
        assert!(states > 1_000, "{states} states are no space to speak of");
    }
}

/// A check that finds nothing in a broken model would prove nothing about a sound one.
#[test]
fn broken_models_are_found_out() {
    let cases = [
        ("no lock after prepare", Rules { lock: false, ..SOUND }, "agreement"),
        ("a quorum one too small", Rules { quorum: 2, ..SOUND }, "agreement"),
        ("justifications unchecked", Rules { justified: false, ..SOUND }, "agreement"),
        ("round 0 used again after a restart", Rules { guarded: false, ..SOUND }, "no equivocation"),
    ];
    for (what, rules, property) in cases {
        let found = (0..4).any(|offset| {
            let rules = Rules { offset, heights: 1, rounds: [2, 0], ..rules };
            let enough = HasDiscoveries::AnyOf([property].into());
            let checker = rules.checker().finish_when(enough).spawn_bfs().join();
            let found = checker.discovery(property).is_some();
            println!("{what}, offset {offset}: {property} broken: {found}, {} states", checker.unique_state_count());
            found
        });
        assert!(found, "{what}: {property} should not hold");
    }
}
