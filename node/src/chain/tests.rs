//! Older states and proofs of them, over a real ledger and a real trie, against a model that keeps every state whole.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use basalt_execution::{Deadline, Executor, StateReader as _, StateTrie, genesis_state, trie::EMPTY_ROOT};
use basalt_primitives::{
    Address, B256, Block, Bytes, ChainSpec, CommitCertificate, CommitSignature, Header, Height, Log, Receipt, Round,
    Seal, SealedBlock, SecretKey, Signature, U256,
    block::transactions_root,
    header::HEADER_VERSION,
    keccak256,
    receipt::receipts_root,
    state::{Account, StateChanges, StorageChanges},
};
use basalt_storage::{BlockCommit, GenesisState, Head, Ledger, OpenOptions, Outcome, Reader as _, Rewind};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Chain, Newest, StateView};
use crate::{
    rpc::ports::{
        CallError, CallExecutor as _, CallLimits, CallRequest, ChainReader as _, PlannedBlock, ReadError, Scene,
        SimulateError, SimulationPlan, StateAt,
    },
    validators::ValidatorSets,
};

const PBFT: &str = r#"{"engine": "pbft", "blockIntervalMs": 1000, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 10000,
    "emptyBlockMs": null, "clockToleranceMs": 1000}"#;
const DEV: &str = r#"{"engine": "dev"}"#;

fn spec(consensus: &str) -> Arc<ChainSpec> {
    let key = SecretKey::from_bytes(&[1; 32]).public_key();
    let text = format!(
        r#"{{
            "name": "test", "chainId": 31337, "genesisTimeMs": 1700000000000, "hashFn": "sha256", "development": true,
            "consensus": {consensus},
            "gasLimit": 30000000, "maxBlockBytes": 1048576, "fees": {{"kind": "zero"}}, "forks": {{"0": "osaka"}},
            "validators": [{{"name": "a", "public_key": "{key}", "power": 1}}],
            "alloc": {{"{}": {{"balance": "1000"}}}}
        }}"#,
        address(0)
    );
    Arc::new(ChainSpec::from_json(&text).unwrap().with_system_contracts())
}

fn address(n: u64) -> Address {
    Address::left_padding_from(&(n + 0x1000).to_be_bytes())
}

#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<(Address, U256), U256>,
}

struct World {
    chain: Chain,
    trie: StateTrie,
    /// After each height.
    models: Vec<Model>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::of(PBFT)
    }

    fn of(consensus: &str) -> Self {
        let (dir, spec) = (tempfile::tempdir().unwrap(), spec(consensus));
        let (changes, batch) = genesis_state(&spec).unwrap();
        let genesis = GenesisState { changes: changes.clone(), trie: batch.updates, root: batch.root };
        let ledger = Ledger::open(dir.path(), &spec, &OpenOptions::default(), || genesis).unwrap();
        let chain = Chain {
            genesis: spec.genesis_block().hash(),
            sets: ValidatorSets::open(&spec, &StateView(ledger.snapshot()), ledger.head().height(), Vec::new())
                .unwrap(),
            executor: Arc::new(Executor::new(Arc::clone(&spec))),
            ledger: Arc::new(ledger),
            newest: Newest::default(),
            next_block: None,
            spec,
        };
        let mut model = Model::default();
        model.apply(&changes);
        Self { chain, trie: StateTrie::open(batch.root, 1 << 20), models: vec![model], _dir: dir }
    }

    /// An empty block that yet changes the state.
    fn commit(&mut self, changes: &StateChanges) {
        self.commit_with(changes, &[]);
    }

    /// A block with a transaction of some bytes for each receipt.
    fn commit_with(&mut self, changes: &StateChanges, receipts: &[Receipt]) {
        let (head, hash_fn) = (self.chain.ledger.head(), self.chain.spec.hash_fn);
        let tx_hashes: Vec<B256> = receipts.iter().map(|r| r.tx_hash).collect();
        let transactions = receipts.iter().map(|r| Bytes::copy_from_slice(r.tx_hash.as_slice())).collect();
        let block = Block { transactions, ..empty_block(&head, &self.chain.spec) };
        let block = SealedBlock::new(block, hash_fn);
        let certificate = CommitCertificate {
            height: block.height(),
            round: Round(0),
            block_hash: block.hash(),
            signatures: vec![CommitSignature { validator: 0, signature: Signature([1; 64]) }],
        };
        let batch = self.trie.apply(changes, &StateView(self.chain.ledger.snapshot())).unwrap();
        let gas_used = receipts.iter().map(|r| r.gas_used).sum();
        let outcome = Outcome { state_root: batch.root, receipts_root: receipts_root(hash_fn, receipts), gas_used };
        let commit = BlockCommit {
            block: &block,
            certificate: Some(&certificate),
            work: None,
            tx_hashes: &tx_hashes,
            receipts,
            skipped: &[],
            changes,
            trie: &batch.updates,
            outcome,
        };
        self.chain.ledger.commit(&commit).unwrap();
        self.trie.commit();
        let mut model = self.models.last().unwrap().clone();
        model.apply(changes);
        self.models.push(model);
    }
}

