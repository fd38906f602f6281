//! The chain specification: its JSON, its ranges, its hash.

use std::collections::BTreeSet;

use alloy_eips::eip1559::BaseFeeParams;
use alloy_primitives::{Address, B256, U256};
use basalt_primitives::{
    ChainSpec, HashFn, Height, Validator,
    chainspec::{BftParams, Consensus, DevParams, EvmFork, Fees, GenesisAccount, GenesisValidator},
};

use crate::samples;

pub fn spec() -> ChainSpec {
    let validator = |i: u8| GenesisValidator {
        name: format!("validator-{i}"),
        validator: Validator { public_key: samples::key(i).public_key(), power: 1 },
    };
    let contract = GenesisAccount {
        balance: U256::from(7),
        nonce: 1,
        code: [0x60, 0x00].into(),
        storage: [(B256::ZERO, B256::with_last_byte(1))].into(),
    };
    let rich = GenesisAccount { balance: U256::from(10).pow(U256::from(24)), ..GenesisAccount::default() };
    ChainSpec {
        name: "test".into(),
        chain_id: 31337,
        genesis_time_ms: 1_700_000_000_000,
        hash_fn: HashFn::Sha256,
        development: true,
        consensus: Consensus::Pbft(BftParams {
            block_interval_ms: 500,
            round_timeout_ms: 1000,
            round_timeout_cap_ms: 10_000,
            empty_block_ms: Some(5000),
            clock_tolerance_ms: 1000,
        }),
        gas_limit: 30_000_000,
        max_block_bytes: 1 << 20,
        essential: Default::default(),
        fees: Fees::Eip1559 { initial_base_fee: 1_000_000_000, min_base_fee: 1 },
        forks: [(Height(0), EvmFork::Prague), (Height(100), EvmFork::Osaka)].into(),
        validators: (1..=4).map(validator).collect(),
        alloc: [(Address::repeat_byte(1), rich), (Address::repeat_byte(2), contract)].into(),
    }
}

fn bft(s: &mut ChainSpec) -> &mut BftParams {
    match &mut s.consensus {
        Consensus::Pbft(p) => p,
        Consensus::Dev(_) | Consensus::Pow(_) => unreachable!("the sample is pbft"),
    }
}

#[test]
fn a_development_chain_says_so_and_is_another_chain() {
    let one = |interval| ChainSpec {
        consensus: Consensus::Dev(DevParams { block_interval_ms: interval }),
        validators: spec().validators[..1].to_vec(),
        ..spec()
    };
    let (auto, slow) = (one(None), one(Some(2_000)));
    assert!(auto.is_devnet() && !spec().is_devnet());
    for s in [&auto, &slow] {
        assert_eq!(&ChainSpec::from_json(&s.to_json()).unwrap(), s);
    }
    let pbft = ChainSpec { validators: spec().validators[..1].to_vec(), ..spec() };
    assert!(auto.hash() != slow.hash() && auto.hash() != pbft.hash());
    let refused = |s: ChainSpec, field: &str| {
        let text = s.check().unwrap_err().to_string();
        assert!(text.contains(field), "{text}");
    };
    refused(ChainSpec { development: false, ..one(None) }, "development");
    refused(ChainSpec { validators: spec().validators, ..one(None) }, "exactly one");
    refused(one(Some(0)), "consensus.blockIntervalMs");
    refused(one(Some(86_400_001)), "consensus.blockIntervalMs");
}

#[test]
fn json_comes_back_the_same() {
    for fees in [Fees::Zero, spec().fees] {
        for empty_block_ms in [None, Some(0), Some(5)] {
            let mut s = ChainSpec { fees: fees.clone(), ..spec() };
            bft(&mut s).empty_block_ms = empty_block_ms;
            let back = ChainSpec::from_json(&s.to_json()).unwrap();
            assert_eq!(back, s);
            assert_eq!(back.hash(), s.hash());
        }
    }
}

#[test]
fn essential_accounts_are_part_of_the_hash_where_there_are_any() {
    let with = |accounts: &[u8]| ChainSpec {
        essential: accounts.iter().map(|b| Address::repeat_byte(*b)).collect(),
        ..spec()
    };
    assert!(!spec().to_json().contains("essential"), "chains without them stay as they are");
    let hashes: BTreeSet<B256> = [&[][..], &[1], &[2], &[1, 2]].into_iter().map(|a| with(a).hash()).collect();
    assert_eq!(hashes.len(), 4);
    let back = ChainSpec::from_json(&with(&[1, 2]).to_json()).unwrap();
    assert_eq!(back, with(&[1, 2]));
}

