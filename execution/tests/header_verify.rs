//! The precompile that verifies a header of a Basalt chain with its commit certificate.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::{CallEnd, CallOutcome, CallRequest};
use basalt_primitives::{
    CommitCertificate, CommitSignature, HashFn, Header, Height, Round, Seal, Validator, ValidatorSet,
    chainspec::EvmFork,
    header::HEADER_VERSION,
    system::{ED25519_VERIFY_GAS, HEADER_VERIFY, HEADER_VERIFY_GAS, HEADER_VERIFY_WORD_GAS, header_proof::HeaderProof},
    validators::{VoteKind, vote_bytes},
};
use common::*;
use proptest::prelude::*;

const GENESIS: B256 = B256::repeat_byte(0x47);

fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        chain_id: CHAIN,
        height: Height(7),
        timestamp_ms: 1_700_000_000_123,
        parent_hash: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        parent_state_root: B256::repeat_byte(3),
        parent_receipts_root: B256::repeat_byte(4),
        parent_gas_used: 21_000,
        gas_limit: 30_000_000,
        base_fee: 1_000_000_000,
        proposer: Address::repeat_byte(5),
        first_round: Round(2),
        next_validators_hash: B256::repeat_byte(6),
        last_certificate_hash: B256::repeat_byte(7),
        seal: Seal::None,
    }
}

/// A proof by `signers` of `n` validators.
fn proof(hash_fn: HashFn, n: u8, signers: &[u16]) -> HeaderProof {
    let one = |i| Validator { public_key: native_key(i).public_key(), power: 1 };
    let set = ValidatorSet::new((1..=n).map(one).collect()).unwrap();
    let (header, round) = (header(), Round(3));
    let block_hash = header.hash(hash_fn);
    let bytes = vote_bytes(GENESIS, VoteKind::Commit, header.height, round, block_hash);
    let sign = |i: &u16| {
        let signature = native_key(u8::try_from(*i).unwrap() + 1).sign(bytes.as_slice());
        CommitSignature { validator: *i, signature }
    };
    let signatures = signers.iter().map(sign).collect();
    let certificate = CommitCertificate { height: header.height, round, block_hash, signatures };
    HeaderProof::new(hash_fn, GENESIS, header, set, &certificate)
}

fn ask_with(gas: u64, input: &[u8]) -> CallOutcome {
    let chain = chain(EvmFork::Osaka, BTreeMap::new());
    let input = Bytes::copy_from_slice(input);
    let request = CallRequest { to: Some(HEADER_VERIFY), gas: Some(gas), input, ..CallRequest::default() };
    chain.executor.call(&env(0), &request, &chain.state, &Default::default()).unwrap()
}

fn ask(input: &[u8]) -> Bytes {
    let outcome = ask_with(20_000_000, input);
    assert_eq!(outcome.end, CallEnd::Success);
    outcome.output
}

#[test]
fn a_header_with_a_quorum_is_proven_under_every_hash_function() {
    for hash_fn in [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3] {
        let proof = proof(hash_fn, 4, &[0, 1, 3]);
        let answer = ask(&proof.encode());
        let word = |i: usize| B256::from_slice(&answer[32 * i..32 * (i + 1)]);
        assert_eq!(answer.len(), 14 * 32);
        assert_eq!((word(0), word(1)), (proof.header.hash(hash_fn), proof.set.hash(hash_fn)));
        assert_eq!((word(2), word(3)), (B256::from(U256::from(CHAIN)), B256::with_last_byte(7)));
        assert_eq!((word(4), word(5)), (B256::from(U256::from(1_700_000_000_123u64)), B256::repeat_byte(1)));
        assert_eq!((word(6), word(7), word(8)), (B256::repeat_byte(2), B256::repeat_byte(3), B256::repeat_byte(4)));
        assert_eq!((word(12), word(13)), (Address::repeat_byte(5).into_word(), B256::repeat_byte(6)));
        assert_eq!(HeaderProof::decode(&proof.encode()), Some(proof));
    }
}