impl Model {
    fn apply(&mut self, changes: &StateChanges) {
        for (a, s) in &changes.storage {
            self.slots.retain(|(of, _), _| !(s.wiped && of == a));
            self.slots.extend(s.slots.iter().map(|(slot, v)| ((*a, *slot), *v)));
        }
        for (a, account) in &changes.accounts {
            match account {
                Some(account) => drop(self.accounts.insert(*a, *account)),
                None => {
                    self.accounts.remove(a);
                    self.slots.retain(|(of, _), _| of != a);
                }
            }
        }
        self.slots.retain(|_, v| !v.is_zero());
    }
}

fn empty_block(head: &Head, spec: &ChainSpec) -> Block {
    let last_certificate = head.certificate.as_deref().cloned();
    let header = Header {
        version: HEADER_VERSION,
        chain_id: spec.chain_id,
        height: head.height().next(),
        timestamp_ms: head.block.header().timestamp_ms + 1000,
        parent_hash: head.hash(),
        transactions_root: transactions_root(spec.hash_fn, &[]),
        parent_state_root: head.outcome.state_root,
        parent_receipts_root: head.outcome.receipts_root,
        parent_gas_used: head.outcome.gas_used,
        gas_limit: spec.gas_limit,
        base_fee: 0,
        proposer: address(0),
        first_round: Round(0),
        next_validators_hash: B256::repeat_byte(3),
        last_certificate_hash: last_certificate.as_ref().map_or(B256::ZERO, |c| c.hash(spec.hash_fn)),
        seal: Seal::None,
    };
    Block { header, last_certificate, transactions: Vec::new() }
}

fn changes(rng: &mut StdRng, model: &Model) -> StateChanges {
    let mut changes = StateChanges::default();
    for n in (0..40).filter(|_| rng.random_bool(0.2)).collect::<Vec<_>>() {
        let a = address(n);
        let exists = model.accounts.contains_key(&a);
        if exists && rng.random_bool(0.15) {
            changes.accounts.insert(a, None);
            continue;
        }
        let account = Account { nonce: rng.random_range(0..5), balance: U256::from(1 + n), ..Account::default() };
        changes.accounts.insert(a, Some(account));
        if rng.random_bool(0.5) {
            let count = rng.random_range(0..9);
            let slot = |_| (U256::from(rng.random_range(0..12u64)), U256::from(rng.random_range(0..4u64)));
            let slots = (0..count).map(slot).collect();
            changes.storage.insert(a, StorageChanges { wiped: exists && rng.random_bool(0.2), slots });
        }
    }
    changes
}

