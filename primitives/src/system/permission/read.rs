//! Reads the contract's storage.

use alloy_primitives::{Address, B256, U256, keccak256};

use super::{Authority, Change, Mode, Node, Organisation, Proposal, Rights, Role, Rule, Settings, Status, Until, slot};
use crate::{
    Height, PublicKey,
    system::validators::{ReadError, ReadSlot, list_base, mapped},
};

/// Most list elements read, so that damage cannot make a reader run for ever.
const MAX_LIST: u64 = 1 << 20;

fn damaged<T, E>(what: &'static str) -> Result<T, ReadError<E>> {
    Err(ReadError::Damaged(what))
}

fn word<E>(read: &mut impl ReadSlot<E>, slot: U256) -> Result<U256, ReadError<E>> {
    read(slot).map_err(ReadError::State)
}

/// `N` bytes of a word, counted from its low end as Solidity packs them.
fn packed<const N: usize>(word: U256, offset: usize) -> u64 {
    let bytes = word.to_le_bytes::<32>();
    (0..N).rev().fold(0, |all, i| (all << 8) | u64::from(bytes[offset + i]))
}

fn byte(word: U256, offset: usize) -> u8 {
    packed::<1>(word, offset) as u8
}

/// The slot of a mapping's value by address.
#[must_use]
pub fn mapped_address(slot: u64, key: Address) -> U256 {
    mapped(slot, U256::from_be_slice(key.as_slice()))
}

/// The slot of a mapping's value by a word.
#[must_use]
pub fn mapped_word(slot: u64, key: B256) -> U256 {
    mapped(slot, key.into())
}

fn address(word: U256) -> Address {
    Address::from_slice(&word.to_be_bytes::<32>()[12..])
}

fn optional(word: U256) -> Option<B256> {
    (!word.is_zero()).then(|| word.into())
}