#[test]
fn unknown_keys_are_refused_wherever_they_are() {
    let json = spec().to_json();
    let zero = ChainSpec { fees: Fees::Zero, ..spec() }.to_json();
    let places = [
        (&json, "\"chainId\""),
        (&json, "\"blockIntervalMs\""),
        (&json, "\"initialBaseFee\""),
        (&zero, "\"kind\""),
        (&json, "\"public_key\""),
        (&json, "\"power\""),
        (&json, "\"balance\""),
    ];
    for (json, key) in places {
        assert!(json.contains(key), "{key} in {json}");
        let with = json.replacen(key, &format!("\"surprise\": 1, {key}"), 1);
        let e = ChainSpec::from_json(&with).unwrap_err().to_string();
        assert!(e.contains("surprise"), "{key}: {e}");
    }
}

#[test]
fn missing_keys_and_other_nonsense_are_refused() {
    for bad in ["", "{}", "[]", "null", "{\"name\":\"x\"}"] {
        assert!(ChainSpec::from_json(bad).is_err());
    }
    let e = ChainSpec::from_json(&spec().to_json().replace("prague", "frontier")).unwrap_err().to_string();
    assert!(e.contains("frontier"), "{e}");
}

#[test]
fn every_range_has_an_error_that_names_its_field() {
    type Change = fn(&mut ChainSpec);
    let cases: &[(&str, Change)] = &[
        ("`name`", |s| s.name.clear()),
        ("`name`", |s| s.name = "ä".repeat(65)),
        ("`chainId`", |s| s.chain_id = 0),
        ("`genesisTimeMs`", |s| s.genesis_time_ms = u64::MAX),
        ("`gasLimit`", |s| s.gas_limit = 999_999),
        ("`gasLimit`", |s| s.gas_limit = (1 << 40) + 1),
        ("`maxBlockBytes`", |s| s.max_block_bytes = 256 * 1024 - 1),
        ("`maxBlockBytes`", |s| s.max_block_bytes = 16 * 1024 * 1024 + 1),
        ("`essential`", |s| {
            s.essential = (0..1025).map(|i| Address::left_padding_from(&u16::to_be_bytes(i))).collect()
        }),
        ("`fees`", |s| s.fees = Fees::Eip1559 { initial_base_fee: 1, min_base_fee: 2 }),
        ("`forks`", |s| s.forks.clear()),
        ("`forks`", |s| {
            s.forks.remove(&Height(0));
        }),
        ("`forks`", |s| {
            s.forks.insert(Height(200), EvmFork::Shanghai);
        }),
        ("`alloc`", |s| {
            s.alloc.get_mut(&Address::repeat_byte(2)).unwrap().storage.insert(B256::ZERO, B256::ZERO);
        }),
        ("`alloc`", |s| s.alloc.get_mut(&Address::repeat_byte(1)).unwrap().balance = U256::MAX),
        ("`consensus.roundTimeoutMs`", |s| bft(s).round_timeout_ms = 49),
        ("`consensus.roundTimeoutMs`", |s| bft(s).round_timeout_ms = 10_001),
        ("`consensus.roundTimeoutCapMs`", |s| bft(s).round_timeout_cap_ms = 60_001),
        ("`consensus.blockIntervalMs`", |s| bft(s).block_interval_ms = 60_001),
        ("`consensus.clockToleranceMs`", |s| bft(s).clock_tolerance_ms = 60_001),
        ("`validators`", |s| s.validators.clear()),
        ("`validators`", |s| s.validators[1] = s.validators[0].clone()),
        ("`validators`", |s| s.validators[1].validator.power = 2),
    ];
    spec().check().unwrap();
    for (i, (field, change)) in cases.iter().enumerate() {
        let mut s = spec();
        change(&mut s);
        let e = s.check().unwrap_err().to_string();
        assert!(e.contains(field), "case {i}: {e}");
    }
}

