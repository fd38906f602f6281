//! The network spec: the TOML from which `basalt network create` makes a network.

use std::collections::{BTreeMap, BTreeSet};

use basalt_primitives::{
    Address, HashFn, Height, PowParams, U256, WorkHash,
    chainspec::{BftParams, Consensus, DevParams, EvmFork, Fees, GenesisAccount},
};
use serde::{Deserialize, Serialize};

use super::permission::PermissionSpec;

/// A network as its owner describes it. Everything has a default but the chain id of a network that is not `dev`, which is
/// drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// Name of the network.
    pub name: String,
    /// EIP-155 chain id; drawn at random when absent, 31337 for a development network.
    pub chain_id: Option<u64>,
    /// Development network: known funded accounts, plain keys, RPC open on loopback.
    pub dev: bool,
    /// Hash function of blocks, native transactions and hash trees.
    pub hash: HashFn,
    /// EVM rules from genesis on.
    pub evm: EvmFork,
    /// Newer EVM rules from later heights on: height to rules.
    pub forks: BTreeMap<Height, EvmFork>,
    /// Nodes.
    pub nodes: Nodes,
    /// Consensus.
    pub consensus: ConsensusSpec,
    /// Block size.
    pub block: BlockSpec,
    /// Fees.
    pub fees: FeeSpec,
    /// Accounts funded at genesis: address to balance in wei (decimal or 0x).
    pub accounts: BTreeMap<Address, U256>,
    /// Accounts whose transactions keep their way when the network is crowded.
    pub essential: BTreeSet<Address>,
    /// Who may join and act, where the network is permissioned.
    pub permission: PermissionSpec,
}

/// The nodes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nodes {
    /// Validators.
    pub validators: u16,
    /// Full nodes that follow without voting.
    pub followers: u16,
    /// Host names by node, when they run on different hosts or containers; else all on loopback with ports counted up.
    pub hosts: Vec<String>,
    /// Account that is given the rewards of the blocks these nodes find, under proof of work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<Address>,
    /// Address to listen on; 127.0.0.1 without `hosts`.
    pub listen: Option<std::net::IpAddr>,
    /// First P2P port (node i: + i, unless `hosts` are named).
    pub p2p_port: u16,
    /// First RPC port.
    pub rpc_port: u16,
    /// First metrics port.
    pub metrics_port: u16,
}

/// Consensus algorithm and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusSpec {
    /// `pbft`, `pow`, or `dev`: one node that makes blocks on demand, with the methods of test nodes.
    pub engine: String,
    /// Block interval in milliseconds; 0: propose at once (`pbft`), or when a transaction comes (`dev`). `pow`: what the difficulty
    /// aims at, at least 1000.
    pub block_interval_ms: u64,
    /// First round's timeout.
    pub round_timeout_ms: u64,
    /// Most any round waits.
    pub round_timeout_cap_ms: u64,
    /// `"never"`, or milliseconds without transactions before an empty block.
    pub empty_blocks: EmptyBlocks,
    /// How far ahead of a validator's clock a block may be.
    pub clock_tolerance_ms: u64,
    /// What only `pow` has.
    #[serde(skip_serializing_if = "PowSpec::is_default")]
    pub pow: PowSpec,
}

/// Proof of work (ADR-0026).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PowSpec {
    /// What miners hash: `sha256d`, `keccak256` or `blake3`.
    pub hash: WorkHash,
    /// Hashes that block 1 takes on average; no later block is easier than a hundredth of it.
    pub difficulty: u64,
    /// How far off the schedule the chain must be for the difficulty to double or halve; 360 intervals unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life_ms: Option<u64>,
    /// How far ahead of a node's clock a block may be; one and a half intervals unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub future_drift_ms: Option<u64>,
    /// Blocks below the head after which nothing is taken back without an operator's word.
    pub finality_depth: u64,
    /// Blocks below the head after which a block is called safe.
    pub safe_depth: u64,
    /// Reward of a block in wei (decimal or 0x).
    pub reward: U256,
}

impl Default for PowSpec {
    fn default() -> Self {
        Self {
            hash: WorkHash::Sha256d,
            difficulty: 10_000_000,
            half_life_ms: None,
            future_drift_ms: None,
            finality_depth: 64,
            safe_depth: 12,
            reward: U256::from(2_000_000_000_000_000_000u64),
        }
    }
}

impl PowSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The chain's parameters, at an interval.
    fn params(&self, interval: u64) -> PowParams {
        let target = |difficulty: u64| U256::MAX / U256::from(difficulty.max(1));
        PowParams {
            work_hash: self.hash,
            block_interval_ms: interval,
            half_life_ms: self.half_life_ms.unwrap_or(interval.saturating_mul(360)),
            initial_target: target(self.difficulty),
            max_target: target(self.difficulty / 100),
            future_drift_ms: self.future_drift_ms.unwrap_or(interval.saturating_mul(3) / 2),
            finality_depth: self.finality_depth,
            safe_depth: self.safe_depth,
            block_reward: self.reward,
        }
    }
}

