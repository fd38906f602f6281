//! Chains of proof of work: their specification, its hash, their headers.

use alloy_primitives::U256;
use basalt_primitives::{ChainSpec, HashFn, Header, PowParams, Seal, ValidatorSet, WorkHash, chainspec::Consensus};

use crate::{chainspec, samples};

fn params() -> PowParams {
    PowParams {
        work_hash: WorkHash::Sha256d,
        block_interval_ms: 10_000,
        half_life_ms: 3_600_000,
        initial_target: U256::MAX >> 20,
        max_target: U256::MAX >> 8,
        future_drift_ms: 15_000,
        finality_depth: 64,
        safe_depth: 12,
        block_reward: U256::from(2_000_000_000_000_000_000u64),
    }
}

fn spec() -> ChainSpec {
    ChainSpec { consensus: Consensus::Pow(params()), validators: Vec::new(), ..chainspec::spec() }
}

/// Hashed into every chain of this family: a change here is another chain.
#[test]
fn golden_hashes() {
    let sealed = Header { seal: Seal::Work { target: U256::MAX >> 20, nonce: 7 }, ..samples::header() };
    let sealing = sealed.sealing_hash(HashFn::Sha256).expect("it has a target");
    let hashes = [spec().hash(), spec().genesis_block().hash(), sealed.hash(HashFn::Sha256), sealing];
    let golden = [
        "0x792156c98a065be8767c5f2e9d01eee678480a7ea0d1e1ecc16c0c8342888429",
        "0xaaf19dfcbd8f3c6a5b375b85746be65d1fd4860b7ab395cdc6e86df397bd45d6",
        "0xa2a985d2897f1764b1b6f68b1ae5d482ea729e01d99b4c9fd53326bc8e96fec4",
        "0x06a4a32907d5a0380b2f09cdfb8d17886a3e05a2f36f8e384aa0807c37558408",
    ];
    assert_eq!(hashes.map(|h| h.to_string()), golden);
}

#[test]
fn every_parameter_is_part_of_the_hash_and_of_the_json() {
    type Change = fn(&mut PowParams);
    let changes: [Change; 9] = [
        |p| p.work_hash = WorkHash::Blake3,
        |p| p.block_interval_ms += 1,
        |p| p.half_life_ms += 1,
        |p| p.initial_target -= U256::ONE,
        |p| p.max_target -= U256::ONE,
        |p| p.future_drift_ms += 1,
        |p| p.finality_depth += 1,
        |p| p.safe_depth += 1,
        |p| p.block_reward += U256::ONE,
    ];
    let mut hashes = std::collections::BTreeSet::from([spec().hash()]);
    for change in changes {
        let mut p = params();
        change(&mut p);
        let changed = ChainSpec { consensus: Consensus::Pow(p), ..spec() };
        assert!(hashes.insert(changed.hash()));
        assert_eq!(ChainSpec::from_json(&changed.to_json()).expect("sound"), changed);
    }
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let refused = |s: ChainSpec, field: &str| {
        let text = s.check().expect_err(field).to_string();
        assert!(text.contains(field), "{text}");
    };
    refused(ChainSpec { validators: chainspec::spec().validators, ..spec() }, "`validators`: must be empty");
    let spoilt = PowParams { half_life_ms: 1, ..params() };
    refused(ChainSpec { consensus: Consensus::Pow(spoilt), ..spec() }, "`consensus.halfLifeMs`: must be between 8");
    refused(ChainSpec { validators: Vec::new(), ..chainspec::spec() }, "at least one validator");
    let unknown = spec().to_json().replacen("\"halfLifeMs\"", "\"surprise\": 1, \"halfLifeMs\"", 1);
    assert!(ChainSpec::from_json(&unknown).expect_err("unknown key").to_string().contains("surprise"));
}

#[test]
fn nobody_votes() {
    let s = spec().with_system_contracts();
    s.check_system_contracts().expect("none is needed");
    assert_eq!(s.alloc, spec().alloc);
    assert_eq!(s.genesis_block().header().next_validators_hash, ValidatorSet::none().hash(s.hash_fn));
    assert_eq!(s.validator_set().expect("none").len(), 0);
    assert!(s.pow().is_some() && s.engine() == "pow" && chainspec::spec().pow().is_none());
}
