//! The chain specification: every rule that all nodes of a network must agree on. It is `genesis.json`, it is hashed
//! into the genesis block, and nothing in it may be changed locally. What a node may choose for itself is `NodeConfig`.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::{
    Block, HashFn, Header, Height, Millis, PowParams, Round, Seal, SealedBlock, Validator, ValidatorSet,
    block::MAX_TRANSACTION_BYTES,
    header::{HEADER_VERSION, MAX_TIMESTAMP_MS},
    layout::Layout,
    merkle,
    validators::SetError,
};

/// Everything a network agrees on before its first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChainSpec {
    /// Name of the network, for people; 1 to 64 characters.
    pub name: String,
    /// EIP-155 chain id; not 0.
    pub chain_id: u64,
    /// Time of the genesis block, in milliseconds since the Unix epoch.
    pub genesis_time_ms: Millis,
    /// Hash function of blocks, native transactions and hash trees.
    pub hash_fn: HashFn,
    /// Whether this chain is for development: known accounts, plain keys. The methods that bend its rules (impersonate,
    /// mine, set balance) exist only where `consensus.engine` is `dev` as well.
    pub development: bool,
    /// Consensus family and its parameters.
    pub consensus: Consensus,
    /// Most gas of one block.
    pub gas_limit: u64,
    /// Most bytes of one block's transactions.
    pub max_block_bytes: u64,
    /// Fee rules.
    pub fees: Fees,
    /// EVM rules by height: the fork in force from each height on. Has an entry for height 0.
    pub forks: BTreeMap<Height, EvmFork>,
    /// The validators of the first blocks. Empty under proof of work.
    pub validators: Vec<GenesisValidator>,
    /// Accounts at genesis.
    pub alloc: BTreeMap<Address, GenesisAccount>,
    /// Senders whose transactions are essential: each lane has its share of the mempool and of a block, and theirs comes before
    /// all others' but the validators' own. It says what a proposer prefers, and is no rule of validity.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub essential: BTreeSet<Address>,
}

/// Most essential senders: a class that many belong to has priority over nobody.
pub const MAX_ESSENTIAL: usize = 1024;

/// The consensus family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "engine")]
pub enum Consensus {
    /// PBFT-style with equal votes.
    #[serde(rename = "pbft", rename_all = "camelCase")]
    Pbft(BftParams),
    /// One node without peers that makes blocks on demand and takes them back, for tests of contracts (ADR-0022).
    #[serde(rename = "dev", rename_all = "camelCase")]
    Dev(DevParams),
    /// Proof of work: anybody who finds a seal makes a block (ADR-0026).
    #[serde(rename = "pow", rename_all = "camelCase")]
    Pow(PowParams),
}

/// Longest interval between blocks of a development chain: a day.
const MAX_DEV_INTERVAL_MS: Millis = 86_400_000;

/// Parameters of a development chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DevParams {
    /// Milliseconds between blocks at the start; `None`: a block at once when a transaction comes. Methods change it.
    pub block_interval_ms: Option<Millis>,
}

/// What would describe a chain without votes to those who explain consensus: nothing is waited for.
const NO_VOTES: BftParams = BftParams {
    block_interval_ms: 0,
    round_timeout_ms: 1_000,
    round_timeout_cap_ms: 1_000,
    empty_block_ms: None,
    clock_tolerance_ms: 0,
};

/// Parameters of the BFT engine. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BftParams {
    /// Least time between the timestamps of two blocks; 0: propose at once.
    pub block_interval_ms: Millis,
    /// Timeout of round 0 of a height, counted from when the proposal is due; later rounds double it up to the cap.
    pub round_timeout_ms: Millis,
    /// No round waits longer than this.
    pub round_timeout_cap_ms: Millis,
    /// How long without transactions before an empty block is proposed; 0: empty blocks at every interval;
    /// `None`: never. Blocks that certify results are proposed whatever this says.
    pub empty_block_ms: Option<Millis>,
    /// How far a block's timestamp may be ahead of a validator's clock.
    pub clock_tolerance_ms: Millis,
}

/// Fee rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", from = "FeesJson")]
pub enum Fees {
    /// Gas costs nothing: base fee 0 for ever, any gas price from 0 is accepted.
    #[serde(rename = "zero")]
    Zero,
    /// EIP-1559 with elasticity 2 and denominator 8; the base fee is burnt.
    #[serde(rename = "eip1559", rename_all = "camelCase")]
    Eip1559 {
        /// Base fee of block 1, in wei.
        initial_base_fee: u64,
        /// The base fee never falls below this, in wei.
        min_base_fee: u64,
    },
}