/// Verifies by a library of others that the proof shows what the model has.
fn assert_proof(world: &World, height: u64, n: u64) {
    let (a, model) = (address(n), &world.models[height as usize]);
    let slots: Vec<U256> = (0..4).map(U256::from).collect();
    let at = StateAt::Height(Height(height));
    let found = world.chain.proof(at, &a, &slots).unwrap();
    let root = world.chain.ledger.outcome(Height(height)).unwrap().unwrap().state_root;
    assert_eq!(found.account, model.accounts.get(&a).copied(), "account {n} after {height}");
    let leaf = found.account.map(|x| TrieAccount {
        nonce: x.nonce,
        balance: x.balance,
        storage_root: found.storage_root,
        code_hash: x.code_hash,
    });
    verify_proof(root, Nibbles::unpack(keccak256(a)), leaf.map(alloy_rlp::encode), &found.nodes).unwrap();
    for (slot, proven) in slots.iter().zip(&found.storage) {
        let value = model.slots.get(&(a, *slot)).copied().unwrap_or_default();
        assert_eq!(proven.value, value, "slot {slot} of {n} after {height}");
        let encoded = (!value.is_zero()).then(|| alloy_rlp::encode(value));
        let key = Nibbles::unpack(keccak256(slot.to_be_bytes::<32>()));
        if found.storage_root == EMPTY_ROOT {
            assert!(proven.nodes.is_empty() && encoded.is_none());
        } else {
            verify_proof(found.storage_root, key, encoded, &proven.nodes).unwrap();
        }
    }
}

#[test]
fn a_block_looks_the_same_from_memory_and_from_disk() {
    let mut world = World::new();
    let logs = vec![Log { address: address(1), topics: vec![B256::repeat_byte(9)], data: Bytes::from_static(&[1, 2]) }];
    let receipt = |n: u8, logs| Receipt {
        tx_hash: B256::repeat_byte(n),
        tx_type: 2,
        success: true,
        gas_used: 21_000,
        cumulative_gas_used: 21_000 * u64::from(n),
        effective_gas_price: 0,
        contract_address: None,
        logs,
        revert_data: Bytes::new(),
    };
    for receipts in [vec![], vec![receipt(1, vec![])], vec![receipt(1, logs), receipt(2, vec![])]] {
        world.commit_with(&StateChanges::default(), &receipts);
        let head = world.chain.ledger.head();
        let view = world.chain.view_of(&head, &receipts);
        assert_eq!(view.bloom.is_zero(), receipts.iter().all(|r| r.logs.is_empty()));
        assert_eq!(*world.chain.block(head.height()).unwrap().unwrap(), view);
    }
}

#[test]
fn every_older_state_is_proven_against_its_own_root() {
    for seed in 0..2 {
        let (mut world, mut rng) = (World::new(), StdRng::seed_from_u64(seed));
        for _ in 0..12 {
            let changes = changes(&mut rng, world.models.last().unwrap());
            world.commit(&changes);
        }
        for height in 0..=12 {
            (0..42).step_by(3).for_each(|n| assert_proof(&world, height, n));
        }
    }
}

#[test]
fn a_proof_from_too_far_back_is_refused_with_the_limits() {
    let mut world = World::new();
    let mut many = StateChanges::default();
    for n in 0..10_001u64 {
        many.accounts.insert(address(n), Some(Account { nonce: 1, ..Account::default() }));
    }
    world.commit(&many);
    let refused = world.chain.proof(StateAt::Height(Height(0)), &address(0), &[]).unwrap_err();
    assert!(matches!(refused, ReadError::ProofTooOld { .. }), "{refused:?}");
    assert!(refused.to_string().contains("1024 blocks back and at most 10000 accounts"), "{refused}");
    world.chain.proof(StateAt::Latest, &address(0), &[]).unwrap();
}