/// When empty blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EmptyBlocks {
    /// After this many milliseconds without transactions.
    AfterMs(u64),
    /// `"never"`.
    Named(Never),
}

/// The word `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Never {
    /// No empty blocks.
    Never,
}

/// Block size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlockSpec {
    /// Most gas.
    pub gas_limit: u64,
    /// Most bytes of transactions.
    pub max_bytes: u64,
}

/// Fees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeeSpec {
    /// Gas costs nothing. Development networks have EIP-1559 fees unless this is set.
    pub zero: Option<bool>,
    /// Base fee of block 1, in wei.
    pub initial_base_fee: u64,
    /// Least base fee, in wei.
    pub min_base_fee: u64,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            name: "basalt".into(),
            chain_id: None,
            dev: false,
            hash: HashFn::Sha256,
            evm: EvmFork::Osaka,
            forks: BTreeMap::new(),
            nodes: Nodes::default(),
            consensus: ConsensusSpec::default(),
            block: BlockSpec::default(),
            fees: FeeSpec::default(),
            accounts: BTreeMap::new(),
            essential: BTreeSet::new(),
            permission: PermissionSpec::default(),
        }
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            validators: 4,
            followers: 0,
            hosts: Vec::new(),
            beneficiary: None,
            listen: None,
            p2p_port: 30303,
            rpc_port: 8545,
            metrics_port: 9545,
        }
    }
}

impl Default for ConsensusSpec {
    fn default() -> Self {
        Self {
            engine: "pbft".into(),
            block_interval_ms: 1000,
            round_timeout_ms: 1000,
            round_timeout_cap_ms: 8000,
            empty_blocks: EmptyBlocks::AfterMs(10_000),
            clock_tolerance_ms: 2000,
            pow: PowSpec::default(),
        }
    }
}

impl Default for BlockSpec {
    fn default() -> Self {
        Self { gas_limit: 200_000_000, max_bytes: 4 * 1024 * 1024 }
    }
}

impl Default for FeeSpec {
    fn default() -> Self {
        Self { zero: None, initial_base_fee: 1_000_000_000, min_base_fee: 1_000_000 }
    }
}

/// A spec that makes no network; the text names the key and the mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("network spec `{key}` {problem}")]
pub struct NetworkSpecError {
    key: &'static str,
    problem: String,
}

impl NetworkSpec {
    /// Checks what the chain specification cannot check by itself.
    pub fn check(&self) -> Result<(), NetworkSpecError> {
        let fail = |key, problem: String| Err(NetworkSpecError { key, problem });
        if self.consensus.engine != "pbft" && !self.is_devnet() && !self.is_pow() {
            let problem = format!("is `{}`; this version runs `pbft`, `pow` and `dev`", self.consensus.engine);
            return fail("consensus.engine", problem);
        }
        if self.is_devnet() && (self.nodes.validators, self.nodes.followers) != (1, 0) {
            return fail("nodes", "must be one validator where consensus.engine is `dev`; use `pbft` for more".into());
        }
        if self.nodes.validators == 0 || self.nodes.validators > 256 {
            return fail("nodes.validators", "must be between 1 and 256".into());
        }
        if let Err((key, problem)) = self.permission.check(self.is_devnet()) {
            return fail(key, problem);
        }
        if self.is_pow() && self.consensus.pow.difficulty == 0 {
            return fail("consensus.pow.difficulty", "must be at least 1: hashes that block 1 takes on average".into());
        }
        if self.is_pow() && self.nodes.beneficiary.is_none() && !self.dev {
            let problem = "is missing; name the account that is given the rewards, or use --beneficiary".into();
            return fail("nodes.beneficiary", problem);
        }
        if !self.is_pow() && (self.nodes.beneficiary.is_some() || !self.consensus.pow.is_default()) {
            return fail(
                "consensus.engine",
                "must be `pow` where `nodes.beneficiary` or `consensus.pow` is set".into(),
            );
        }
        if self.forks.contains_key(&Height::GENESIS) {
            return fail("forks", "names height 0; the rules from genesis on are `evm`".into());
        }
        let total = usize::from(self.nodes.validators) + usize::from(self.nodes.followers);
        if !self.nodes.hosts.is_empty() && self.nodes.hosts.len() != total {
            return fail("nodes.hosts", format!("names {} hosts for {total} nodes", self.nodes.hosts.len()));
        }
        let last = |port: u16| usize::from(port) + total <= usize::from(u16::MAX);
        if self.nodes.hosts.is_empty()
            && ![self.nodes.p2p_port, self.nodes.rpc_port, self.nodes.metrics_port].into_iter().all(last)
        {
            return fail("nodes", "has ports beyond 65535; choose lower first ports".into());
        }
        Ok(())
    }