/// [`Fees`] as they are read: serde ignores unknown keys beside the tag of a unit variant, but not of an empty one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "kind")]
enum FeesJson {
    #[serde(rename = "zero")]
    Zero {},
    #[serde(rename = "eip1559", rename_all = "camelCase")]
    Eip1559 { initial_base_fee: u64, min_base_fee: u64 },
}

impl From<FeesJson> for Fees {
    fn from(json: FeesJson) -> Self {
        match json {
            FeesJson::Zero {} => Self::Zero,
            FeesJson::Eip1559 { initial_base_fee, min_base_fee } => Self::Eip1559 { initial_base_fee, min_base_fee },
        }
    }
}

/// EVM rule sets a chain can start with or switch to. The numbers are hashed: a new fork gets the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvmFork {
    /// March 2023.
    Shanghai = 0,
    /// March 2024.
    Cancun = 1,
    /// May 2025.
    Prague = 2,
    /// December 2025.
    Osaka = 3,
}

/// A validator named in genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GenesisValidator {
    /// For people.
    pub name: String,
    /// Key and power.
    #[serde(flatten)]
    pub validator: Validator,
}

/// An account at genesis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GenesisAccount {
    /// Wei.
    pub balance: U256,
    /// Nonce.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nonce: u64,
    /// Contract code.
    #[serde(default, skip_serializing_if = "no_bytes")]
    pub code: Bytes,
    /// Storage slots; zero values are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<B256, B256>,
}

