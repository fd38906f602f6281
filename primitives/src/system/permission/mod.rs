//! Who may join a private network and what its accounts may do: the storage of `contracts/system/Permission.sol`, read
//! without the EVM (ADR-0030).
//!
//! In: a function that reads a slot. Out: settings, nodes, organisations, rules of accounts, proposals ([`read`]), and the
//! judgement of what a transaction needs ([`judge`]). The layout is the contract's; a test compares it with what the compiler
//! says. A network is permissioned if its genesis has the contract.

pub mod calls;
mod genesis;
pub mod judge;
pub mod read;

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, Bytes, U256};
pub use genesis::{GenesisPermission, genesis_account};
pub use judge::{Denied, Missing};

use crate::{Height, PublicKey};

/// Slots of the contract's variables.
pub mod slot {
    /// Another after every change of accounts, organisations or the mode.
    pub const ACCOUNT_STAMP: u64 = 0;
    /// Another after every change of nodes or organisations.
    pub const NODE_STAMP: u64 = 1;
    /// Who decides.
    pub const AUTHORITY: u64 = 2;
    /// More than this part of them decides.
    pub const PERCENT: u64 = 3;
    /// How accounts are judged.
    pub const MODE: u64 = 4;
    /// Blocks after which an open proposal expires.
    pub const LIFETIME: u64 = 5;
    /// Keys of nodes.
    pub const NODE_KEYS: u64 = 6;
    /// Nodes by key.
    pub const NODES: u64 = 7;
    /// Names of organisations.
    pub const ORGANISATION_NAMES: u64 = 8;
    /// Organisations by name.
    pub const ORGANISATIONS: u64 = 9;
    /// Accounts that were ever listed.
    pub const ACCOUNTS: u64 = 10;
    /// Rules by account.
    pub const RULES: u64 = 11;
    /// Contracts that an account may call beside its rights.
    pub const CALLS: u64 = 12;
    /// Accounts that may administer.
    pub const ADMINISTRATORS: u64 = 13;
    /// Proposals made so far.
    pub const PROPOSAL_COUNT: u64 = 14;
    /// Proposals by id, from 1.
    pub const PROPOSALS: u64 = 15;
    /// Ids of open proposals.
    pub const OPEN: u64 = 16;
}

/// Blocks after which an open proposal expires, on chains made by this software.
pub const LIFETIME: u64 = 100_000;

/// The contract's code.
#[must_use]
pub fn code() -> &'static Bytes {
    static CODE: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    CODE.get_or_init(|| {
        let text = include_str!("../../../../contracts/artefacts/Permission.hex");
        hex::decode(text.trim()).expect("the artefact is hex").into()
    })
}

/// Who decides about permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The validators of the newest set.
    Validators = 0,
    /// The accounts with the right to administer.
    Administrators = 1,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validators => "validators",
            Self::Administrators => "administrators",
        })
    }
}

/// How accounts are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are not.
    #[default]
    OpenToAll = 0,
    /// Accounts that are not listed may do everything.
    DenyList = 1,
    /// Accounts that are not listed may do nothing.
    AllowList = 2,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenToAll => "open",
            Self::DenyList => "deny",
            Self::AllowList => "allow",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::OpenToAll),
            "deny" => Ok(Self::DenyList),
            "allow" => Ok(Self::AllowList),
            _ => Err(format!("`{text}` is no mode of accounts; choose open, deny or allow")),
        }
    }
}

/// What a node may do on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Follows, submits, relays, and speaks for a validator.
    Validator = 1,
    /// Follows, submits and relays.
    Full = 2,
    /// Follows: blocks only, no transactions in either direction.
    Observer = 3,
    /// Follows, and submits transactions; no other node asks it for blocks.
    Gateway = 4,
}

impl Role {
    /// The role of a number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Validator),
            2 => Some(Self::Full),
            3 => Some(Self::Observer),
            4 => Some(Self::Gateway),
            _ => None,
        }
    }

    /// Whether transactions that are in no block yet are taken from it and sent to it.
    #[must_use]
    pub const fn gossips(self) -> bool {
        !matches!(self, Self::Observer)
    }

    /// Whether others ask it for blocks and believe that it has them.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Validator | Self::Full)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validator => "validator",
            Self::Full => "full",
            Self::Observer => "observer",
            Self::Gateway => "gateway",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "validator" => Ok(Self::Validator),
            "full" => Ok(Self::Full),
            "observer" => Ok(Self::Observer),
            "gateway" => Ok(Self::Gateway),
            _ => Err(format!("`{text}` is no role of a node; choose validator, full, observer or gateway")),
        }
    }
}

