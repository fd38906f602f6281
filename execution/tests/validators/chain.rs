//! A chain with validators, run block by block through the executor.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use basalt_execution::{BlockEnv, CallRequest, Executed, Executor, MemoryState, genesis_state};
use basalt_primitives::{
    ChainSpec, Height, PublicKey, SecretKey,
    chainspec::{EvmFork, GenesisValidator},
    system::{VALIDATORS, calls, evidence::Equivocation, validators},
    tx::NativeTx,
    validators::Validator,
};

use crate::common::{env, native, native_tx, spec};

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

pub fn public(n: u8) -> PublicKey {
    key(n).public_key()
}

/// The hash of the block at a height, as far as the EVM is told.
pub fn hash(height: u64) -> B256 {
    keccak256(height.to_be_bytes())
}

pub struct Chain {
    pub executor: Executor,
    pub state: MemoryState,
    pub height: u64,
    /// Indexes that sign the certificates to come.
    pub signers: Vec<u16>,
    nonces: std::collections::BTreeMap<Address, u64>,
}

impl Chain {
    /// A chain whose genesis validators have the keys 1 to `n`.
    pub fn new(n: u8) -> Self {
        Self::of(n, |_| {})
    }

    pub fn of(n: u8, change: impl FnOnce(&mut ChainSpec)) -> Self {
        let mut spec = Arc::unwrap_or_clone(spec(EvmFork::Osaka, Default::default()));
        spec.validators = (1..=n)
            .map(|i| GenesisValidator {
                name: format!("node{i}"),
                validator: Validator { public_key: public(i), power: 1 },
            })
            .collect();
        let mut spec = spec.with_system_contracts();
        change(&mut spec);
        let (changes, _) = genesis_state(&spec).unwrap();
        let mut state = MemoryState::new();
        state.apply(&changes);
        state.set_block_hash(0, hash(0));
        let signers = (0..u16::from(n)).collect();
        Self { executor: Executor::new(Arc::new(spec)), state, height: 0, signers, nonces: Default::default() }
    }

    fn env(&self, height: u64) -> BlockEnv {
        BlockEnv { height: Height(height), parent_hash: hash(height - 1), ..env(0) }
    }

    pub fn tx(&mut self, from: u8, input: Bytes) -> basalt_primitives::Transaction {
        let nonce = self.nonces.entry(public(from).address()).or_default();
        // Enough for large sets; small ones get many calls into a block.
        let gas_limit = if self.executor.spec().validators.len() > 50 { 10_000_000 } else { 2_000_000 };
        let tx = NativeTx { gas_limit, input, ..native_tx(*nonce, Some(VALIDATORS), 0) };
        *nonce += 1;
        native(&key(from), tx)
    }

    /// Runs the next block with these calls of the validator contract.
    pub fn block(&mut self, calls: &[(u8, Bytes)]) -> Executed {
        let txs: Vec<_> = calls.iter().map(|(from, input)| self.tx(*from, input.clone())).collect();
        self.height += 1;
        let done = self.executor.execute(&self.env(self.height), &txs, &self.state).unwrap();
        assert_eq!(done.skipped, [], "every call runs");
        self.state.apply(&done.changes);
        self.state.set_block_hash(self.height, hash(self.height));
        self.state.set_signers(self.height, &self.signers);
        done
    }

    pub fn blocks(&mut self, n: u64) {
        for _ in 0..n {
            self.block(&[]);
        }
    }

    /// One call in a block of its own that must succeed.
    pub fn ok(&mut self, from: u8, input: Bytes) {
        let done = self.block(&[(from, input)]);
        assert!(done.receipts[0].success, "{}", reason(&done.receipts[0].revert_data));
    }

    /// One call in a block of its own that must fail; its reason.
    pub fn fails(&mut self, from: u8, input: Bytes) -> String {
        let done = self.block(&[(from, input)]);
        assert!(!done.receipts[0].success);
        reason(&done.receipts[0].revert_data)
    }

