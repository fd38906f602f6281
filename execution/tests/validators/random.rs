//! Random histories: whatever is proposed, approved, withdrawn and said, the set read from storage is the view's, the log of
//! changes leads to it, no two validators share a key, and every new set has a quorum of those that take part.

use alloy_primitives::Bytes;
use basalt_primitives::{
    Height, PublicKey, SecretKey,
    system::{calls, validators},
};
use proptest::prelude::*;

use crate::chain::{Chain, hash, public};

#[derive(Clone, Copy, Debug)]
enum Act {
    /// One of the present validators proposes to add, remove or replace.
    Add(u8, u8),
    Remove(u8, u8),
    Replace(u8, u8, u8),
    /// Those of the mask approve an open proposal.
    Approve(u16, u8),
    Withdraw(u8, u8),
    /// Those of the mask say that they are ready.
    Ready(u16),
    /// Those of the mask sign from now on.
    Signers(u16),
}

/// Keys that exist, and so the largest set there can be.
const KEYS: u8 = 9;

fn act() -> impl Strategy<Value = Act> {
    let k = || 1..=KEYS;
    // Most of the time most are there.
    let mask = || prop_oneof![3 => Just(u16::MAX), 2 => any::<u16>()];
    prop_oneof![
        3 => (k(), k()).prop_map(|(f, a)| Act::Add(f, a)),
        2 => (k(), k()).prop_map(|(f, a)| Act::Remove(f, a)),
        2 => (k(), k(), k()).prop_map(|(f, a, b)| Act::Replace(f, a, b)),
        6 => (mask(), any::<u8>()).prop_map(|(m, id)| Act::Approve(m, id)),
        1 => (k(), any::<u8>()).prop_map(|(f, id)| Act::Withdraw(f, id)),
        4 => mask().prop_map(Act::Ready),
        1 => mask().prop_map(Act::Signers),
    ]
}

/// Numbers of the present validators' keys.
fn present(c: &Chain) -> Vec<u8> {
    let keys = c.keys();
    keys.iter().map(|k| (1..=KEYS).find(|n| public(*n) == *k).unwrap()).collect()
}

fn masked(mask: u16) -> impl Iterator<Item = u8> {
    (1..=KEYS).filter(move |n| mask >> n & 1 == 1)
}

fn run(c: &mut Chain, act: Act) {
    let present = present(c);
    let one = |n: u8| present[usize::from(n) % present.len()];
    let open = validators::open_ids(|s| c.slot(s)).unwrap();
    let some = |n: u8| open.get(usize::from(n) % open.len().max(1)).copied().unwrap_or(1);
    // Some of them revert; what counts is what stays.
    let calls: Vec<(u8, Bytes)> = match act {
        Act::Add(from, key) => vec![(one(from), calls::propose_add(&public(key), "x"))],
        Act::Remove(from, key) => vec![(one(from), calls::propose_remove(&public(one(key))))],
        Act::Replace(from, old, new) => vec![(one(from), calls::propose_replace(&public(one(old)), &public(new)))],
        Act::Approve(mask, id) => masked(mask).map(|from| (from, calls::approve(some(id)))).collect(),
        Act::Withdraw(from, id) => vec![(one(from), calls::withdraw(some(id)))],
        Act::Ready(mask) => masked(mask).map(|from| (from, calls::ready(Height(c.height), hash(c.height)))).collect(),
        Act::Signers(mask) => {
            c.signers = (0..u16::from(KEYS)).filter(|i| mask >> i & 1 == 1).collect();
            return;
        }
    };
    c.block(&calls);
}

/// Those of the newest set that have signed lately, or said lately that they are ready.
fn alive(c: &Chain, keys: &[PublicKey]) -> Vec<PublicKey> {
    let signed = basalt_execution::system::recent_signers(c.executor.spec(), Height(c.height), &c.state).unwrap();
    let ready = |k: &PublicKey| {
        let at = validators::ready_at(|s| c.slot(s), k.address()).unwrap();
        at.is_some_and(|at| at.0 + validators::READY_BLOCKS >= c.height)
    };
    keys.iter().filter(|k| signed.contains(k) || ready(k)).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn the_set_is_sound_after_any_history(acts in proptest::collection::vec(act(), 1..80)) {
        let mut c = Chain::new(4);
        let mut before = c.keys();
        for act in acts {
            run(&mut c, act);
            let keys = c.keys();
            let distinct: std::collections::BTreeSet<&PublicKey> = keys.iter().collect();
            prop_assert_eq!(distinct.len(), keys.len());
            prop_assert!(!keys.is_empty());
            prop_assert!(keys.len().abs_diff(before.len()) <= 1, "one change a block");
            if keys != before {
                let alive = alive(&c, &keys);
                let quorum = (keys.len() + (keys.len() - 1) / 3) / 2 + 1;
                prop_assert!(alive.len() >= quorum, "{alive:?} of {keys:?}");
                prop_assert!(keys.iter().filter(|k| !before.contains(k)).all(|k| alive.contains(k)), "newcomers are there");
            }
            before = keys;
        }
        let open = basalt_primitives::system::validators::open_ids(|s| c.slot(s)).unwrap();
        prop_assert!(open.len() <= 32);
    }

    /// The contract's address of a key is ours.
    #[test]
    fn accounts_are_derived_alike(seed in any::<[u8; 32]>()) {
        let key = SecretKey::from_bytes(&seed).public_key();
        let c = Chain::new(1);
        let answer = c.view("accountOf(bytes32)", &[alloy_primitives::U256::from_be_bytes(key.0)]);
        prop_assert_eq!(answer[12..].to_vec(), key.address().to_vec());
    }
}