fn no_bytes(b: &Bytes) -> bool {
    b.is_empty()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why a chain specification was refused; the text names the field and the mend.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not JSON of a chain specification.
    #[error("genesis is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// The validator set.
    #[error("genesis `validators`: {0}")]
    Validators(#[from] SetError),
    /// A field out of its range.
    #[error("genesis `{field}`: {problem}")]
    Field {
        /// JSON name of the field.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

fn refuse(field: &'static str, problem: &str) -> Result<(), SpecError> {
    Err(SpecError::Field { field, problem: problem.to_owned() })
}

impl ChainSpec {
    /// Reads and checks `genesis.json`.
    pub fn from_json(json: &str) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_str(json)?;
        spec.check()?;
        Ok(spec)
    }

    /// Writes `genesis.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// Checks every field's range.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.name.is_empty() || self.name.chars().count() > 64 {
            return refuse("name", "must have 1 to 64 characters");
        }
        if self.chain_id == 0 {
            return refuse("chainId", "must not be 0");
        }
        if self.genesis_time_ms > MAX_TIMESTAMP_MS {
            return refuse("genesisTimeMs", "must be milliseconds since 1970 and below 2^48");
        }
        if self.gas_limit < 1_000_000 || self.gas_limit > 1 << 40 {
            return refuse("gasLimit", "must be between 1,000,000 and 2^40");
        }
        if self.max_block_bytes < 256 * 1024 || self.max_block_bytes > MAX_TRANSACTION_BYTES as u64 {
            return refuse("maxBlockBytes", "must be between 256 KiB and 16 MiB");
        }
        if matches!(self.fees, Fees::Eip1559 { initial_base_fee, min_base_fee } if initial_base_fee < min_base_fee) {
            return refuse("fees", "initialBaseFee must not be below minBaseFee");
        }
        if self.essential.len() > MAX_ESSENTIAL {
            return refuse("essential", "must name at most 1024 accounts");
        }
        self.check_forks()?;
        self.check_alloc()?;
        self.check_consensus()?;
        self.validator_set()?;
        Ok(())
    }

    fn check_forks(&self) -> Result<(), SpecError> {
        if !self.forks.contains_key(&Height::GENESIS) {
            return refuse("forks", "must name the EVM fork of height 0, for example {\"0\": \"osaka\"}");
        }
        if !self.forks.values().is_sorted() {
            return refuse("forks", "must not go back to an older fork");
        }
        Ok(())
    }

    fn check_alloc(&self) -> Result<(), SpecError> {
        if self.alloc.values().any(|a| a.storage.values().any(|v| v.is_zero())) {
            return refuse("alloc", "storage slots must not hold zero; leave them out");
        }
        if self.alloc.values().any(|a| !a.storage.is_empty() && a.nonce == 0 && a.code.is_empty()) {
            return refuse("alloc", "an account with storage needs code or a nonce above 0 (EIP-7610)");
        }
        let total = self.alloc.values().try_fold(U256::ZERO, |sum, a| sum.checked_add(a.balance));
        if total.is_none() {
            return refuse("alloc", "balances must sum to less than 2^256 wei");
        }
        Ok(())
    }

    fn check_consensus(&self) -> Result<(), SpecError> {
        if self.validators.iter().any(|v| v.validator.power != 1) {
            return refuse("validators", "must all have power 1: votes are equal");
        }
        let p = match &self.consensus {
            Consensus::Pbft(p) => p,
            Consensus::Dev(p) => return self.check_dev(p),
            Consensus::Pow(p) => return self.check_pow(p),
        };
        if p.round_timeout_ms < 50 || p.round_timeout_ms > p.round_timeout_cap_ms {
            return refuse("consensus.roundTimeoutMs", "must be at least 50 and at most roundTimeoutCapMs");
        }
        if p.round_timeout_cap_ms > 60_000 {
            return refuse(
                "consensus.roundTimeoutCapMs",
                "must be at most 60000, so that no network waits longer than a minute",
            );
        }
        if p.block_interval_ms > 60_000 {
            return refuse("consensus.blockIntervalMs", "must be at most 60000");
        }
        if p.clock_tolerance_ms > 60_000 {
            return refuse("consensus.clockToleranceMs", "must be at most 60000");
        }
        Ok(())
    }

    fn check_dev(&self, p: &DevParams) -> Result<(), SpecError> {
        if !self.development {
            return refuse("development", "must be true where consensus.engine is `dev`");
        }
        if self.validators.len() != 1 {
            return refuse("validators", "must name exactly one where consensus.engine is `dev`");
        }
        if p.block_interval_ms.is_some_and(|ms| ms == 0 || ms > MAX_DEV_INTERVAL_MS) {
            return refuse("consensus.blockIntervalMs", "must be null or between 1 and 86400000");
        }
        Ok(())
    }

    fn check_pow(&self, p: &PowParams) -> Result<(), SpecError> {
        p.check().map_err(|e| SpecError::Field { field: e.field, problem: e.allowed.to_owned() })?;
        if !self.validators.is_empty() {
            return refuse("validators", "must be empty where consensus.engine is `pow`: nobody votes");
        }
        Ok(())
    }

    /// Parameters of proof of work, where that is what makes the blocks.
    #[must_use]
    pub const fn pow(&self) -> Option<&PowParams> {
        match &self.consensus {
            Consensus::Pow(p) => Some(p),
            Consensus::Pbft(_) | Consensus::Dev(_) => None,
        }
    }

    /// Name of the consensus family, as in `consensus.engine`.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        match &self.consensus {
            Consensus::Pbft(_) => "pbft",
            Consensus::Dev(_) => "dev",
            Consensus::Pow(_) => "pow",
        }
    }

    /// Whether this is a chain whose rules bend: development methods exist, and so do the transactions they make.
    #[must_use]
    pub const fn is_devnet(&self) -> bool {
        matches!(self.consensus, Consensus::Dev(_))
    }

    /// The validators of the first blocks; none under proof of work.
    pub fn validator_set(&self) -> Result<ValidatorSet, SetError> {
        if self.pow().is_some() && self.validators.is_empty() {
            return Ok(ValidatorSet::none());
        }
        ValidatorSet::new(self.validators.iter().map(|v| v.validator.clone()).collect())
    }

    /// Parameters of the BFT engine. For chains that have none, those of one that waits for nothing.
    #[must_use]
    pub const fn bft(&self) -> &BftParams {
        match &self.consensus {
            Consensus::Pbft(p) => p,
            Consensus::Dev(_) | Consensus::Pow(_) => &NO_VOTES,
        }
    }

    /// The EVM fork in force at a height.
    #[must_use]
    pub fn fork_at(&self, height: Height) -> EvmFork {
        *self.forks.range(..=height).next_back().expect("height 0 is checked to be there").1
    }

    /// The base fee of the block after one with these values.
    #[must_use]
    pub fn next_base_fee(&self, height: Height, base_fee: u64, gas_used: u64, gas_limit: u64) -> u64 {
        match self.fees {
            Fees::Zero => 0,
            Fees::Eip1559 { initial_base_fee, .. } if height == Height::GENESIS => initial_base_fee,
            Fees::Eip1559 { min_base_fee, .. } => eip1559(base_fee, gas_used, gas_limit).max(min_base_fee),
        }
    }

    /// The hash of every rule, in the fixed layout; the genesis block's parent hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.hash_fn.of(&self.layout())
    }

    /// The genesis block, made from nothing but this specification.
    #[must_use]
    pub fn genesis_block(&self) -> SealedBlock {
        let set = self.validator_set().expect("checked");
        let header = Header {
            version: HEADER_VERSION,
            chain_id: self.chain_id,
            height: Height::GENESIS,
            timestamp_ms: self.genesis_time_ms,
            parent_hash: self.hash(),
            transactions_root: merkle::root(self.hash_fn, &[]),
            parent_state_root: B256::ZERO,
            parent_receipts_root: B256::ZERO,
            parent_gas_used: 0,
            gas_limit: self.gas_limit,
            base_fee: self.next_base_fee(Height::GENESIS, 0, 0, self.gas_limit),
            proposer: Address::ZERO,
            first_round: Round::ZERO,
            next_validators_hash: set.hash(self.hash_fn),
            last_certificate_hash: B256::ZERO,
            seal: Seal::None,
        };
        SealedBlock::new(Block { header, last_certificate: None, transactions: Vec::new() }, self.hash_fn)
    }

    fn layout(&self) -> Layout {
        let mut l = Layout::new("basalt/chain-spec/v1");
        l.bytes(self.name.as_bytes())
            .u64(self.chain_id)
            .u64(self.genesis_time_ms)
            .u8(self.hash_fn.code())
            .u8(self.development.into());
        self.consensus.write(&mut l);
        l.u64(self.gas_limit).u64(self.max_block_bytes);
        match self.fees {
            Fees::Zero => l.u8(0),
            Fees::Eip1559 { initial_base_fee, min_base_fee } => l.u8(1).u64(initial_base_fee).u64(min_base_fee),
        };
        l.len(self.forks.len());
        for (height, fork) in &self.forks {
            l.u64(height.0).u8(*fork as u8);
        }
        l.len(self.validators.len());
        for v in &self.validators {
            l.bytes(v.name.as_bytes()).fixed(&v.validator.public_key.0).u64(v.validator.power);
        }
        l.len(self.alloc.len());
        for (address, a) in &self.alloc {
            l.fixed(&address.0.0)
                .fixed(&a.balance.to_be_bytes::<32>())
                .u64(a.nonce)
                .bytes(&a.code)
                .len(a.storage.len());
            for (slot, value) in &a.storage {
                l.fixed(&slot.0).fixed(&value.0);
            }
        }
        if !self.essential.is_empty() {
            // Only where there are any, so that the hash of chains without them stays as it was. What stands before is of known
            // length, so no two specifications have the same bytes.
            l.len(self.essential.len());
            self.essential.iter().for_each(|a| {
                l.fixed(&a.0.0);
            });
        }
        l
    }
}

