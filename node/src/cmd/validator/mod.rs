//! `basalt validator`: who votes, and how that is changed by vote.

mod act;
mod init;
mod reset_record;
mod send;
mod set_override;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use send::send_to;
pub(super) use show::text;

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorCommand {
    /// List the validators.
    ///
    /// Example: basalt validator list --rpc http://127.0.0.1:8545
    List {
        /// Those of this height; without it, of the newest block.
        #[arg(long)]
        height: Option<u64>,
        #[command(flatten)]
        node: Node,
    },
    /// List proposals to change the validators: who has approved, what is missing, what became of them.
    ///
    /// Example: basalt validator proposals
    Proposals {
        #[command(flatten)]
        node: Node,
    },
    /// Say how many validators take part, how many may fail, and what waits for whom.
    ///
    /// Example: basalt validator status
    Status {
        #[command(flatten)]
        node: Node,
    },
    /// Propose a new validator. Its node must be running with that key, or the change will be refused.
    ///
    /// Example: basalt validator propose-add new/validator.key --name node4 --key nodes/node0/validator.key
    ProposeAdd {
        /// The new validator's public key: hex, or its key file.
        new: String,
        /// Its name, at most 32 bytes.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose that a validator leaves.
    ///
    /// Example: basalt validator propose-remove node3 --key nodes/node0/validator.key
    ProposeRemove {
        /// Which: its name, address, index, public key or key file.
        who: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose a new key for a validator, which keeps its place and name.
    ///
    /// Example: basalt validator propose-replace node3 new/validator.key --key nodes/node0/validator.key
    ProposeReplace {
        /// Which: its name, address, index, public key or key file.
        old: String,
        /// The new public key: hex, or its key file. Its node must be running with it.
        new: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Approve a proposal. When it has its approvals, wait and say whether it was applied, and from which height.
    ///
    /// Example: basalt validator approve 1 --key nodes/node1/validator.key
    Approve {
        /// Number of the proposal.
        id: u64,
        /// Send it even if the chain would refuse the change.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Take one's own proposal back.
    ///
    /// Example: basalt validator withdraw 1 --key nodes/node0/validator.key
    Withdraw {
        /// Number of the proposal.
        id: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Make a key and the first sign record for a new validator, beside an existing node. `basalt node` never does.
    ///
    /// Example: basalt validator init --config nodes/node4/node.toml
    Init(init::InitArgs),
    /// Let a validator that lost its sign record vote again when too few others can answer. Audited.
    ResetRecord(reset_record::ResetRecordArgs),
    /// Restart a chain of which more validators are gone for good than a vote can do without. Audited.
    #[command(subcommand)]
    Override(set_override::OverrideCommand),
}

/// The node that is asked.
#[derive(Debug, Args)]
pub(in crate::cmd) struct Node {
    /// The node's RPC.
    #[arg(long, default_value = "http://127.0.0.1:8545", env = "BASALT_RPC")]
    pub(in crate::cmd) rpc: String,
    /// Print JSON.
    #[arg(long)]
    pub(in crate::cmd) json: bool,
}

/// Whose vote it is.
#[derive(Debug, Args)]
pub(in crate::cmd) struct Signer {
    /// Key file of the validator that signs.
    #[arg(long)]
    key: PathBuf,
    /// File whose first line is the key's passphrase; else BASALT_PASSPHRASE.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(command: ValidatorCommand) -> anyhow::Result<()> {
    use ValidatorCommand as C;
    super::block_on(async {
        match command {
            C::List { height, node } => show::list(&node, height).await,
            C::Proposals { node } => show::proposals(&node).await,
            C::Status { node } => show::status(&node).await,
            C::ProposeAdd { new, name, signer, node } => act::propose_add(&node, &signer, &new, &name).await,
            C::ProposeRemove { who, signer, node } => act::propose_remove(&node, &signer, &who).await,
            C::ProposeReplace { old, new, signer, node } => act::propose_replace(&node, &signer, &old, &new).await,
            C::Approve { id, force, signer, node } => act::approve(&node, &signer, id, force).await,
            C::Withdraw { id, signer, node } => act::withdraw(&node, &signer, id).await,
            C::Init(args) => init::run(&args),
            C::ResetRecord(args) => reset_record::run(args),
            C::Override(command) => set_override::run(command),
        }
    })?
}
