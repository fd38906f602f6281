//! The storage of the validator contract, read without the EVM.
//!
//! In: a function that reads a slot. Out: members, changes, proposals, evidence. The layout is that of
//! `contracts/system/Validators.sol`; a test compares it with what the compiler says.

use std::sync::OnceLock;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::VALIDATORS;
use crate::{
    ChainSpec, Height, PublicKey, Validator,
    chainspec::{GenesisAccount, GenesisValidator, SpecError},
};

/// Slots of the contract's variables.
pub mod slot {
    /// Approved changes that wait for the next block.
    pub const PENDING: u64 = 0;
    /// Hash of the genesis block, written in block 1.
    pub const GENESIS_HASH: u64 = 1;
    /// Blocks after which an open proposal expires.
    pub const LIFETIME: u64 = 2;
    /// The newest set.
    pub const MEMBERS: u64 = 3;
    /// Every change since genesis; its length is written with each change of the set.
    pub const CHANGES: u64 = 4;
    /// Address to index + 1.
    pub const INDEX: u64 = 5;
    /// Proposals made so far.
    pub const PROPOSAL_COUNT: u64 = 6;
    /// Proposals by id, from 1.
    pub const PROPOSALS: u64 = 7;
    /// Ids of open and approved proposals.
    pub const OPEN: u64 = 8;
    /// Newest block named by an account's `ready`.
    pub const READY_AT: u64 = 9;
    /// Evidence.
    pub const EVIDENCE: u64 = 10;
}

/// Slots of one element of each list.
mod size {
    pub const MEMBER: u64 = 3;
    pub const CHANGE: u64 = 3;
    pub const EVIDENCE: u64 = 4;
}

/// Blocks after which an open proposal expires, on chains made by this software.
pub const LIFETIME: u64 = 100_000;

/// Blocks for which a `ready` counts, and how old the block it names may be.
pub const READY_BLOCKS: u64 = 256;
/// Offences of one key that the contract keeps: `MAX_EVIDENCE_PER_KEY` there.
pub const MAX_EVIDENCE_PER_KEY: usize = 16;

/// Certificates that are looked at to see which validators take part.
pub const CERTIFICATES: u64 = 64;

/// Most bytes of a validator's name: one word.
pub const MAX_NAME: usize = 32;

/// Most list elements read from storage, so that damage cannot make a reader run for ever.
const MAX_LIST: u64 = 1 << 20;

/// A validator of the newest set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub key: PublicKey,
    /// For people; may be empty.
    pub name: String,
    /// The account of its key.
    pub account: Address,
    /// First height at which it votes.
    pub since: Height,
}

/// What a change or proposal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new validator, at the end of the set.
    Add = 1,
    /// A validator leaves; the others keep their order.
    Remove = 2,
    /// A new key in the old one's place.
    Replace = 3,
    /// A validator lost for good goes by a set override, without a vote; the others keep their order.
    Override = 4,
}

/// A change of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// First height of the set it leads to.
    pub valid_from: Height,
    /// What it does.
    pub kind: Kind,
    /// Where, in the set before it.
    pub index: u16,
    /// The proposal that led to it.
    pub proposal: u64,
    /// The key that came, or of a removal or override the one that went.
    pub key: PublicKey,
    /// The name that came.
    pub name: String,
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for approvals.
    Open = 1,
    /// Has them; the next block applies or refuses it.
    Approved = 2,
    /// Took place.
    Applied = 3,
    /// Was refused although approved.
    Refused = 4,
    /// Taken back by its proposer.
    Withdrawn = 5,
    /// Found no quorum in time.
    Expired = 6,
}

/// Why an approved change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The newcomer has not shown lately that it is synced.
    NotReady = 1,
    /// Too few validators of the new set have taken part lately.
    NoQuorum = 2,
    /// An earlier change has made it meaningless.
    SetChanged = 3,
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its number.
    pub id: u64,
    /// What it would do.
    pub kind: Kind,
    /// Where it stands.
    pub status: Status,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// With [`Refusal::NoQuorum`]: validators of the new set that take part.
    pub have: u16,
    /// With [`Refusal::NoQuorum`]: how many would be needed.
    pub need: u16,
    /// Height at which it was made.
    pub opened: Height,
    /// Height at which it ended.
    pub decided: Option<Height>,
    /// First height of the new set, once applied.
    pub valid_from: Option<Height>,
    /// Who made it.
    pub proposer: Address,
    /// The key that goes.
    pub old_key: Option<PublicKey>,
    /// The key that comes.
    pub new_key: Option<PublicKey>,
    /// Its name.
    pub name: String,
    /// Who has approved.
    pub approvers: Vec<Address>,
}