/// What an account may do, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(pub u8);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Deploy contracts, and delegate itself to one (EIP-7702).
    pub const DEPLOY: Self = Self(1);
    /// Call any contract.
    pub const CALL: Self = Self(2);
    /// Send value.
    pub const TRANSFER: Self = Self(4);
    /// Vote about permissions, where administrators do.
    pub const ADMINISTER: Self = Self(8);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::DEPLOY, "deploy"),
        (Self::CALL, "call"),
        (Self::TRANSFER, "transfer"),
        (Self::ADMINISTER, "administer"),
    ];

    /// Whether all of these are among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Self::NAMES.iter().filter(|(right, _)| self.has(*right)).map(|(_, name)| *name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl FromStr for Rights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rights = Self::NONE;
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty() && *w != "none") {
            let found = Self::NAMES.iter().find(|(_, name)| *name == word);
            let (right, _) = found.ok_or_else(|| {
                format!("`{word}` is no right; choose of deploy, call, transfer, administer, or none")
            })?;
            rights = rights.with(*right);
        }
        Ok(rights)
    }
}

/// A point of a chain: what ends are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// A block's height.
    pub height: Height,
    /// Seconds since 1970.
    pub time_s: u64,
}

/// The last moment at which an entry holds; zeros: without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// The last height; 0: none.
    pub height: u64,
    /// The last second since 1970; 0: none.
    pub time_s: u64,
}

impl Until {
    /// Whether the end has not passed.
    #[must_use]
    pub const fn holds(&self, now: Moment) -> bool {
        (self.height == 0 || now.height.0 <= self.height) && (self.time_s == 0 || now.time_s <= self.time_s)
    }

    fn pack(self, low: u8, flags: u8) -> U256 {
        U256::from(low) | (U256::from(flags) << 8) | (U256::from(self.height) << 64) | (U256::from(self.time_s) << 128)
    }
}

/// Settings of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who decides.
    pub authority: Authority,
    /// More than this part of them decides; 0: a quorum as of the consensus.
    pub percent: u8,
    /// How accounts are judged.
    pub mode: Mode,
    /// Blocks after which an open proposal expires.
    pub lifetime: u64,
}

impl Settings {
    /// Votes of a group of `n` that decide.
    #[must_use]
    pub const fn needed(&self, n: u64) -> u64 {
        let n1 = n.saturating_sub(1);
        if self.percent == 0 {
            return (n + n1 / 3) / 2 + 1;
        }
        let more = n * self.percent as u64 / 100 + 1;
        if more < n { more } else { n }
    }
}

/// A node's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its Ed25519 key: who it is on the network.
    pub key: PublicKey,
    /// What it may do.
    pub role: Role,
    /// Taken off the list. It stays connected as long as the validator it speaks for is in the present or next set.
    pub removed: bool,
    /// Height of the last change.
    pub since: Height,
    /// Until when.
    pub until: Until,
    /// Whose it is.
    pub organisation: Option<B256>,
    /// The consensus key it speaks for.
    pub validator: Option<PublicKey>,
    /// For people.
    pub name: String,
}

/// An organisation's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its name, as the contract stores it.
    pub name: B256,
    /// Its nodes are not admitted and its accounts may do nothing.
    pub suspended: bool,
    /// Height of the last change.
    pub since: Height,
    /// Until when.
    pub until: Until,
}

impl Organisation {
    /// Whether its nodes and accounts may do what their entries say.
    #[must_use]
    pub const fn holds(&self, now: Moment) -> bool {
        !self.suspended && self.until.holds(now)
    }
}

/// An account's rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it may do.
    pub rights: Rights,
    /// Whether it is listed at all.
    pub listed: bool,
    /// May do nothing.
    pub blocked: bool,
    /// Height of the last change.
    pub since: Height,
    /// Until when.
    pub until: Until,
    /// Whose it is.
    pub organisation: Option<B256>,
}

/// What a proposal would do, as its five words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which kind: a number of [`calls`].
    pub kind: u8,
    /// Whom it concerns.
    pub subject: B256,
    /// Small numbers, packed.
    pub a: U256,
    /// See the contract.
    pub b: B256,
    /// See the contract.
    pub c: B256,
    /// See the contract.
    pub d: B256,
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for approvals.
    Open = 1,
    /// Took place.
    Applied = 2,
    /// Taken back by its proposer.
    Withdrawn = 3,
    /// Found no majority in time.
    Expired = 4,
    /// Approved, but another change had made it meaningless.
    Overtaken = 5,
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its number.
    pub id: u64,
    /// What it would do.
    pub change: Change,
    /// Where it stands; an expired one may still be stored as open.
    pub status: Status,
    /// Height at which it was made.
    pub opened: Height,
    /// Height at which it ended.
    pub decided: Option<Height>,
    /// Who made it.
    pub proposer: Address,
    /// Who has approved.
    pub approvers: Vec<Address>,
}
