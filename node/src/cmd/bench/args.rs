//! The benchmark's flags, and the plan they make.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use basalt_primitives::HashFn;
use clap::{Args, ValueEnum};

use super::local::LocalSpec;
use crate::{
    bench::{Account, Method, Mode, Plan, Read, ReadPlan, Target, Workload, workload},
    keys::{self, Passphrase, dev},
};

/// Transactions under way per node in a closed loop.
const IN_FLIGHT_PER_NODE: usize = 5_000;

/// Which nodes.
#[derive(Debug, Args)]
pub(super) struct NetworkArgs {
    /// Make a network, run it, and remove it when done.
    #[arg(long, required_unless_present_any = ["network", "rpc"], conflicts_with_all = ["network", "rpc"])]
    pub local: bool,
    /// Validators of the --local network.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Block interval of the --local network; 0: propose at once.
    #[arg(long, default_value_t = 200)]
    pub block_interval_ms: u64,
    /// Where the --local network and the files that measure the disk lie for the time of the run; the system's folder for
    /// temporary files if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Folder of a running network, for its nodes' addresses.
    #[arg(long, conflicts_with = "rpc")]
    pub network: Option<PathBuf>,
    /// RPC addresses of running nodes, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub rpc: Vec<String>,
}

/// What is sent, and how.
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// native, ethereum, erc20, contended, record or mixed.
    #[arg(long, default_value = "native", conflicts_with = "script")]
    workload: String,
    /// Your own workload: a TOML file of contracts and calls (docs/performance.md shows one).
    #[arg(long)]
    script: Option<PathBuf>,
    /// Bytes of each data record of the workload record, up to 65536.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    payload: u32,
    /// How long is measured, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How long load is offered before, in seconds.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Accounts that send.
    #[arg(long, default_value_t = 4000)]
    senders: usize,
    /// Most transactions in one request.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Most transactions signed beforehand, without --rate.
    #[arg(long, default_value_t = 200_000)]
    max_transactions: usize,
    /// Most transactions accepted and not final, without --rate; 5000 per node if not given.
    #[arg(long)]
    in_flight: Option<usize>,
    /// Live WebSocket subscriptions to the first node while it is measured, half to heads, half to logs.
    #[arg(long, default_value_t = 0)]
    subscriptions: usize,
    /// How transactions are handed in: basalt (many in one call) or ethereum (batches of eth_sendRawTransaction).
    #[arg(long, default_value = "basalt")]
    method: MethodArg,
    /// Key file of a funded account; without one, a development network's native account 0.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Pay with this Ethereum development account, 0 to 9, instead.
    #[arg(long, conflicts_with = "key", value_parser = clap::value_parser!(u8).range(0..10))]
    ethereum_dev_account: Option<u8>,
    /// File whose first line is the key's passphrase; else BASALT_PASSPHRASE.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// The chain's hash function, for transaction hashes.
    #[arg(long, default_value = "sha256", value_parser = hash_fn)]
    hash: HashFn,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodArg {
    Basalt,
    Ethereum,
}

/// How results are told.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write the JSON to this file too.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write a report with the curve of latency over throughput to this file.
    #[arg(long)]
    pub html: Option<PathBuf>,
}

fn hash_fn(name: &str) -> Result<HashFn, String> {
    let all = [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3];
    all.into_iter().find(|h| h.name() == name).ok_or_else(|| "use sha256, keccak256 or blake3".to_owned())
}

impl NetworkArgs {
    /// The folder for files of the run.
    pub fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// What the `--local` network is like.
    pub fn local_spec(&self, load: &LoadArgs) -> LocalSpec {
        LocalSpec { nodes: self.nodes, block_interval_ms: self.block_interval_ms, hash: load.hash.name() }
    }
}

