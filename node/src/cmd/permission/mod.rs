//! `basalt permission`: who may join and act on a permissioned network, and how that is changed by vote.

mod act;
mod args;
mod invite;
mod show;

use std::path::PathBuf;

use basalt_primitives::Address;
use clap::Subcommand;

use super::validator::{Node, Signer};
use args::{End, NodeEntry};

#[derive(Debug, Subcommand)]
pub(super) enum PermissionCommand {
    /// Say who decides, how accounts are judged, who is on the lists, and what is proposed.
    ///
    /// Example: basalt permission status
    Status {
        #[command(flatten)]
        node: Node,
    },
    /// Nodes that may connect.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Organisations that nodes and accounts belong to.
    #[command(subcommand)]
    Org(OrgCommand),
    /// Accounts and what they may do.
    #[command(subcommand)]
    Account(AccountCommand),
    Invite(invite::InviteArgs),
    /// Approve a proposal. With the last approval it takes effect, from the next block on.
    ///
    /// Example: basalt permission approve 1 --key nodes/node1/validator.key
    Approve {
        /// Number of the proposal.
        id: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Take one's own proposal back.
    ///
    /// Example: basalt permission withdraw 1 --key nodes/node0/validator.key
    Withdraw {
        /// Number of the proposal.
        id: u64,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List the nodes.
    ///
    /// Example: basalt permission node list
    List {
        #[command(flatten)]
        node: Node,
    },
    /// Propose to admit a node, or to change its entry.
    ///
    /// Example: basalt permission node add 12D3KooW… --role full --name acme-1 --key nodes/node0/validator.key
    Add {
        #[command(flatten)]
        entry: NodeEntry,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose to remove a node. A removed one is forgotten by the same command.
    ///
    /// Example: basalt permission node remove acme-1 --key nodes/node0/validator.key
    Remove {
        /// Which: its name, peer id, public key or key file.
        who: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OrgCommand {
    /// List the organisations.
    ///
    /// Example: basalt permission org list
    List {
        #[command(flatten)]
        node: Node,
    },
    /// Propose an organisation, or a new end for it.
    ///
    /// Example: basalt permission org add ACME --valid-for 365d --key nodes/node0/validator.key
    Add {
        /// Its name, at most 32 bytes.
        name: String,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose to suspend an organisation: its nodes are not admitted and its accounts may do nothing until it is added again.
    ///
    /// Example: basalt permission org suspend ACME --key nodes/node0/validator.key
    Suspend {
        /// Its name.
        name: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// List the accounts.
    ///
    /// Example: basalt permission account list
    List {
        #[command(flatten)]
        node: Node,
    },
    /// Propose to list an account with these rights, or to change them.
    ///
    /// Example: basalt permission account set 0x… --rights call,transfer --key nodes/node0/validator.key
    Set {
        /// The account.
        account: Address,
        /// Of deploy, call (any contract), transfer, administer; or none.
        #[arg(long)]
        rights: String,
        /// The organisation it belongs to.
        #[arg(long)]
        organisation: Option<String>,
        #[command(flatten)]
        end: End,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose that an account may do nothing.
    ///
    /// Example: basalt permission account block 0x… --key nodes/node0/validator.key
    Block {
        /// The account.
        account: Address,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose to take an account off the list.
    ///
    /// Example: basalt permission account remove 0x… --key nodes/node0/validator.key
    Remove {
        /// The account.
        account: Address,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose that an account may call one contract, whatever its rights.
    ///
    /// Example: basalt permission account allow-call 0x… 0x… --key nodes/node0/validator.key
    AllowCall {
        /// The account.
        account: Address,
        /// The contract.
        contract: Address,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose that an account may no more call a contract by name.
    ///
    /// Example: basalt permission account deny-call 0x… 0x… --key nodes/node0/validator.key
    DenyCall {
        /// The account.
        account: Address,
        /// The contract.
        contract: Address,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
    /// Propose how accounts are judged: open (not at all), deny (all but those that are listed may do everything) or allow
    /// (only those that are listed may do anything).
    ///
    /// Example: basalt permission account mode allow --key nodes/node0/validator.key
    Mode {
        /// The mode.
        mode: String,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: Node,
    },
}

pub(super) fn run(command: PermissionCommand) -> anyhow::Result<()> {
    use PermissionCommand as C;
    super::block_on(async {
        match command {
            C::Status { node } => show::status(&node).await,
            C::Node(c) => run_node(c).await,
            C::Org(c) => run_org(c).await,
            C::Account(c) => run_account(c).await,
            C::Invite(args) => invite::run(&args).await,
            C::Approve { id, signer, node } => act::approve(&node, &signer, id).await,
            C::Withdraw { id, signer, node } => act::withdraw(&node, &signer, id).await,
        }
    })?
}

async fn run_node(command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::List { node } => show::nodes(&node).await,
        NodeCommand::Add { entry, signer, node } => act::add_node(&node, &signer, &entry).await,
        NodeCommand::Remove { who, signer, node } => act::remove_node(&node, &signer, &who).await,
    }
}

async fn run_org(command: OrgCommand) -> anyhow::Result<()> {
    match command {
        OrgCommand::List { node } => show::organisations(&node).await,
        OrgCommand::Add { name, end, signer, node } => act::organisation(&node, &signer, &name, false, &end).await,
        OrgCommand::Suspend { name, signer, node } => {
            act::organisation(&node, &signer, &name, true, &End::default()).await
        }
    }
}

async fn run_account(command: AccountCommand) -> anyhow::Result<()> {
    use AccountCommand as C;
    match command {
        C::List { node } => show::accounts(&node).await,
        C::Set { account, rights, organisation, end, signer, node } => {
            act::set_account(&node, &signer, account, &rights, organisation.as_deref(), &end).await
        }
        C::Block { account, signer, node } => act::block_account(&node, &signer, account).await,
        C::Remove { account, signer, node } => act::remove_account(&node, &signer, account).await,
        C::AllowCall { account, contract, signer, node } => {
            act::set_call(&node, &signer, account, contract, true).await
        }
        C::DenyCall { account, contract, signer, node } => {
            act::set_call(&node, &signer, account, contract, false).await
        }
        C::Mode { mode, signer, node } => act::set_mode(&node, &signer, &mode).await,
    }
}

/// A key file, if that is what a text names.
fn file_of(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    path.is_file().then_some(path)
}
