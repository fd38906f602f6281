//! The chain that is simulated, and what its clients do on it.

use std::collections::BTreeMap;

use basalt_bft::sim::test_params;
use basalt_primitives::{
    Address, Bytes, ChainSpec, HashFn, Height, SecretKey, U256, Validator,
    chainspec::{BftParams, Consensus, EvmFork, Fees, GenesisAccount, GenesisValidator},
    tx::NativeTx,
};

/// A contract that counts its calls in slot 0: `SSTORE(0, SLOAD(0) + 1)`.
pub const COUNTER: Address = Address::repeat_byte(0xc0);
const COUNTER_CODE: &[u8] = &[0x60, 0x00, 0x54, 0x60, 0x01, 0x01, 0x60, 0x00, 0x55, 0x00];
/// What each client has at genesis.
const FUNDS: u128 = 10u128.pow(24);

/// The chain of a run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its rules.
    pub spec: ChainSpec,
    /// The validators' keys, by index.
    pub keys: Vec<SecretKey>,
    /// One client per node.
    pub clients: Vec<SecretKey>,
}

impl Setup {
    /// A chain of this many equal validators; its parameters are drawn from the seed.
    pub fn new(seed: u64, validators: usize) -> Self {
        let key = |kind: u8, i: usize| {
            let mut bytes = [kind; 32];
            bytes[0] = u8::try_from(i).expect("few nodes");
            SecretKey::from_bytes(&bytes)
        };
        let mut keys: Vec<SecretKey> = (0..validators).map(|i| key(0xa1, i)).collect();
        // The set orders validators by itself; node i runs the key of validator i.
        let spec = Self::spec(seed, &keys, &[]);
        let set = spec.validator_set().expect("a sound set");
        keys.sort_by_key(|k| set.index_of(&k.public_key()));
        let clients: Vec<SecretKey> = (0..validators).map(|i| key(0xc1, i)).collect();
        let spec = Self::spec(seed, &keys, &clients);
        spec.check().expect("a sound chain");
        Self { spec, keys, clients }
    }

    fn spec(seed: u64, keys: &[SecretKey], clients: &[SecretKey]) -> ChainSpec {
        let mixed = seed / 7;
        let params = BftParams {
            block_interval_ms: [0, 50, 200][(mixed % 3) as usize],
            empty_block_ms: [None, Some(1_500)][(mixed / 3 % 2) as usize],
            ..test_params()
        };
        let fees = [Fees::Zero, Fees::Eip1559 { initial_base_fee: 1_000_000_000, min_base_fee: 7 }];
        let account = |balance, code| GenesisAccount { balance, code, ..Default::default() };
        let mut alloc: BTreeMap<Address, GenesisAccount> =
            clients.iter().map(|k| (k.public_key().address(), account(U256::from(FUNDS), Bytes::new()))).collect();
        alloc.insert(COUNTER, account(U256::ZERO, Bytes::from_static(COUNTER_CODE)));
        let validator = |(i, key): (usize, &SecretKey)| GenesisValidator {
            name: format!("node{i}"),
            validator: Validator { public_key: key.public_key(), power: 1 },
        };
        ChainSpec {
            name: "simulated".into(),
            chain_id: 7,
            genesis_time_ms: 1_700_000_000_000,
            hash_fn: [HashFn::Sha256, HashFn::Blake3][(mixed / 6 % 2) as usize],
            development: false,
            consensus: Consensus::Pbft(params),
            gas_limit: 30_000_000,
            max_block_bytes: 1 << 20,
            essential: Default::default(),
            fees: fees[(mixed / 12 % 2) as usize].clone(),
            forks: BTreeMap::from([(Height::GENESIS, EvmFork::Osaka)]),
            validators: keys.iter().enumerate().map(validator).collect(),
            alloc,
        }
    }

    /// The client's transaction with this nonce, encoded: mostly transfers to the next client, some calls of the counter.
    pub fn transaction(&self, client: usize, nonce: u64) -> Bytes {
        let call = nonce % 4 == 3;
        let next = self.clients[(client + 1) % self.clients.len()].public_key().address();
        let tx = NativeTx {
            chain_id: self.spec.chain_id,
            nonce,
            valid_from: Height::GENESIS,
            valid_until: None,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: u128::from(nonce % 3),
            gas_limit: if call { 100_000 } else { 21_000 },
            to: Some(if call { COUNTER } else { next }),
            value: U256::from(if call { 0 } else { 1 + nonce }),
            input: Bytes::new(),
            level: Default::default(),
            payload: None,
        };
        basalt_proto::tx::encode_native(&tx.sign(&self.clients[client]))
    }

    /// Every account that can hold anything.
    pub fn accounts(&self) -> Vec<Address> {
        let keys = self.keys.iter().chain(&self.clients).map(|k| k.public_key().address());
        keys.chain([COUNTER]).collect()
    }

    /// Everything there is at genesis.
    pub fn supply(&self) -> U256 {
        self.spec.alloc.values().map(|a| a.balance).fold(U256::ZERO, |a, b| a + b)
    }
}
