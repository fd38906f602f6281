//! What is hashed by miners, byte for byte: `tests/golden/seal.txt`. To change it is to change every chain.

use std::fmt::Write;

use basalt_primitives::{Address, B256, HashFn, Header, Height, Round, Seal, U256, WorkHash, header::HEADER_VERSION};

fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        chain_id: 7,
        height: Height(42),
        timestamp_ms: 1_700_000_000_123,
        parent_hash: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        parent_state_root: B256::repeat_byte(3),
        parent_receipts_root: B256::repeat_byte(4),
        parent_gas_used: 21_000,
        gas_limit: 30_000_000,
        base_fee: 7,
        proposer: Address::repeat_byte(5),
        first_round: Round::ZERO,
        next_validators_hash: B256::ZERO,
        last_certificate_hash: B256::ZERO,
        seal: Seal::Work { target: U256::MAX >> 12, nonce: 77 },
    }
}

#[test]
fn sealing_hashes_and_work_numbers() {
    let header = header();
    let mut found = String::new();
    for hash_fn in [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3] {
        let sealing = header.sealing_hash(hash_fn).expect("it carries a target");
        let _ = writeln!(found, "{} block {}", hash_fn.name(), header.hash(hash_fn));
        let _ = writeln!(found, "{} sealing {sealing}", hash_fn.name());
        for work_hash in WorkHash::ALL {
            let number = work_hash.number(sealing, 77);
            let _ = writeln!(found, "{} {work_hash:?} {number:#066x}", hash_fn.name());
        }
    }
    if std::env::var_os("BASALT_UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/seal.txt");
        std::fs::write(path, &found).expect("written");
    }
    assert_eq!(found, include_str!("golden/seal.txt"), "what miners hash has changed");
}

#[test]
fn the_sealing_hash_covers_everything_but_the_nonce() {
    let base = header();
    let sealing = |h: &Header| h.sealing_hash(HashFn::Sha256).expect("it carries a target");
    let other = |change: fn(&mut Header)| {
        let mut h = header();
        change(&mut h);
        sealing(&h)
    };
    let Seal::Work { target, .. } = base.seal else { panic!("it is sealed") };
    assert_eq!(sealing(&Header { seal: Seal::Work { target, nonce: 1 }, ..base.clone() }), sealing(&base));
    let changes: [fn(&mut Header); 15] = [
        |h| h.version += 1,
        |h| h.chain_id += 1,
        |h| h.height = h.height.next(),
        |h| h.timestamp_ms += 1,
        |h| h.parent_hash.0[31] ^= 1,
        |h| h.transactions_root.0[0] ^= 1,
        |h| h.parent_state_root.0[9] ^= 1,
        |h| h.parent_receipts_root.0[9] ^= 1,
        |h| h.parent_gas_used += 1,
        |h| h.gas_limit += 1,
        |h| h.base_fee += 1,
        |h| h.proposer.0.0[0] ^= 1,
        |h| h.first_round = h.first_round.next(),
        |h| (h.next_validators_hash.0[0], h.last_certificate_hash.0[0]) = (1, 1),
        |h| h.seal = Seal::Work { target: U256::MAX >> 13, nonce: 77 },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert_ne!(other(change), sealing(&base), "change {n}");
    }
    assert_eq!(Header { seal: Seal::None, ..base }.sealing_hash(HashFn::Sha256), None);
}