#[test]
fn reads_and_calls_at_an_old_block_see_its_state_and_its_surroundings() {
    let mut world = World::new();
    // Returns the block's number and slot 0: NUMBER PUSH0 MSTORE PUSH0 SLOAD PUSH1 32 MSTORE PUSH1 64 PUSH0 RETURN.
    let code = alloy_primitives::Bytes::from_static(&alloy_primitives::hex!("435f525f5460205260405ff3"));
    let contract = address(7);
    for height in 1..=5u64 {
        let mut changes = StateChanges::default();
        let account = Account { nonce: height, balance: U256::from(height), code_hash: keccak256(&code) };
        changes.accounts.insert(contract, Some(account));
        let slots = [(U256::ZERO, U256::from(height * 10))].into();
        changes.storage.insert(contract, StorageChanges { wiped: false, slots });
        changes.code.insert(keccak256(&code), code.clone());
        world.commit(&changes);
    }
    let request = CallRequest { to: Some(contract), ..CallRequest::default() };
    for height in 1..=5u64 {
        let at = StateAt::Height(Height(height));
        let scene = Scene { at, ..Scene::default() };
        assert_eq!(world.chain.account(at, &contract).unwrap().unwrap().nonce, height);
        assert_eq!(world.chain.storage(at, &contract, U256::ZERO).unwrap(), U256::from(height * 10));
        assert_eq!(world.chain.code(at, &contract).unwrap(), code);
        let output = world.chain.call(&request, &scene).unwrap();
        let words = [U256::from(height), U256::from(height * 10)].map(|w| w.to_be_bytes::<32>()).concat();
        assert_eq!(output[..], words[..], "a call at block {height}");
        assert!(world.chain.estimate_gas(&request, &scene).unwrap() > 21_000);
    }
    assert_eq!(world.chain.code(StateAt::Height(Height(0)), &contract).unwrap().len(), 0, "before it was there");
    let view = world.chain.state_at(StateAt::Height(Height(2))).unwrap();
    assert_eq!(view.block_hash(3).unwrap(), None);
    assert_eq!(view.block_hash(0).unwrap(), Some(world.chain.genesis));
    while !world.chain.ledger.prune_history(2).unwrap().done {}
    let refused = world.chain.account(StateAt::Height(Height(2)), &contract).unwrap_err();
    let text = "state of block 2 is not kept here; this node keeps the last 3 blocks (3 to 5); ask an archive node";
    assert_eq!(refused.to_string(), text);
    assert_eq!(world.chain.account(StateAt::Height(Height(3)), &contract).unwrap().unwrap().nonce, 3);
}

/// Goes back as the sequencer of a development network does.
fn rewind(world: &mut World, to: u64) {
    let snapshot = world.chain.ledger.snapshot();
    let state = snapshot.state_at(Height(to)).unwrap();
    let changes = super::proof::taken_back(&state, snapshot.head().height(), u64::MAX, usize::MAX).unwrap();
    let trie = world.trie.apply(&changes, &StateView(snapshot)).unwrap();
    let rewind = Rewind { to: Height(to), changes: &changes, trie: &trie.updates, root: trie.root };
    assert_eq!(world.chain.ledger.rewind(&rewind).unwrap().height(), Height(to));
    world.trie.commit();
    world.models.truncate(to as usize + 1);
}

#[test]
fn blocks_that_are_taken_back_leave_nothing_behind() {
    for seed in 0..6 {
        let (mut world, mut rng) = (World::of(DEV), StdRng::seed_from_u64(seed));
        for _ in 0..6 {
            for _ in 0..rng.random_range(1..8) {
                let changes = changes(&mut rng, world.models.last().unwrap());
                world.commit(&changes);
            }
            let head = world.models.len() as u64 - 1;
            let to = rng.random_range(0..=head);
            let tall = world.chain.ledger.block_hash(Height(head)).unwrap().unwrap();
            rewind(&mut world, to);
            assert_eq!(world.chain.ledger.height_of(&tall).unwrap(), (to == head).then_some(Height(head)));
            for above in to + 1..=head {
                assert!(world.chain.ledger.header(Height(above)).unwrap().is_none());
                assert!(world.chain.ledger.certificate(Height(above)).unwrap().is_none());
                assert_eq!(world.chain.ledger.snapshot().changed(Height(above)).unwrap(), Default::default());
            }
            for height in 0..=to {
                (0..42).step_by(5).for_each(|n| assert_proof(&world, height, n));
            }
        }
    }
}

