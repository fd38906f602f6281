//! Random histories: whatever is proposed, approved, withdrawn and said, the set read from storage is the view's, the log of
//! changes leads to it, no two validators share a key, and it never loses its quorum of those that take part.

use basalt_primitives::{Height, PublicKey, SecretKey, system::calls};
use proptest::prelude::*;

use crate::chain::{Chain, hash, public};

#[derive(Clone, Copy, Debug)]
enum Act {
    Add(u8, u8),
    Remove(u8, u8),
    Replace(u8, u8, u8),
    Approve(u8, u8),
    Withdraw(u8, u8),
    Ready(u8),
    Signers(u16),
    Nothing,
}

const KEYS: u8 = 9;

fn act() -> impl Strategy<Value = Act> {
    let k = || 1..=KEYS;
    prop_oneof![
        2 => (k(), k()).prop_map(|(f, a)| Act::Add(f, a)),
        2 => (k(), k()).prop_map(|(f, a)| Act::Remove(f, a)),
        2 => (k(), k(), k()).prop_map(|(f, a, b)| Act::Replace(f, a, b)),
        12 => (k(), 1u8..12).prop_map(|(f, id)| Act::Approve(f, id)),
        1 => (k(), 1u8..12).prop_map(|(f, id)| Act::Withdraw(f, id)),
        4 => k().prop_map(Act::Ready),
        1 => any::<u16>().prop_map(Act::Signers),
        1 => Just(Act::Nothing),
    ]
}

fn run(c: &mut Chain, act: Act) {
    let call = match act {
        Act::Add(from, key) => (from, calls::propose_add(&public(key), "x")),
        Act::Remove(from, key) => (from, calls::propose_remove(&public(key))),
        Act::Replace(from, old, new) => (from, calls::propose_replace(&public(old), &public(new))),
        Act::Approve(from, id) => (from, calls::approve(id.into())),
        Act::Withdraw(from, id) => (from, calls::withdraw(id.into())),
        Act::Ready(from) => (from, calls::ready(Height(c.height), hash(c.height))),
        Act::Signers(bits) => {
            c.signers = (0..4).filter(|i| bits >> i & 1 == 1).collect();
            return;
        }
        Act::Nothing => return c.blocks(1),
    };
    // Most of them revert; what counts is what stays.
    c.block(&[call]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
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
