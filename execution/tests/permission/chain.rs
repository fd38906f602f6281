//! A permissioned chain, run block by block through the executor.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use basalt_execution::{BlockEnv, Executed, Executor, MemoryState, SkipReason, StateReader as _, genesis_state};
use basalt_primitives::{
    ChainSpec, Height, PublicKey, SecretKey, Transaction,
    chainspec::{EvmFork, GenesisValidator},
    system::{
        PERMISSION,
        permission::{Authority, Change, GenesisPermission, Mode, Rights, Rule, Until, calls, read},
    },
    tx::NativeTx,
    validators::Validator,
};

use crate::common::{env, native, native_tx, rich, spec};

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

pub fn public(n: u8) -> PublicKey {
    key(n).public_key()
}

pub fn account(n: u8) -> Address {
    public(n).address()
}

pub fn rule(rights: Rights) -> Rule {
    Rule { rights, listed: true, ..Rule::default() }
}

pub fn genesis(mode: Mode, accounts: &[(u8, Rule)]) -> GenesisPermission {
    GenesisPermission {
        authority: Authority::Validators,
        percent: 0,
        mode,
        nodes: Vec::new(),
        organisations: Vec::new(),
        accounts: accounts.iter().map(|(n, r)| (account(*n), *r)).collect(),
    }
}

pub struct Chain {
    pub spec: Arc<ChainSpec>,
    pub executor: Executor,
    pub state: MemoryState,
    pub height: u64,
    nonces: BTreeMap<u8, u64>,
}

impl Chain {
    /// Four validators with the keys 1 to 4; the accounts of the keys up to 30 have money.
    pub fn new(permission: &GenesisPermission) -> Self {
        let alloc = (1..=30).map(|n| (account(n), rich(1_000_000))).collect();
        let mut spec = Arc::unwrap_or_clone(spec(EvmFork::Osaka, alloc));
        let validator = |n: u8| Validator { public_key: public(n), power: 1 };
        spec.validators =
            (1..=4).map(|n| GenesisValidator { name: format!("node{n}"), validator: validator(n) }).collect();
        let spec = Arc::new(permission.put_into(spec.with_system_contracts()));
        spec.check_system_contracts().unwrap();
        let (changes, _) = genesis_state(&spec).unwrap();
        let mut state = MemoryState::new();
        state.apply(&changes);
        state.set_block_hash(0, B256::repeat_byte(1));
        let executor = Executor::new(Arc::clone(&spec));
        Self { spec, executor, state, height: 0, nonces: BTreeMap::new() }
    }

    pub fn env(&self) -> BlockEnv {
        let (height, base) = (self.height + 1, env(0));
        let timestamp_ms = base.timestamp_ms + 1000 * height;
        BlockEnv { height: Height(height), parent_hash: B256::repeat_byte(1), timestamp_ms, ..base }
    }

    pub fn tx(&mut self, from: u8, to: Option<Address>, value: u128, input: Bytes) -> Transaction {
        let nonce = self.nonces.entry(from).or_default();
        let gas_limit = if to.is_some() && input.is_empty() { 100_000 } else { 4_000_000 };
        let tx = native(&key(from), NativeTx { gas_limit, input, ..native_tx(*nonce, to, value) });
        *nonce += 1;
        tx
    }

    /// Runs the next block. What was skipped used no nonce.
    pub fn block(&mut self, txs: &[Transaction]) -> Executed {
        let done = self.executor.execute(&self.env(), txs, &self.state).unwrap();
        self.height += 1;
        self.state.apply(&done.changes);
        self.state.set_block_hash(self.height, keccak256(self.height.to_be_bytes()));
        for (index, _, _) in &done.skipped {
            let from = (1..=30).find(|n| account(*n) == txs[*index].sender()).unwrap();
            *self.nonces.get_mut(&from).unwrap() -= 1;
        }
        done
    }

    /// A transaction in a block of its own: whether it ran and succeeded, or why it was skipped.
    pub fn one(&mut self, from: u8, to: Option<Address>, value: u128, input: Bytes) -> Result<bool, SkipReason> {
        let tx = self.tx(from, to, value, input);
        let mut done = self.block(&[tx]);
        match done.skipped.pop() {
            Some((_, _, reason)) => Err(reason),
            None => Ok(done.receipts[0].success),
        }
    }

    pub fn call(&mut self, from: u8, input: Bytes) -> Result<(), String> {
        let tx = self.tx(from, Some(PERMISSION), 0, input);
        let done = self.block(&[tx]);
        if let Some((_, _, why)) = done.skipped.first() {
            return Err(why.to_string());
        }
        let r = &done.receipts[0];
        if r.success { Ok(()) } else { Err(reason(&r.revert_data)) }
    }

    /// Proposes and approves a change until it is applied.
    pub fn vote(&mut self, change: &Change) -> u64 {
        self.call(1, calls::propose(change)).unwrap();
        let id = read::proposal_count(|s| self.slot(s)).unwrap();
        self.call(2, calls::approve(id)).unwrap();
        self.call(3, calls::approve(id)).unwrap();
        id
    }

    pub fn slot(&self, slot: U256) -> Result<U256, basalt_execution::StateError> {
        self.state.storage(&PERMISSION, slot)
    }
}

pub fn until(height: u64) -> Until {
    Until { height, time_s: 0 }
}

/// The text of `Error(string)`.
pub fn reason(data: &[u8]) -> String {
    if data.len() < 68 || data[..4] != [0x08, 0xc3, 0x79, 0xa0] {
        return format!("no reason: {}", alloy_primitives::hex::encode(data));
    }
    let length: usize = U256::from_be_slice(&data[36..68]).to();
    String::from_utf8_lossy(&data[68..][..length.min(data.len() - 68)]).into_owned()
}