impl LoadArgs {
    /// The plan for these nodes; `rate` is the open loop's.
    pub fn plan(&self, nodes: Vec<Target>, rate: Option<u64>) -> anyhow::Result<Plan> {
        let in_flight = self.in_flight.unwrap_or(IN_FLIGHT_PER_NODE * nodes.len());
        Ok(Plan {
            nodes,
            funder: self.funder()?,
            workload: self.workload()?,
            mode: rate.map_or(Mode::Saturate { in_flight }, Mode::Rate),
            method: match self.method {
                MethodArg::Basalt => Method::Basalt,
                MethodArg::Ethereum => Method::Ethereum,
            },
            seconds: self.seconds,
            warm_up: self.warm_up,
            max_transactions: self.max_transactions,
            senders: self.senders,
            batch: self.batch,
            hash_fn: self.hash,
            subscriptions: self.subscriptions,
        })
    }

    /// Checked before a network is made.
    pub fn workload(&self) -> anyhow::Result<Workload> {
        if let Some(path) = &self.script {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let dir = path.parent().unwrap_or(std::path::Path::new("."));
            return workload::parse_script(&text, dir).with_context(|| format!("{}", path.display()));
        }
        let options = workload::Options { payload: self.payload as usize };
        workload::built_in(&self.workload, options).with_context(|| {
            let all: Vec<String> = workload::NAMES.iter().map(|(n, what)| format!("  {n:<10} {what}")).collect();
            format!("there is no workload `{}`; there are\n{}", self.workload, all.join("\n"))
        })
    }

    fn funder(&self) -> anyhow::Result<Account> {
        if let Some(number) = self.ethereum_dev_account {
            return dev_account(number);
        }
        Ok(Account::Native(match &self.key {
            Some(path) => keys::load(path, Passphrase::find(self.passphrase_file.as_deref())?.as_ref())?,
            None => dev::native_key(0),
        }))
    }
}

/// One of the accounts that every development network funds, also those of other programs.
fn dev_account(number: u8) -> anyhow::Result<Account> {
    let account = &dev::accounts()[usize::from(number)];
    let mut bytes = [0; 32];
    hex::decode_to_slice(account.private_key.trim_start_matches("0x"), &mut bytes)?;
    Ok(Account::Ethereum(secp256k1::SecretKey::from_byte_array(bytes)?))
}

/// What is read, and how.
#[derive(Debug, Args)]
pub(in crate::cmd) struct ReadsArgs {
    /// RPC address of the node; of a development network, basalt's or another.
    #[arg(long)]
    rpc: String,
    /// eth_getBalance or eth_call (balanceOf of a token deployed for it).
    #[arg(long, default_value = "eth_call")]
    read: Read,
    /// Calls under way at once, at most.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Open loop: so many calls per second, whatever the node does.
    #[arg(long)]
    rate: Option<u64>,
    /// How long is measured, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long is asked before, in seconds.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// Pay for the token with this Ethereum development account, 0 to 9.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..10))]
    ethereum_dev_account: u8,
    /// The chain's hash function.
    #[arg(long, default_value = "sha256", value_parser = hash_fn)]
    hash: HashFn,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl ReadsArgs {
    pub fn plan(&self) -> anyhow::Result<ReadPlan> {
        Ok(ReadPlan {
            rpc: self.rpc.clone(),
            read: self.read,
            funder: dev_account(self.ethereum_dev_account)?,
            hash_fn: self.hash,
            connections: self.connections,
            rate: self.rate,
            seconds: self.seconds,
            warm_up: self.warm_up,
        })
    }
}

/// A rate is for an open loop; `--saturate` says the default aloud.
#[derive(Debug, Args)]
pub(super) struct ModeArgs {
    /// Open loop: so many transactions per second, whatever the nodes do.
    #[arg(long, conflicts_with = "saturate")]
    pub rate: Option<u64>,
    /// Closed loop: as many as are taken (this is what happens without --rate).
    #[arg(long)]
    pub saturate: bool,
    /// Repeat so often and report the run of median throughput; a --local network is made anew each time.
    #[arg(long, default_value_t = 1)]
    pub repeat: usize,
}

impl ModeArgs {
    pub fn check(&self) -> anyhow::Result<()> {
        if self.repeat == 0 || self.repeat > 9 {
            bail!("--repeat must be between 1 and 9");
        }
        Ok(())
    }
}