impl Proposal {
    /// Why it was refused, in words.
    #[must_use]
    pub fn refusal_text(&self) -> Option<String> {
        Some(match self.refusal? {
            Refusal::NotReady => {
                "the new validator has not shown that it is ready; start its node, wait until it has synced, propose again".into()
            }
            Refusal::NoQuorum => format!(
                "only {} validators of the new set have taken part lately and {} are needed; start the others, propose again",
                self.have, self.need
            ),
            Refusal::SetChanged => "another change came first and made it meaningless".into(),
        })
    }
}

/// An offence on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The offender.
    pub key: PublicKey,
    /// Height of the offence.
    pub height: Height,
    /// Its round.
    pub round: u32,
    /// 1 proposal, 2 prepare, 3 commit.
    pub kind: u8,
    /// Height at which it was put on record.
    pub reported_at: Height,
    /// The two blocks it signed.
    pub blocks: [B256; 2],
}

/// Why the contract's storage could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The state.
    #[error(transparent)]
    State(E),
    /// A value that the contract never writes.
    #[error(
        "the validator contract's storage holds {0}, which the contract never writes; run `basalt scrub` or restore a backup"
    )]
    Damaged(&'static str),
}

/// A reader of slots that may fail.
pub trait ReadSlot<E>: FnMut(U256) -> Result<U256, E> {}
impl<E, F: FnMut(U256) -> Result<U256, E>> ReadSlot<E> for F {}

/// Slot of the first element of a list.
#[must_use]
pub fn list_base(slot: u64) -> U256 {
    keccak256(U256::from(slot).to_be_bytes::<32>()).into()
}

/// Slot of a mapping's value.
#[must_use]
pub fn mapped(slot: u64, key: U256) -> U256 {
    let bytes = [key.to_be_bytes::<32>(), U256::from(slot).to_be_bytes::<32>()].concat();
    keccak256(bytes).into()
}

fn mapped_address(slot: u64, key: Address) -> U256 {
    mapped(slot, U256::from_be_slice(key.as_slice()))
}

/// The contract's code.
#[must_use]
pub fn code() -> &'static Bytes {
    static CODE: OnceLock<Bytes> = OnceLock::new();
    CODE.get_or_init(|| {
        let text = include_str!("../../../contracts/artefacts/Validators.hex");
        hex::decode(text.trim()).expect("the artefact is hex").into()
    })
}

/// The contract as it stands in a genesis with these validators.
#[must_use]
pub fn genesis_account(validators: &[GenesisValidator]) -> GenesisAccount {
    let count = validators.len() as u64;
    let mut slots =
        vec![(U256::from(slot::LIFETIME), U256::from(LIFETIME)), (U256::from(slot::MEMBERS), U256::from(count))];
    for (i, v) in (0u64..).zip(validators) {
        let base = list_base(slot::MEMBERS) + U256::from(i * size::MEMBER);
        let account = v.validator.address();
        slots.push((base, U256::from_be_bytes(v.validator.public_key.0)));
        slots.push((base + U256::from(1), U256::from_be_bytes(name_word(&v.name).0)));
        // `since` sits above the address and is 0: they vote from the first height on.
        slots.push((base + U256::from(2), U256::from_be_slice(account.as_slice())));
        slots.push((mapped_address(slot::INDEX, account), U256::from(i + 1)));
    }
    let storage = slots.into_iter().filter(|(_, v)| !v.is_zero()).map(|(k, v)| (k.into(), v.into()));
    GenesisAccount { nonce: 1, code: code().clone(), storage: storage.collect(), ..GenesisAccount::default() }
}

impl ChainSpec {
    /// Puts the system contracts into genesis. To be called once all other fields are set.
    #[must_use]
    pub fn with_system_contracts(mut self) -> Self {
        if self.pow().is_some() {
            return self; // Nobody votes, so there is nobody to vote on.
        }
        self.alloc.insert(VALIDATORS, genesis_account(&self.validators));
        self
    }

    /// Checks that genesis has the system contracts, as they stand before the first block.
    pub fn check_system_contracts(&self) -> Result<(), SpecError> {
        let refuse = |field, problem: &str| Err(SpecError::Field { field, problem: problem.to_owned() });
        if self.pow().is_some() {
            return Ok(());
        }
        if self.validators.iter().any(|v| v.name.len() > MAX_NAME) {
            return refuse("validators", "names must have at most 32 bytes");
        }
        if self.alloc.get(&VALIDATORS) != Some(&genesis_account(&self.validators)) {
            return refuse(
                "alloc",
                "must hold, at 0x000000000000000000000000000000000B450001, the validator contract of this software with the \
                 validators of this file in it; make the network with `basalt network create`, and change no validator by hand",
            );
        }
        super::permission::GenesisPermission::of(self)?;
        Ok(())
    }
}