    pub fn ready(&mut self, from: u8) {
        self.ok(from, calls::ready(Height(self.height), hash(self.height)));
    }

    pub fn proposal(&self, id: u64) -> validators::Proposal {
        validators::proposal(|slot| self.slot(slot), id).unwrap().unwrap()
    }

    pub fn slot(&self, slot: U256) -> Result<U256, basalt_execution::StateError> {
        use basalt_execution::StateReader as _;
        self.state.storage(&VALIDATORS, slot)
    }

    /// The set, read straight from storage; compared with what the contract's own view says.
    pub fn keys(&self) -> Vec<PublicKey> {
        let members = basalt_execution::system::members(&self.state).unwrap();
        let answer = self.view("validators()", &[]);
        assert_eq!(word(&answer, 1), U256::from(members.len()));
        for (i, m) in members.iter().enumerate() {
            let row = 2 + 4 * i;
            assert_eq!(word(&answer, row).to_be_bytes(), m.key.0);
            assert_eq!(B256::from(word(&answer, row + 1)), validators::name_word(&m.name));
            assert_eq!(word(&answer, row + 2), U256::from_be_slice(m.account.as_slice()));
            assert_eq!(word(&answer, row + 3), U256::from(m.since.0));
            assert_eq!(m.account, m.key.address());
        }
        assert_eq!(self.replayed(), members.iter().map(|m| m.key).collect::<Vec<_>>());
        members.iter().map(|m| m.key).collect()
    }

    /// The set as the log of changes gives it from genesis on: how a node knows the set of any height.
    fn replayed(&self) -> Vec<PublicKey> {
        let genesis = &self.executor.spec().validators;
        let mut set: Vec<_> = genesis.iter().map(|v| (v.validator.public_key, v.name.clone())).collect();
        for change in basalt_execution::system::changes(&self.state, 0).unwrap() {
            validators::apply(&mut set, &change).unwrap();
        }
        set.into_iter().map(|(key, _)| key).collect()
    }

    /// A call without transaction, as if in the next block.
    pub fn view(&self, signature: &str, words: &[U256]) -> Bytes {
        let mut input = keccak256(signature)[..4].to_vec();
        words.iter().for_each(|w| input.extend_from_slice(&w.to_be_bytes::<32>()));
        let request = CallRequest { to: Some(VALIDATORS), input: input.into(), ..CallRequest::default() };
        let outcome =
            self.executor.call(&self.env(self.height + 1), &request, &self.state, &Default::default()).unwrap();
        assert_eq!(outcome.end, basalt_execution::CallEnd::Success, "{signature}");
        outcome.output
    }

    /// Proof that a key signed two blocks.
    pub fn equivocation(&self, kind: basalt_primitives::system::evidence::Step, offender: u8) -> Equivocation {
        let mut e = Equivocation {
            kind,
            key: public(offender),
            height: Height(7),
            round: basalt_primitives::Round(1),
            blocks: [B256::repeat_byte(1), B256::repeat_byte(2)],
            signatures: [basalt_primitives::Signature([0; 64]); 2],
        };
        for i in 0..2 {
            let bytes = e.signed_bytes(hash(0), e.blocks[i]);
            e.signatures[i] = key(offender).sign(bytes.as_slice());
        }
        e
    }
}

/// A word of an answer.
pub fn word(answer: &[u8], index: usize) -> U256 {
    U256::from_be_slice(&answer[32 * index..32 * (index + 1)])
}

/// The text of `Error(string)`.
pub fn reason(data: &[u8]) -> String {
    if data.len() < 68 || data[..4] != [0x08, 0xc3, 0x79, 0xa0] {
        return format!("no reason: {}", alloy_primitives::hex::encode(data));
    }
    let length: usize = word(&data[4..], 1).to();
    String::from_utf8_lossy(&data[68..][..length.min(data.len() - 68)]).into_owned()
}