impl Consensus {
    fn write(&self, l: &mut Layout) {
        let option = |l: &mut Layout, ms: Option<Millis>| {
            l.option(ms, |l, v| {
                l.u64(v);
            });
        };
        match self {
            Self::Pbft(p) => {
                l.u8(1).u64(p.block_interval_ms).u64(p.round_timeout_ms).u64(p.round_timeout_cap_ms);
                option(l, p.empty_block_ms);
                l.u64(p.clock_tolerance_ms);
            }
            Self::Dev(p) => {
                l.u8(2);
                option(l, p.block_interval_ms);
            }
            Self::Pow(p) => {
                l.u8(3)
                    .u8(p.work_hash.code())
                    .u64(p.block_interval_ms)
                    .u64(p.half_life_ms)
                    .fixed(&p.initial_target.to_be_bytes::<32>())
                    .fixed(&p.max_target.to_be_bytes::<32>())
                    .u64(p.future_drift_ms)
                    .u64(p.finality_depth)
                    .u64(p.safe_depth)
                    .fixed(&p.block_reward.to_be_bytes::<32>());
            }
        }
    }
}

/// EIP-1559 with elasticity 2 and denominator 8.
fn eip1559(base_fee: u64, gas_used: u64, gas_limit: u64) -> u64 {
    let target = (gas_limit / 2).max(1);
    let delta = |gap: u64| u128::from(base_fee) * u128::from(gap) / u128::from(target) / 8;
    let fee = if gas_used > target {
        u128::from(base_fee) + delta(gas_used - target).max(1)
    } else {
        u128::from(base_fee) - delta(target - gas_used)
    };
    u64::try_from(fee).unwrap_or(u64::MAX)
}