/// The format is for ever: contracts rely on it.
#[test]
fn the_format_is_the_golden_one() {
    let input = proof(HashFn::Sha256, 4, &[0, 1, 3]).encode();
    let ours = format!("input  {}\noutput {}\n", hex::encode(&input), hex::encode(ask(&input)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/header_verify.txt");
    if std::env::var_os("BASALT_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &ours).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), ours);
}

#[test]
fn every_field_tampered_with_proves_nothing() {
    let good = proof(HashFn::Sha256, 4, &[0, 1, 3]);
    let tampered: &[fn(&mut HeaderProof)] = &[
        |p| p.hash_fn = HashFn::Keccak256,
        |p| p.genesis.0[0] ^= 1,
        |p| p.round = p.round.next(),
        |p| p.header.version += 1,
        |p| p.header.chain_id += 1,
        |p| p.header.height = p.header.height.next(),
        |p| p.header.timestamp_ms += 1,
        |p| p.header.parent_hash.0[31] ^= 1,
        |p| p.header.transactions_root.0[31] ^= 1,
        |p| p.header.parent_state_root.0[31] ^= 1,
        |p| p.header.parent_receipts_root.0[31] ^= 1,
        |p| p.header.parent_gas_used += 1,
        |p| p.header.gas_limit += 1,
        |p| p.header.base_fee += 1,
        |p| p.header.proposer.0[19] ^= 1,
        |p| p.header.first_round = p.header.first_round.next(),
        |p| p.header.next_validators_hash.0[31] ^= 1,
        |p| p.header.last_certificate_hash.0[31] ^= 1,
        |p| p.header.seal = Seal::Work { target: U256::MAX, nonce: 0 },
        |p| p.signatures[0].signature.0[5] ^= 1,
        |p| p.signatures[1].validator = 2,
        |p| p.signatures[2].validator = 4,
        |p| p.signatures.swap(0, 1),
        |p| p.signatures.truncate(2),
        |p| p.signatures[1] = p.signatures[0],
        |p| p.signatures.clear(),
    ];
    for (i, tamper) in tampered.iter().enumerate() {
        let mut bad = good.clone();
        tamper(&mut bad);
        assert!(ask(&bad.encode()).is_empty(), "change {i}");
    }
    // Another set: its signatures may verify, and its hash tells.
    let mut powers = good.set.as_slice().to_vec();
    powers[2].power = 2;
    let other = HeaderProof { set: ValidatorSet::new(powers).unwrap(), ..good.clone() };
    assert!(ask(&other.encode()).is_empty(), "three of five are no quorum");
    let mut powers = good.set.as_slice().to_vec();
    powers[1].power = 2;
    let other = HeaderProof { set: ValidatorSet::new(powers).unwrap(), ..good.clone() };
    let answer = ask(&other.encode());
    assert_ne!(answer[32..64], good.set.hash(HashFn::Sha256).0);
}

#[test]
fn what_is_not_exactly_a_proof_is_none_and_gas_is_bounded() {
    let good = proof(HashFn::Sha256, 4, &[0, 1, 2, 3]);
    let input = good.encode();
    for cut in 0..input.len() {
        assert_eq!(HeaderProof::decode(&input[..cut]), None, "cut at {cut}");
    }
    assert_eq!(HeaderProof::decode(&[&input[..], &[0]].concat()), None);
    assert!(ask(&[]).is_empty());
    let gas = |input: &[u8]| HEADER_VERIFY_GAS + HEADER_VERIFY_WORD_GAS * input.len().div_ceil(32) as u64;
    let zeros = input.iter().filter(|b| **b == 0).count() as u64;
    let intrinsic = 21_000 + 16 * (input.len() as u64 - zeros) + 4 * zeros;
    let needed = intrinsic + gas(&input) + 4 * ED25519_VERIFY_GAS;
    let enough = ask_with(needed.max(intrinsic * 4), &input);
    assert!(!enough.output.is_empty());
    assert_eq!(enough.gas_used, needed);
    // One gas less than the signatures cost: out of gas, before one is checked.
    assert!(matches!(ask_with(needed - 1, &input).end, CallEnd::Halt(_)));
    let largest = (gas(&vec![0; 30_000]) + 256 * ED25519_VERIFY_GAS, 1 << 24);
    assert!(largest.0 < largest.1 / 8, "a proof by the largest set fits a transaction many times");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic_and_what_decodes_encodes_the_same(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut input = proof(HashFn::Sha256, 3, &[0, 1, 2]).encode();
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if let Some(proof) = HeaderProof::decode(&input) {
            prop_assert_eq!(proof.encode(), input);
        }
    }
}
