//! The contract as it stands in a genesis.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};

use super::{
    Authority, LIFETIME, Mode, Node, Organisation, Rights, Rule, Until, code,
    read::{self, first_of, mapped_address, mapped_word},
    slot,
};
use crate::{
    ChainSpec, PublicKey,
    chainspec::{GenesisAccount, SpecError},
    system::{PERMISSION, validators::name_word},
};

/// What a permissioned network begins with. Entries have no `since`, and no node is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisPermission {
    /// Who decides.
    pub authority: Authority,
    /// More than this part of them decides; 0: a quorum as of the consensus.
    pub percent: u8,
    /// How accounts are judged.
    pub mode: Mode,
    /// Nodes that may connect.
    pub nodes: Vec<Node>,
    /// Organisations.
    pub organisations: Vec<Organisation>,
    /// Accounts and their rules.
    pub accounts: Vec<(Address, Rule)>,
}

impl GenesisPermission {
    /// Puts the contract into a genesis.
    #[must_use]
    pub fn put_into(&self, mut spec: ChainSpec) -> ChainSpec {
        spec.alloc.insert(PERMISSION, genesis_account(self));
        spec
    }

    /// What a genesis begins with; `None`: it is of no permissioned network.
    pub fn of(spec: &ChainSpec) -> Result<Option<Self>, SpecError> {
        let Some(account) = spec.alloc.get(&PERMISSION) else { return Ok(None) };
        let refuse = |problem: String| SpecError::Field { field: "alloc", problem };
        let found = Self::read(account).map_err(|what| {
            refuse(format!("holds, at {PERMISSION}, a permission contract with {what}; make the network with `basalt network create --permissioned`"))
        })?;
        if genesis_account(&found) != *account {
            return Err(refuse(format!(
                "must hold, at {PERMISSION}, the permission contract of this software; make the network with `basalt network \
                 create --permissioned`, and change no entry by hand"
            )));
        }
        if found.authority == Authority::Administrators && found.administrators().next().is_none() {
            return Err(refuse("names no administrator, and administrators decide about permissions".into()));
        }
        Ok(Some(found))
    }

    fn read(account: &GenesisAccount) -> Result<Self, String> {
        let slot = |slot: U256| -> Result<U256, std::convert::Infallible> {
            Ok(account.storage.get(&B256::from(slot)).map_or(U256::ZERO, |v| (*v).into()))
        };
        let fail = |e: super::super::validators::ReadError<std::convert::Infallible>| match e {
            super::super::validators::ReadError::Damaged(what) => what.to_owned(),
            super::super::validators::ReadError::State(never) => match never {},
        };
        let settings = read::settings(slot).map_err(fail)?;
        Ok(Self {
            authority: settings.authority,
            percent: settings.percent,
            mode: settings.mode,
            nodes: read::nodes(slot).map_err(fail)?,
            organisations: read::organisations(slot).map_err(fail)?,
            accounts: read::accounts(slot, 0, u64::MAX).map_err(fail)?,
        })
    }

    fn administrators(&self) -> impl Iterator<Item = Address> {
        self.accounts.iter().filter(|(_, r)| r.rights.has(Rights::ADMINISTER)).map(|(a, _)| *a)
    }
}

#[derive(Default)]
struct Storage(BTreeMap<B256, B256>);

impl Storage {
    fn put(&mut self, slot: U256, value: U256) {
        if !value.is_zero() {
            self.0.insert(slot.into(), value.into());
        }
    }

    fn list(&mut self, slot: u64, items: impl Iterator<Item = U256>) {
        let mut count = 0u64;
        for item in items {
            self.put(first_of(slot) + U256::from(count), item);
            count += 1;
        }
        self.put(U256::from(slot), U256::from(count));
    }
}

/// `since` is 0 in genesis; the ends stand behind it.
fn ends(until: Until, at: usize) -> U256 {
    (U256::from(until.height) << (8 * at)) | (U256::from(until.time_s) << (8 * (at + 8)))
}

fn word(b: Option<B256>) -> U256 {
    b.unwrap_or_default().into()
}

fn key(k: &PublicKey) -> U256 {
    U256::from_be_bytes(k.0)
}

fn account(a: Address) -> U256 {
    U256::from_be_slice(a.as_slice())
}

/// The contract as it stands in a genesis.
#[must_use]
pub fn genesis_account(g: &GenesisPermission) -> GenesisAccount {
    let mut s = Storage::default();
    s.put(U256::from(slot::AUTHORITY), U256::from(g.authority as u8));
    s.put(U256::from(slot::PERCENT), U256::from(g.percent));
    s.put(U256::from(slot::MODE), U256::from(g.mode as u8));
    s.put(U256::from(slot::LIFETIME), U256::from(LIFETIME));
    s.list(slot::NODE_KEYS, g.nodes.iter().map(|n| key(&n.key)));
    for n in &g.nodes {
        let base = mapped_word(slot::NODES, n.key.0.into());
        s.put(base, U256::from(n.role as u8) | U256::from(0x100) | ends(n.until, 10));
        s.put(base + U256::from(1), word(n.organisation));
        s.put(base + U256::from(2), n.validator.as_ref().map_or(U256::ZERO, key));
        s.put(base + U256::from(3), name_word(&n.name).into());
    }
    s.list(slot::ORGANISATION_NAMES, g.organisations.iter().map(|o| o.name.into()));
    for o in &g.organisations {
        let status = U256::from(1 + u8::from(o.suspended));
        s.put(mapped_word(slot::ORGANISATIONS, o.name), status | ends(o.until, 9));
    }
    s.list(slot::ACCOUNTS, g.accounts.iter().map(|(a, _)| account(*a)));
    for (a, r) in &g.accounts {
        let base = mapped_address(slot::RULES, *a);
        let flags = U256::from(0x100) | U256::from(if r.blocked { 0x200 } else { 0 });
        s.put(base, U256::from(r.rights.0) | flags | ends(r.until, 10));
        s.put(base + U256::from(1), word(r.organisation));
    }
    s.list(slot::ADMINISTRATORS, g.administrators().map(account));
    GenesisAccount { nonce: 1, code: code().clone(), storage: s.0, ..GenesisAccount::default() }
}