/// A name as the contract stores it: at most 32 bytes, cut between characters.
#[must_use]
pub fn name_word(name: &str) -> B256 {
    let end = (0..=name.len().min(MAX_NAME)).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
    let mut word = [0; 32];
    word[..end].copy_from_slice(&name.as_bytes()[..end]);
    B256::from(word)
}

fn name_of(word: U256) -> String {
    let bytes = word.to_be_bytes::<32>();
    let text = String::from_utf8_lossy(&bytes);
    // Whoever proposes chooses the bytes: nothing of them may reach a terminal but letters.
    text.trim_end_matches('\0').chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `N` bytes of a word, counted from its low end as Solidity packs them.
fn packed<const N: usize>(word: U256, offset: usize) -> u64 {
    let bytes = word.to_le_bytes::<32>();
    (0..N).rev().fold(0, |all, i| (all << 8) | u64::from(bytes[offset + i]))
}

fn key(word: U256) -> PublicKey {
    PublicKey(word.to_be_bytes())
}

fn optional_key(word: U256) -> Option<PublicKey> {
    (!word.is_zero()).then(|| key(word))
}

fn account(word: U256) -> Address {
    Address::from_slice(&word.to_be_bytes::<32>()[12..])
}

fn kind<E>(code: u64) -> Result<Kind, ReadError<E>> {
    Ok(match code {
        1 => Kind::Add,
        2 => Kind::Remove,
        3 => Kind::Replace,
        4 => Kind::Override,
        _ => return Err(ReadError::Damaged("an unknown kind of change")),
    })
}

fn length<E>(read: &mut impl ReadSlot<E>, slot: u64) -> Result<u64, ReadError<E>> {
    let length = read(U256::from(slot)).map_err(ReadError::State)?;
    u64::try_from(length).ok().filter(|n| *n <= MAX_LIST).ok_or(ReadError::Damaged("a list without end"))
}

fn words<E, const N: usize>(read: &mut impl ReadSlot<E>, base: U256) -> Result<[U256; N], ReadError<E>> {
    let mut out = [U256::ZERO; N];
    for (i, word) in out.iter_mut().enumerate() {
        *word = read(base + U256::from(i)).map_err(ReadError::State)?;
    }
    Ok(out)
}

/// The newest set: after block h it is that of h + 2.
pub fn members<E>(mut read: impl ReadSlot<E>) -> Result<Vec<Member>, ReadError<E>> {
    let count = length(&mut read, slot::MEMBERS)?;
    let base = list_base(slot::MEMBERS);
    (0..count)
        .map(|i| {
            let [k, name, rest] = words(&mut read, base + U256::from(i * size::MEMBER))?;
            let since = Height(packed::<8>(rest, 20));
            Ok(Member { key: key(k), name: name_of(name), account: account(rest), since })
        })
        .collect()
}

/// How many changes there have been.
pub fn change_count<E>(mut read: impl ReadSlot<E>) -> Result<u64, ReadError<E>> {
    length(&mut read, slot::CHANGES)
}

/// The changes from number `first` on, oldest first.
pub fn changes<E>(mut read: impl ReadSlot<E>, first: u64) -> Result<Vec<Change>, ReadError<E>> {
    let count = length(&mut read, slot::CHANGES)?;
    let base = list_base(slot::CHANGES);
    (first..count)
        .map(|i| {
            let [head, k, name] = words(&mut read, base + U256::from(i * size::CHANGE))?;
            Ok(Change {
                valid_from: Height(packed::<8>(head, 0)),
                kind: kind(packed::<1>(head, 8))?,
                index: packed::<2>(head, 9) as u16,
                proposal: packed::<8>(head, 11),
                key: key(k),
                name: name_of(name),
            })
        })
        .collect()
}

/// Ids of the proposals that are open or approved, oldest first.
pub fn open_ids<E>(mut read: impl ReadSlot<E>) -> Result<Vec<u64>, ReadError<E>> {
    let count = length(&mut read, slot::OPEN)?;
    let base = list_base(slot::OPEN);
    (0..count).map(|i| Ok(packed::<8>(read(base + U256::from(i)).map_err(ReadError::State)?, 0))).collect()
}

/// How many proposals there have been: the newest id.
pub fn proposal_count<E>(mut read: impl ReadSlot<E>) -> Result<u64, ReadError<E>> {
    length(&mut read, slot::PROPOSAL_COUNT)
}

/// A proposal as it is stored; an expired one may still be stored as open (see [`is_expired`]). `None`: no such id.
pub fn proposal<E>(mut read: impl ReadSlot<E>, id: u64) -> Result<Option<Proposal>, ReadError<E>> {
    let base = mapped(slot::PROPOSALS, U256::from(id));
    let [head, proposer, old, new, name, approvers] = words(&mut read, base)?;
    if head.is_zero() {
        return Ok(None);
    }
    let status = match packed::<1>(head, 1) {
        1 => Status::Open,
        2 => Status::Approved,
        3 => Status::Applied,
        4 => Status::Refused,
        5 => Status::Withdrawn,
        6 => Status::Expired,
        _ => return Err(ReadError::Damaged("an unknown status")),
    };
    let refusal = match packed::<1>(head, 2) {
        0 => None,
        1 => Some(Refusal::NotReady),
        2 => Some(Refusal::NoQuorum),
        3 => Some(Refusal::SetChanged),
        _ => return Err(ReadError::Damaged("an unknown reason")),
    };
    let count =
        u64::try_from(approvers).ok().filter(|n| *n <= MAX_LIST).ok_or(ReadError::Damaged("a list without end"))?;
    let first: U256 = keccak256((base + U256::from(5)).to_be_bytes::<32>()).into();
    let approvers = (0..count).map(|i| Ok(account(read(first + U256::from(i)).map_err(ReadError::State)?)));
    let height = |offset| Some(Height(packed::<8>(head, offset))).filter(|h| h.0 > 0);
    Ok(Some(Proposal {
        id,
        kind: kind(packed::<1>(head, 0))?,
        status,
        refusal,
        have: packed::<2>(head, 3) as u16,
        need: packed::<2>(head, 5) as u16,
        opened: Height(packed::<8>(head, 7)),
        decided: height(15),
        valid_from: height(23),
        proposer: account(proposer),
        old_key: optional_key(old),
        new_key: optional_key(new),
        name: name_of(name),
        approvers: approvers.collect::<Result<_, ReadError<E>>>()?,
    }))
}

/// Whether an open proposal has run out of time before a block of this height.
pub fn is_expired<E>(mut read: impl ReadSlot<E>, proposal: &Proposal, height: Height) -> Result<bool, ReadError<E>> {
    let lifetime = length(&mut read, slot::LIFETIME)?;
    Ok(proposal.status == Status::Open && height.0 > proposal.opened.0 + lifetime)
}

/// The newest block an account has named as known to it.
pub fn ready_at<E>(mut read: impl ReadSlot<E>, account: Address) -> Result<Option<Height>, ReadError<E>> {
    let at = packed::<8>(read(mapped_address(slot::READY_AT, account)).map_err(ReadError::State)?, 0);
    Ok(Some(Height(at)).filter(|h| h.0 > 0))
}

/// All offences on record, oldest first.
pub fn offences<E>(mut read: impl ReadSlot<E>) -> Result<Vec<Offence>, ReadError<E>> {
    let count = length(&mut read, slot::EVIDENCE)?;
    let base = list_base(slot::EVIDENCE);
    (0..count)
        .map(|i| {
            let [k, head, first, second] = words(&mut read, base + U256::from(i * size::EVIDENCE))?;
            Ok(Offence {
                key: key(k),
                height: Height(packed::<8>(head, 0)),
                round: packed::<4>(head, 8) as u32,
                kind: packed::<1>(head, 12) as u8,
                reported_at: Height(packed::<8>(head, 13)),
                blocks: [first.into(), second.into()],
            })
        })
        .collect()
}

/// Carries a change out on a list of keys and names.
pub fn apply(set: &mut Vec<(PublicKey, String)>, change: &Change) -> Result<(), &'static str> {
    let index = usize::from(change.index);
    let new = (change.key, change.name.clone());
    match change.kind {
        Kind::Add if index == set.len() => set.push(new),
        Kind::Remove | Kind::Override if set.get(index).is_some_and(|(k, _)| *k == change.key) => {
            set.remove(index);
        }
        Kind::Replace if index < set.len() => set[index] = new,
        _ => return Err("a change that does not fit the set before it"),
    }
    Ok(())
}

/// The validators of a list of keys: equal votes.
#[must_use]
pub fn equal_votes(set: &[(PublicKey, String)]) -> Vec<Validator> {
    set.iter().map(|(public_key, _)| Validator { public_key: *public_key, power: 1 }).collect()
}
