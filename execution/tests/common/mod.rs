//! A small chain, accounts with keys, and transactions of both formats.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use basalt_execution::{BlockEnv, Executor, MemoryState, StateTrie, genesis_state};
use basalt_primitives::{
    ChainSpec, HashFn, Height, SecretKey, Transaction,
    chainspec::{BftParams, Consensus, EvmFork, Fees, GenesisAccount, GenesisValidator},
    crypto::secp256k1::address_of,
    state::StateChanges,
    tx::{NativeTx, Payload, SecurityLevel, SignedNative, Unverified},
    validators::Validator,
};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey as EthKey};

pub const CHAIN: u64 = 31337;
pub const PROPOSER: Address = Address::repeat_byte(0xbb);
pub const ETHER: u128 = 1_000_000_000_000_000_000;

/// A specification with these accounts.
pub fn spec(fork: EvmFork, alloc: BTreeMap<Address, GenesisAccount>) -> Arc<ChainSpec> {
    let key = SecretKey::from_bytes(&[9; 32]);
    Arc::new(ChainSpec {
        name: "test".into(),
        chain_id: CHAIN,
        genesis_time_ms: 1_700_000_000_000,
        hash_fn: HashFn::Sha256,
        development: true,
        consensus: Consensus::Pbft(BftParams {
            block_interval_ms: 0,
            round_timeout_ms: 1000,
            round_timeout_cap_ms: 8000,
            empty_block_ms: None,
            clock_tolerance_ms: 1000,
        }),
        gas_limit: 30_000_000,
        max_block_bytes: 1024 * 1024,
        essential: Default::default(),
        fees: Fees::Zero,
        forks: BTreeMap::from([(Height::GENESIS, fork)]),
        validators: vec![GenesisValidator {
            name: "one".into(),
            validator: Validator { public_key: key.public_key(), power: 1 },
        }],
        alloc,
    })
}

/// An executor, the genesis state and its trie.
pub struct Chain {
    pub executor: Executor,
    pub state: MemoryState,
    pub trie: StateTrie,
}

/// A chain with these accounts.
pub fn chain(fork: EvmFork, alloc: BTreeMap<Address, GenesisAccount>) -> Chain {
    let spec = spec(fork, alloc);
    let (changes, batch) = genesis_state(&spec).unwrap();
    let mut state = MemoryState::new();
    state.apply(&changes);
    state.apply_trie(&batch.updates);
    Chain { executor: Executor::new(spec), state, trie: StateTrie::open(batch.root, 1 << 20) }
}

/// What the changes say was there before is what was there.
pub fn assert_before(state: &MemoryState, changes: &StateChanges) {
    let before = changes.before.as_ref().expect("the executor knows");
    let accounts: Vec<_> = changes.accounts.keys().map(|a| state.accounts().get(a).copied()).collect();
    assert_eq!(before.accounts, accounts, "accounts before");
    let slot = |a: &Address, s: &U256| state.slots(a).and_then(|all| all.get(s)).copied().unwrap_or_default();
    let kept = changes.storage.iter().filter(|(_, s)| !s.wiped);
    let slots: Vec<_> = kept.flat_map(|(a, s)| s.slots.keys().map(move |k| slot(a, k))).collect();
    assert_eq!(before.slots, slots, "slots before");
}

/// Block 1.
pub fn env(base_fee: u64) -> BlockEnv {
    BlockEnv {
        height: Height(1),
        timestamp_ms: 1_700_000_001_999,
        beneficiary: PROPOSER,
        base_fee,
        gas_limit: 30_000_000,
        parent_hash: B256::repeat_byte(0x11),
        prev_randao: B256::repeat_byte(0x11),
    }
}

pub fn rich(balance: u128) -> GenesisAccount {
    GenesisAccount { balance: U256::from(balance), ..GenesisAccount::default() }
}

pub fn contract(code: &[u8]) -> GenesisAccount {
    GenesisAccount { nonce: 1, code: Bytes::copy_from_slice(code), ..GenesisAccount::default() }
}

/// A native account.
pub fn native_key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

pub fn native_tx(nonce: u64, to: Option<Address>, value: u128) -> NativeTx {
    NativeTx {
        chain_id: CHAIN,
        nonce,
        valid_from: Height(0),
        valid_until: None,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        gas_limit: 21_000,
        to,
        value: U256::from(value),
        input: Bytes::new(),
        level: SecurityLevel::Public,
        payload: None,
    }
}

/// Signs a native transaction. The raw bytes are a stand-in of a fitting size: execution looks at their length alone.
pub fn native(key: &SecretKey, tx: NativeTx) -> Transaction {
    let size = 180 + tx.input.len();
    let signed = tx.sign(key);
    of_native(signed, size)
}

fn of_native(signed: SignedNative, size: usize) -> Transaction {
    let raw = Bytes::from(vec![0x42; size]);
    Unverified::from_canonical(raw, Payload::Native(Box::new(signed)), HashFn::Sha256).verify().unwrap()
}

/// An Ethereum account.
pub struct Wallet {
    pub key: EthKey,
    pub address: Address,
}

pub fn wallet(n: u8) -> Wallet {
    let key = EthKey::from_byte_array([n; 32]).unwrap();
    Wallet { key, address: address_of(&PublicKey::from_secret_key(SECP256K1, &key)) }
}

impl Wallet {
    pub fn sign_hash(&self, hash: B256) -> Signature {
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(hash.0), &self.key);
        let (id, rs) = signature.serialize_compact();
        let word = |b: &[u8]| U256::from_be_slice(b);
        Signature::new(word(&rs[..32]), word(&rs[32..]), i32::from(id) & 1 == 1)
    }

    pub fn sign<T: SignableTransaction<Signature>>(&self, tx: T) -> Transaction
    where
        TxEnvelope: From<alloy_consensus::Signed<T>>,
    {
        let signature = self.sign_hash(tx.signature_hash());
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        let raw = Bytes::from(envelope.encoded_2718());
        let tx = Unverified::from_canonical(raw, Payload::Ethereum(Box::new(envelope)), HashFn::Sha256);
        let tx = tx.verify().unwrap();
        assert_eq!(tx.sender(), self.address);
        tx
    }
}

pub fn eip1559(nonce: u64, to: TxKind, value: u128, gas_limit: u64, input: Bytes) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        to,
        value: U256::from(value),
        access_list: Default::default(),
        input,
    }
}

pub fn legacy(nonce: u64, to: TxKind, value: u128, gas_limit: u64, gas_price: u128) -> TxLegacy {
    TxLegacy { chain_id: Some(CHAIN), nonce, gas_price, gas_limit, to, value: U256::from(value), input: Bytes::new() }
}

/// The root of a whole state, from scratch, by another implementation.
pub fn reference_root(state: &MemoryState) -> B256 {
    alloy_trie::root::state_root_unhashed(state.accounts().iter().map(|(address, account)| {
        let slots = state.slots(address).into_iter().flatten().map(|(k, v)| (B256::from(*k), *v));
        let account = alloy_trie::TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root: alloy_trie::root::storage_root_unhashed(slots),
            code_hash: account.code_hash,
        };
        (*address, account)
    }))
}

/// Init code that deploys `code`.
pub fn deployer(code: &[u8]) -> Bytes {
    assert!(code.len() < 256);
    // PUSH1 len DUP1 PUSH1 11 PUSH1 0 CODECOPY PUSH1 0 RETURN, then the code
    let mut init = vec![0x60, code.len() as u8, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
    init.extend_from_slice(code);
    init.into()
}

pub fn hash_of(code: &[u8]) -> B256 {
    keccak256(code)
}