#[test]
fn the_hash_binds_every_field() {
    let changes: &[fn(&mut ChainSpec)] = &[
        |s| s.name.push('x'),
        |s| s.chain_id += 1,
        |s| s.genesis_time_ms += 1,
        |s| s.hash_fn = HashFn::Blake3,
        |s| s.development = false,
        |s| bft(s).block_interval_ms += 1,
        |s| bft(s).round_timeout_ms += 1,
        |s| bft(s).round_timeout_cap_ms += 1,
        |s| bft(s).empty_block_ms = None,
        |s| bft(s).empty_block_ms = Some(0),
        |s| bft(s).clock_tolerance_ms += 1,
        |s| s.gas_limit += 1,
        |s| s.max_block_bytes += 1,
        |s| s.fees = Fees::Zero,
        |s| s.fees = Fees::Eip1559 { initial_base_fee: 1_000_000_001, min_base_fee: 1 },
        |s| s.fees = Fees::Eip1559 { initial_base_fee: 1_000_000_000, min_base_fee: 2 },
        |s| {
            s.forks.remove(&Height(100));
        },
        |s| {
            s.forks.insert(Height(0), EvmFork::Shanghai);
        },
        |s| {
            s.forks.insert(Height(101), EvmFork::Osaka);
        },
        |s| drop(s.validators.pop()),
        |s| s.validators.swap(0, 1),
        |s| s.validators[0].name.push('x'),
        |s| s.validators[0].validator.power = 2,
        |s| s.validators[0].validator.public_key = samples::key(9).public_key(),
        |s| drop(s.alloc.pop_first()),
        |s| s.alloc.get_mut(&Address::repeat_byte(1)).unwrap().balance += U256::from(1),
        |s| s.alloc.get_mut(&Address::repeat_byte(1)).unwrap().nonce += 1,
        |s| s.alloc.get_mut(&Address::repeat_byte(2)).unwrap().code = [0x60].into(),
        |s| s.alloc.get_mut(&Address::repeat_byte(2)).unwrap().storage.clear(),
        |s| drop(s.alloc.insert(Address::ZERO, GenesisAccount::default())),
    ];
    let mut hashes = BTreeSet::from([spec().hash()]);
    for (i, change) in changes.iter().enumerate() {
        let mut s = spec();
        change(&mut s);
        assert!(hashes.insert(s.hash()), "change {i} does not change the hash");
        assert_eq!(s.genesis_block().header().parent_hash, s.hash());
    }
}

#[test]
fn forks_hold_from_their_height_on() {
    let s = spec();
    assert_eq!(s.fork_at(Height(0)), EvmFork::Prague);
    assert_eq!(s.fork_at(Height(99)), EvmFork::Prague);
    assert_eq!(s.fork_at(Height(100)), EvmFork::Osaka);
    assert_eq!(s.fork_at(Height(u64::MAX)), EvmFork::Osaka);
}

/// At most an eighth up or down, at least one wei up, and otherwise what Ethereum's own formula says.
#[test]
fn base_fee_follows_eip_1559_above_its_floor() {
    let s = ChainSpec { fees: Fees::Eip1559 { initial_base_fee: 1000, min_base_fee: 7 }, ..spec() };
    let next = |fee, used, limit| s.next_base_fee(Height(5), fee, used, limit);
    assert_eq!(s.next_base_fee(Height(0), 5, 0, 100), 1000, "block 1 has the initial fee");
    assert_eq!(next(1_000_000_000, 10_000_000, 20_000_000), 1_000_000_000);
    assert_eq!(next(1_000_000_000, 20_000_000, 20_000_000), 1_125_000_000);
    assert_eq!(next(1_000_000_000, 0, 20_000_000), 875_000_000);
    for (fee, used, limit) in
        [(1_072_671_875, 9_000_000, 20_000_000), (1 << 40, 1, 30_000_001), (99, 29_999_999, 30_000_000)]
    {
        let reference = alloy_eips::eip1559::calc_next_block_base_fee(used, limit, fee, BaseFeeParams::ethereum());
        assert_eq!(next(fee, used, limit), reference);
    }
    assert_eq!(next(7, 10_000_001, 20_000_000), 8, "at least one wei up");
    assert_eq!(next(7, 0, 20_000_000), 7, "the floor");
    assert_eq!(next(u64::MAX, u64::MAX, 1), u64::MAX, "no overflow");
    let free = ChainSpec { fees: Fees::Zero, ..spec() };
    assert_eq!(free.next_base_fee(Height(5), 9, 9, 9), 0);
}

/// Hashed into every chain there is: a change here is another chain.
#[test]
fn golden_hashes_of_chains_that_vote() {
    let hashes = [spec().hash(), spec().genesis_block().hash(), samples::header().hash(HashFn::Sha256)];
    let golden = [
        "0xc270f27dbe1f41025386cfe2302796c5c1e42a65427d713f10486cb3fc9f282c",
        "0xbb852977ee303e4c69790d29696a759533b6e2e7e9285697803c1c4926b08e63",
        "0xf9817d738a2741d26ef42a0e15063ae477c2e298c0d5a4a62df477d4e7fe8b2c",
    ];
    assert_eq!(hashes.map(|h| h.to_string()), golden);
}