#[test]
fn a_way_back_to_another_state_is_refused_and_changes_nothing() {
    let mut world = World::of(DEV);
    let (mut rng, before) = (StdRng::seed_from_u64(1), world.models[0].clone());
    let changes = changes(&mut rng, &before);
    world.commit(&changes);
    let wrong = StateChanges { accounts: [(address(1), None)].into(), ..StateChanges::default() };
    let trie = world.trie.apply(&wrong, &StateView(world.chain.ledger.snapshot())).unwrap();
    let rewind = Rewind { to: Height(0), changes: &wrong, trie: &trie.updates, root: trie.root };
    let refused = world.chain.ledger.rewind(&rewind).unwrap_err().to_string();
    assert!(refused.contains("another state root"), "{refused}");
    let above = Rewind { to: Height(2), ..rewind };
    assert!(world.chain.ledger.rewind(&above).is_err());
    assert_eq!(world.chain.ledger.head().height(), Height(1));
}

#[test]
fn only_a_development_network_takes_blocks_back() {
    let mut world = World::new();
    let (mut rng, before) = (StdRng::seed_from_u64(1), world.models[0].clone());
    world.commit(&changes(&mut rng, &before));
    let (ledger, none) = (&world.chain.ledger, StateChanges::default());
    let trie = world.trie.apply(&none, &StateView(ledger.snapshot())).unwrap();
    for to in [0, 1, 2] {
        let rewind = Rewind { to: Height(to), changes: &none, trie: &trie.updates, root: trie.root };
        let refused = ledger.rewind(&rewind).unwrap_err().to_string();
        assert!(refused.contains("no development network"), "{refused}");
    }
    assert_eq!(ledger.head().height(), Height(1));
}

/// A contract that never ends: JUMPDEST PUSH0 JUMP.
fn endless(world: &mut World) -> CallRequest {
    let code = alloy_primitives::Bytes::from_static(&alloy_primitives::hex!("5b5f56"));
    let mut changes = StateChanges::default();
    let account = Account { nonce: 1, balance: U256::ZERO, code_hash: keccak256(&code) };
    changes.accounts.insert(address(7), Some(account));
    changes.code.insert(keccak256(&code), code);
    world.commit(&changes);
    CallRequest { to: Some(address(7)), ..CallRequest::default() }
}

#[test]
fn calls_and_simulations_end_at_their_limits_whether_or_not_anyone_waits() {
    let mut world = World::new();
    let request = endless(&mut world);
    let past = CallLimits { deadline: Some(Deadline::after_ms(0)), max_gas: None };
    let scene = Scene { limits: past, ..Scene::default() };
    assert!(matches!(world.chain.call(&request, &scene), Err(CallError::Timeout(0))));
    assert!(matches!(world.chain.estimate_gas(&request, &scene), Err(CallError::Timeout(0))));
    assert!(matches!(world.chain.access_list(&request, &scene), Err(CallError::Timeout(0))));

    let mut plan = SimulationPlan { limits: past, ..SimulationPlan::default() };
    plan.blocks = vec![PlannedBlock::default()];
    let late = |plan: &SimulationPlan| world.chain.simulate(plan, StateAt::Latest);
    assert!(matches!(late(&plan), Err(SimulateError::Timeout(0))), "not even an empty block begins");
    // Of 256 blocks with 1000 changed accounts each, whose roots take longer than there is time.
    let some = |n: u64| (address(n), basalt_execution::AccountOverride { nonce: Some(9), ..Default::default() });
    plan.blocks = (0..256)
        .map(|b| PlannedBlock { accounts: (0..1000).map(|n| some(b * 1000 + n)).collect(), ..PlannedBlock::default() })
        .collect();
    plan.limits.deadline = Some(Deadline::after_ms(30));
    assert!(matches!(late(&plan), Err(SimulateError::Timeout(30))));

    let capped = CallLimits { deadline: None, max_gas: Some(100_000) };
    let failed = world.chain.call(&request, &Scene { limits: capped, ..Scene::default() }).unwrap_err();
    assert!(failed.to_string().contains("at most 100000 gas"), "{failed}");
    let plan = SimulationPlan {
        blocks: vec![PlannedBlock { calls: vec![request.clone(), request], ..PlannedBlock::default() }],
        limits: capped,
        ..SimulationPlan::default()
    };
    let failed = world.chain.simulate(&plan, StateAt::Latest).unwrap_err();
    assert!(failed.to_string().contains("call 1: gas required exceeds allowance (100000)"), "{failed}");
}