/// A name, with nothing in it that could speak to a terminal.
#[must_use]
pub fn name_of(word: B256) -> String {
    let text = String::from_utf8_lossy(&word.0).into_owned();
    text.trim_end_matches('\0').chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn list<E>(read: &mut impl ReadSlot<E>, length_slot: U256, skip: u64, most: u64) -> Result<Vec<U256>, ReadError<E>> {
    let length = u64::try_from(word(read, length_slot)?).ok().filter(|n| *n <= MAX_LIST);
    let Some(length) = length else { return damaged("a list without end") };
    let base: U256 = keccak256(length_slot.to_be_bytes::<32>()).into();
    (skip..length.min(skip.saturating_add(most))).map(|i| word(read, base + U256::from(i))).collect()
}

fn whole<E>(read: &mut impl ReadSlot<E>, slot: u64) -> Result<Vec<U256>, ReadError<E>> {
    list(read, U256::from(slot), 0, u64::MAX)
}

/// The settings.
pub fn settings<E>(mut read: impl ReadSlot<E>) -> Result<Settings, ReadError<E>> {
    let mut small = |slot: u64| -> Result<u64, ReadError<E>> {
        u64::try_from(word(&mut read, U256::from(slot))?).or_else(|_| damaged("a setting out of range"))
    };
    Ok(Settings {
        authority: match small(slot::AUTHORITY)? {
            0 => Authority::Validators,
            1 => Authority::Administrators,
            _ => return damaged("an unknown authority"),
        },
        percent: u8::try_from(small(slot::PERCENT)?).or_else(|_| damaged("a share above 100 percent"))?,
        mode: match small(slot::MODE)? {
            0 => Mode::OpenToAll,
            1 => Mode::DenyList,
            2 => Mode::AllowList,
            _ => return damaged("an unknown mode"),
        },
        lifetime: small(slot::LIFETIME)?,
    })
}

/// One node's entry; `None`: its key is not on the list.
pub fn node<E>(mut read: impl ReadSlot<E>, key: &PublicKey) -> Result<Option<Node>, ReadError<E>> {
    let base = mapped_word(slot::NODES, key.0.into());
    let head = word(&mut read, base)?;
    if head.is_zero() {
        return Ok(None);
    }
    let Some(role) = Role::from_code(byte(head, 0)) else { return damaged("an unknown role") };
    let mut part = |n: u64| word(&mut read, base + U256::from(n));
    Ok(Some(Node {
        key: *key,
        role,
        removed: byte(head, 1) == 2,
        since: Height(packed::<8>(head, 2)),
        until: Until { height: packed::<8>(head, 10), time_s: packed::<8>(head, 18) },
        organisation: optional(part(1)?),
        validator: optional(part(2)?).map(|k| PublicKey(k.0)),
        name: name_of(part(3)?.into()),
    }))
}

/// Every node's entry, removed ones too.
pub fn nodes<E>(mut read: impl ReadSlot<E>) -> Result<Vec<Node>, ReadError<E>> {
    let keys = whole(&mut read, slot::NODE_KEYS)?;
    let found = keys.into_iter().map(|key| node(&mut read, &PublicKey(key.to_be_bytes())));
    found.filter_map(Result::transpose).collect()
}

/// One organisation's entry.
pub fn organisation<E>(mut read: impl ReadSlot<E>, name: B256) -> Result<Option<Organisation>, ReadError<E>> {
    let head = word(&mut read, mapped_word(slot::ORGANISATIONS, name))?;
    if head.is_zero() {
        return Ok(None);
    }
    Ok(Some(Organisation {
        name,
        suspended: byte(head, 0) != 1,
        since: Height(packed::<8>(head, 1)),
        until: Until { height: packed::<8>(head, 9), time_s: packed::<8>(head, 17) },
    }))
}

/// Every organisation's entry.
pub fn organisations<E>(mut read: impl ReadSlot<E>) -> Result<Vec<Organisation>, ReadError<E>> {
    let names = whole(&mut read, slot::ORGANISATION_NAMES)?;
    names.into_iter().filter_map(|name| organisation(&mut read, name.into()).transpose()).collect()
}

/// One account's rule.
pub fn rule<E>(mut read: impl ReadSlot<E>, account: Address) -> Result<Rule, ReadError<E>> {
    let base = mapped_address(slot::RULES, account);
    let head = word(&mut read, base)?;
    let flags = byte(head, 1);
    if flags == 0 {
        return Ok(Rule::default());
    }
    Ok(Rule {
        rights: Rights(byte(head, 0)),
        listed: true,
        blocked: flags & 2 != 0,
        since: Height(packed::<8>(head, 2)),
        until: Until { height: packed::<8>(head, 10), time_s: packed::<8>(head, 18) },
        organisation: optional(word(&mut read, base + U256::from(1))?),
    })
}

/// Contracts that an account may call beside its rights.
pub fn calls<E>(mut read: impl ReadSlot<E>, account: Address) -> Result<Vec<Address>, ReadError<E>> {
    let words = list(&mut read, mapped_address(slot::CALLS, account), 0, u64::MAX)?;
    Ok(words.into_iter().map(address).collect())
}

/// Listed accounts and their rules, from the `skip`-th that was ever listed on, `most` at the most.
pub fn accounts<E>(mut read: impl ReadSlot<E>, skip: u64, most: u64) -> Result<Vec<(Address, Rule)>, ReadError<E>> {
    let found = list(&mut read, U256::from(slot::ACCOUNTS), skip, most)?.into_iter().map(address);
    let rules = found.map(|a| Ok((a, rule(&mut read, a)?)));
    Ok(rules.collect::<Result<Vec<_>, ReadError<E>>>()?.into_iter().filter(|(_, r)| r.listed).collect())
}

/// Accounts that may administer.
pub fn administrators<E>(mut read: impl ReadSlot<E>) -> Result<Vec<Address>, ReadError<E>> {
    Ok(whole(&mut read, slot::ADMINISTRATORS)?.into_iter().map(address).collect())
}

/// How many proposals there have been: the newest id.
pub fn proposal_count<E>(mut read: impl ReadSlot<E>) -> Result<u64, ReadError<E>> {
    Ok(packed::<8>(word(&mut read, U256::from(slot::PROPOSAL_COUNT))?, 0))
}

/// Ids of open proposals, oldest first.
pub fn open_ids<E>(mut read: impl ReadSlot<E>) -> Result<Vec<u64>, ReadError<E>> {
    Ok(whole(&mut read, slot::OPEN)?.into_iter().map(|id| packed::<8>(id, 0)).collect())
}

/// A proposal; `None`: no such id.
pub fn proposal<E>(mut read: impl ReadSlot<E>, id: u64) -> Result<Option<Proposal>, ReadError<E>> {
    let base = mapped(slot::PROPOSALS, U256::from(id));
    let mut words = [U256::ZERO; 7];
    for (i, w) in words.iter_mut().enumerate() {
        *w = word(&mut read, base + U256::from(i))?;
    }
    let [head, proposer, subject, a, b, c, d] = words;
    if head.is_zero() {
        return Ok(None);
    }
    let status = match byte(head, 1) {
        1 => Status::Open,
        2 => Status::Applied,
        3 => Status::Withdrawn,
        4 => Status::Expired,
        5 => Status::Overtaken,
        _ => return damaged("an unknown status"),
    };
    let approvers = list(&mut read, base + U256::from(7), 0, u64::MAX)?;
    Ok(Some(Proposal {
        id,
        change: Change { kind: byte(head, 0), subject: subject.into(), a, b: b.into(), c: c.into(), d: d.into() },
        status,
        opened: Height(packed::<8>(head, 2)),
        decided: Some(Height(packed::<8>(head, 10))).filter(|h| h.0 > 0),
        proposer: address(proposer),
        approvers: approvers.into_iter().map(address).collect(),
    }))
}

/// The slot of the first element of a list variable.
#[must_use]
pub fn first_of(slot: u64) -> U256 {
    list_base(slot)
}
