//! Every field is bound: changing any one of them changes the hash.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_primitives::{
    CommitCertificate, HashFn, Header, Height, Receipt, Round, Seal, Signature, ValidatorSet,
    tx::{NativeTx, SecurityLevel},
};

use crate::samples;

const ALL: [HashFn; 3] = [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3];

/// Applies each change to a fresh value and asserts that all hashes, with the unchanged one, differ.
fn all_differ<T: Clone>(value: &T, changes: &[fn(&mut T)], hash: impl Fn(&T) -> B256) {
    let mut hashes = BTreeSet::from([hash(value)]);
    for (i, change) in changes.iter().enumerate() {
        let mut changed = value.clone();
        change(&mut changed);
        assert!(hashes.insert(hash(&changed)), "change {i} does not change the hash");
    }
}

#[test]
fn header_hash_binds_every_field() {
    let changes: &[fn(&mut Header)] = &[
        |h| h.version += 1,
        |h| h.chain_id += 1,
        |h| h.height = h.height.next(),
        |h| h.timestamp_ms += 1,
        |h| h.parent_hash.0[31] ^= 1,
        |h| h.transactions_root.0[31] ^= 1,
        |h| h.parent_state_root.0[31] ^= 1,
        |h| h.parent_receipts_root.0[31] ^= 1,
        |h| h.parent_gas_used += 1,
        |h| h.gas_limit += 1,
        |h| h.base_fee += 1,
        |h| h.proposer.0[19] ^= 1,
        |h| h.first_round = h.first_round.next(),
        |h| h.next_validators_hash.0[31] ^= 1,
        |h| h.last_certificate_hash.0[31] ^= 1,
        |h| h.seal = Seal::Work { target: U256::ZERO, nonce: 0 },
        |h| h.seal = Seal::Work { target: U256::from(1), nonce: 0 },
        |h| h.seal = Seal::Work { target: U256::ZERO, nonce: 1 },
    ];
    // A field added to the header must be added here: this does not compile until it is.
    let Header {
        version: _,
        chain_id: _,
        height: _,
        timestamp_ms: _,
        parent_hash: _,
        transactions_root: _,
        parent_state_root: _,
        parent_receipts_root: _,
        parent_gas_used: _,
        gas_limit: _,
        base_fee: _,
        proposer: _,
        first_round: _,
        next_validators_hash: _,
        last_certificate_hash: _,
        seal: _,
    } = samples::header();
    for f in ALL {
        all_differ(&samples::header(), changes, |h| h.hash(f));
    }
}

#[test]
fn the_hash_function_changes_the_hash() {
    let hashes: BTreeSet<B256> = ALL.iter().map(|f| samples::header().hash(*f)).collect();
    assert_eq!(hashes.len(), ALL.len());
}

#[test]
fn native_transaction_hash_binds_every_field_and_the_signature() {
    let changes: &[fn(&mut NativeTx)] = &[
        |t| t.chain_id += 1,
        |t| t.nonce += 1,
        |t| t.valid_from = t.valid_from.next(),
        |t| t.valid_until = None,
        |t| t.valid_until = Some(Height(0)),
        |t| t.max_fee_per_gas += 1,
        |t| t.max_priority_fee_per_gas += 1,
        |t| t.gas_limit += 1,
        |t| t.to = None,
        |t| t.to = Some(Address::ZERO),
        |t| t.value += U256::from(1),
        |t| t.input = Bytes::new(),
        |t| t.level = SecurityLevel::Secret,
        |t| t.payload = None,
        |t| t.payload = Some(Bytes::new()),
    ];
    let key = samples::key(1);
    all_differ(&samples::native(), changes, |t| HashFn::Sha256.of(&t.signing_layout(&key.public_key())));
    let signed = samples::native().sign(&key);
    let mut other = signed.clone();
    other.signature = Signature([0; 64]);
    assert_ne!(signed.hash(HashFn::Sha256), other.hash(HashFn::Sha256));
    other = signed.clone();
    other.public_key = samples::key(2).public_key();
    assert_ne!(signed.hash(HashFn::Sha256), other.hash(HashFn::Sha256));
}

#[test]
fn receipt_hash_binds_every_field() {
    let changes: &[fn(&mut Receipt)] = &[
        |r| r.tx_hash.0[0] ^= 1,
        |r| r.tx_type = 4,
        |r| r.success = false,
        |r| r.gas_used += 1,
        |r| r.cumulative_gas_used += 1,
        |r| r.effective_gas_price += 1,
        |r| r.contract_address = None,
        |r| r.contract_address = Some(Address::ZERO),
        |r| r.logs.clear(),
        |r| r.logs[0].address.0[0] ^= 1,
        |r| r.logs[0].topics[1].0[0] ^= 1,
        |r| {
            r.logs[0].topics.pop();
        },
        |r| r.logs[0].data = Bytes::new(),
        |r| r.logs.push(r.logs[0].clone()),
        |r| r.revert_data = Bytes::from_static(b"no"),
    ];
    all_differ(&samples::receipt(), changes, |r| r.hash(HashFn::Sha256));
}

#[test]
fn certificate_hash_binds_every_field() {
    let cert = samples::certificate(B256::ZERO, Height(6), Round(1), B256::repeat_byte(1), &[0, 1, 3]);
    let changes: &[fn(&mut CommitCertificate)] = &[
        |c| c.height = c.height.next(),
        |c| c.round = c.round.next(),
        |c| c.block_hash.0[0] ^= 1,
        |c| {
            c.signatures.pop();
        },
        |c| c.signatures[2].validator = 2,
        |c| c.signatures[0].signature.0[63] ^= 1,
        |c| c.signatures.swap(0, 1),
    ];
    all_differ(&cert, changes, |c| c.hash(HashFn::Sha256));
}

#[test]
fn validator_set_hash_binds_keys_powers_and_order() {
    let base = samples::set(4);
    let mut hashes = BTreeSet::from([base.hash(HashFn::Sha256), samples::set(3).hash(HashFn::Sha256)]);
    let mut v = base.as_slice().to_vec();
    v[0].power = 2;
    assert!(hashes.insert(ValidatorSet::new(v).unwrap().hash(HashFn::Sha256)));
    let mut v = base.as_slice().to_vec();
    v.swap(0, 1);
    assert!(hashes.insert(ValidatorSet::new(v).unwrap().hash(HashFn::Sha256)));
    let mut v = base.as_slice().to_vec();
    v[3].public_key = samples::key(9).public_key();
    assert!(hashes.insert(ValidatorSet::new(v).unwrap().hash(HashFn::Sha256)));
}
