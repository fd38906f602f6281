//! Who may connect to a node of a permissioned network, and as what (ADR-0030).
//!
//! In: the list that the node makes of the permission contract after each block. Out: the standing of every connection,
//! decided when Noise has proven who the peer is and before any protocol speaks, and judged anew with each new list.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use basalt_primitives::{PublicKey, system::permission::Role};
use libp2p::PeerId;
use tokio::sync::watch;

/// Connections at most to peers that are only asked for the way.
pub(super) const MAX_GUIDES: usize = 4;

/// One admitted node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// The validator key it may speak for.
    pub validator: Option<PublicKey>,
    /// Its name, for people.
    pub name: String,
}

/// The nodes that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    admitted: HashMap<PeerId, Member>,
    former: HashSet<PeerId>,
}

impl Members {
    /// A list of those that may connect and of those that may no more.
    #[must_use]
    pub fn new(admitted: HashMap<PeerId, Member>, former: HashSet<PeerId>) -> Self {
        Self { admitted, former }
    }

    /// The entry of an admitted peer.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Member> {
        self.admitted.get(peer)
    }

    /// Whether a peer was on the list and may connect no more.
    #[must_use]
    pub fn is_former(&self, peer: &PeerId) -> bool {
        self.former.contains(peer)
    }

    /// How many may connect.
    #[must_use]
    pub fn len(&self) -> usize {
        self.admitted.len()
    }

    /// Whether nobody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty()
    }
}

/// The newest list; `None` within: the network is not permissioned.
pub(super) type List = watch::Sender<Option<Arc<Members>>>;

/// What a peer is to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The network has no permissions: a peer like all.
    Open,
    /// On the list.
    Member(Member),
    /// Not on the list as far as this node has come, but named by its configuration: it is asked for certified blocks, and
    /// told and given nothing.
    Guide,
}

impl Standing {
    /// What a peer would be; `None`: it is not let in. `named`: this node's configuration names it and this node dials it.
    pub(super) fn of(members: Option<&Members>, peer: &PeerId, named: bool) -> Option<Self> {
        let Some(members) = members else { return Some(Self::Open) };
        match members.get(peer) {
            Some(member) => Some(Self::Member(member.clone())),
            None => (named && !members.is_former(peer)).then_some(Self::Guide),
        }
    }

    pub(super) const fn is_guide(&self) -> bool {
        matches!(self, Self::Guide)
    }

    /// Whether transactions go both ways.
    pub(super) const fn gossips(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Member(m) => m.role.gossips(),
            Self::Guide => false,
        }
    }

    /// Whether blocks are asked of it.
    pub(super) const fn serves(&self) -> bool {
        match self {
            Self::Open | Self::Guide => true,
            Self::Member(m) => m.role.serves(),
        }
    }

    /// Whether it may be asked for by others: blocks, the state of nodes.
    pub(super) const fn is_served(&self) -> bool {
        !self.is_guide()
    }

    /// The key it speaks for, of what it has proven.
    pub(super) fn validator(&self, proven: Option<PublicKey>) -> Option<PublicKey> {
        match self {
            Self::Open => proven,
            Self::Member(m) => proven.filter(|key| m.role == Role::Validator && m.validator == Some(*key)),
            Self::Guide => None,
        }
    }

    pub(super) const fn role(&self) -> Option<Role> {
        match self {
            Self::Member(m) => Some(m.role),
            Self::Open | Self::Guide => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: Role, key: Option<u8>) -> Member {
        Member { role, validator: key.map(|k| PublicKey([k; 32])), name: String::new() }
    }

    #[test]
    fn a_peer_is_what_the_list_says_and_a_stranger_is_nothing() {
        let (a, former, stranger) = (PeerId::random(), PeerId::random(), PeerId::random());
        let list = Members::new([(a, member(Role::Full, None))].into(), [former].into());
        let of = |peer, named| Standing::of(Some(&list), peer, named);
        assert_eq!(of(&a, false), Some(Standing::Member(member(Role::Full, None))));
        assert_eq!(of(&stranger, false), None);
        assert_eq!(of(&stranger, true), Some(Standing::Guide));
        assert_eq!(of(&former, true), None, "who was removed is asked for nothing");
        assert_eq!(Standing::of(None, &stranger, false), Some(Standing::Open));
    }

    #[test]
    fn each_role_does_what_it_is_for() {
        let s = |role| Standing::Member(member(role, Some(1)));
        let table = [
            (s(Role::Validator), true, true, true),
            (s(Role::Full), true, true, true),
            (s(Role::Gateway), true, false, true),
            (s(Role::Observer), false, false, true),
            (Standing::Guide, false, true, false),
            (Standing::Open, true, true, true),
        ];
        for (standing, gossips, serves, is_served) in table {
            let has = (standing.gossips(), standing.serves(), standing.is_served());
            assert_eq!(has, (gossips, serves, is_served), "{standing:?}");
        }
        let key = Some(PublicKey([1; 32]));
        assert_eq!(s(Role::Validator).validator(key), key);
        assert_eq!(s(Role::Validator).validator(Some(PublicKey([2; 32]))), None, "another's key");
        assert_eq!(s(Role::Full).validator(key), None);
    }
}