    /// A development network.
    #[must_use]
    pub fn devnet() -> Self {
        let nodes = Nodes { validators: 1, ..Nodes::default() };
        let consensus = ConsensusSpec { engine: "dev".into(), block_interval_ms: 0, ..ConsensusSpec::default() };
        Self { dev: true, nodes, consensus, ..Self::default() }
    }

    /// Whether it is a development network: its blocks are made on demand.
    #[must_use]
    pub fn is_devnet(&self) -> bool {
        self.consensus.engine == "dev"
    }

    /// Whether work makes its blocks.
    #[must_use]
    pub fn is_pow(&self) -> bool {
        self.consensus.engine == "pow"
    }

    /// The consensus part of the chain specification.
    #[must_use]
    pub fn consensus(&self) -> Consensus {
        let c = &self.consensus;
        if self.is_devnet() {
            return Consensus::Dev(DevParams { block_interval_ms: Some(c.block_interval_ms).filter(|ms| *ms > 0) });
        }
        if self.is_pow() {
            return Consensus::Pow(c.pow.params(c.block_interval_ms));
        }
        Consensus::Pbft(BftParams {
            block_interval_ms: c.block_interval_ms,
            round_timeout_ms: c.round_timeout_ms,
            round_timeout_cap_ms: c.round_timeout_cap_ms,
            empty_block_ms: match c.empty_blocks {
                EmptyBlocks::AfterMs(ms) => Some(ms),
                EmptyBlocks::Named(Never::Never) => None,
            },
            clock_tolerance_ms: c.clock_tolerance_ms,
        })
    }

    /// The fee part: zero unless it is a development network, one that strangers use (`pow`), or the spec says otherwise.
    #[must_use]
    pub fn fees(&self) -> Fees {
        if self.fees.zero.unwrap_or(!self.dev && !self.is_pow()) {
            Fees::Zero
        } else {
            Fees::Eip1559 { initial_base_fee: self.fees.initial_base_fee, min_base_fee: self.fees.min_base_fee }
        }
    }

    /// Accounts at genesis: those of the spec, and the well-known ones of a development network.
    #[must_use]
    pub fn alloc(&self) -> BTreeMap<Address, GenesisAccount> {
        let dev = if self.dev { crate::keys::dev::accounts() } else { Vec::new() };
        let funded = dev.into_iter().map(|a| (a.address, crate::keys::dev::BALANCE));
        funded
            .chain(self.accounts.iter().map(|(a, b)| (*a, *b)))
            .map(|(a, balance)| (a, GenesisAccount { balance, ..GenesisAccount::default() }))
            .collect()
    }

    /// EVM rules by height.
    #[must_use]
    pub fn forks(&self) -> BTreeMap<Height, EvmFork> {
        let later = self.forks.iter().map(|(height, fork)| (*height, *fork));
        later.chain([(Height::GENESIS, self.evm)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pow(text: &str) -> NetworkSpec {
        toml::from_str(&format!("consensus.engine = 'pow'\n{text}")).expect("a spec")
    }

    #[test]
    fn a_network_of_proof_of_work_says_who_is_paid() {
        let problem = pow("").check().expect_err("nobody").to_string();
        assert!(problem.contains("nodes.beneficiary") && problem.contains("--beneficiary"), "{problem}");
        let named =
            "nodes.beneficiary = '0x00000000000000000000000000000000000000aa'\nconsensus.block_interval_ms = 10000";
        let spec = pow(named);
        spec.check().expect("complete");
        assert_ne!(spec.fees(), Fees::Zero, "strangers pay");
        let Consensus::Pow(p) = spec.consensus() else { panic!("another engine") };
        p.check().expect("sound");
        assert_eq!((p.block_interval_ms, p.half_life_ms, p.future_drift_ms), (10_000, 3_600_000, 15_000));
        assert_eq!(p.initial_target, U256::MAX / U256::from(10_000_000));
        assert_eq!(p.max_target, U256::MAX / U256::from(100_000));
        pow("dev = true").check().expect("a development network pays the first of its accounts");
    }

    #[test]
    fn what_only_proof_of_work_has_is_refused_elsewhere() {
        for text in ["consensus.pow.difficulty = 7", "nodes.beneficiary = '0x00000000000000000000000000000000000000aa'"]
        {
            let spec: NetworkSpec = toml::from_str(text).expect("a spec");
            assert!(spec.check().expect_err("no pow").to_string().contains("must be `pow`"), "{text}");
        }
        let spec: NetworkSpec = toml::from_str("consensus.engine = 'pos'").expect("a spec");
        assert!(spec.check().expect_err("unknown").to_string().contains("`pbft`, `pow` and `dev`"));
        assert!(pow("dev = true\nconsensus.pow.difficulty = 0").check().is_err());
    }
}
