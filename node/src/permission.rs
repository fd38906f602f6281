//! Who may connect, from the permission contract (ADR-0030).
//!
//! In: the state after the newest block, the validator sets of the next two heights, the clock. Out: the list of peers for
//! the network, after every block and once a second, so that removal and end take effect on live connections at once. Entries
//! are read only when the contract's stamp shows a change.

use std::{collections::HashMap, sync::Arc};

use basalt_execution::{StateError, StateReader as _};
use basalt_primitives::{
    B256, PublicKey, U256,
    system::{
        PERMISSION,
        permission::{Moment, Node, Organisation, Role, read, slot},
    },
};
use parking_lot::Mutex;

use crate::{
    chain::{Chain, StateView},
    clock,
    network::{Member, Members, NetworkHandle, PeerId, peer_id_of},
};

/// What was last read.
#[derive(Debug)]
struct Kept {
    stamp: U256,
    nodes: Vec<(PeerId, Node)>,
    organisations: HashMap<B256, Organisation>,
}

/// Makes lists of who may connect. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    chain: Chain,
    kept: Arc<Mutex<Option<Kept>>>,
}

impl Membership {
    /// For a chain; `None`: its genesis has no permissions.
    #[must_use]
    pub fn of(chain: &Chain) -> Option<Self> {
        let permissioned = chain.spec.alloc.contains_key(&PERMISSION);
        permissioned.then(|| Self { chain: chain.clone(), kept: Arc::default() })
    }

    /// Who may connect now: by the state after the newest block, for the block after it.
    pub fn now(&self) -> Result<Members, StateError> {
        let view = StateView(self.chain.ledger.snapshot());
        let head = view.0.head();
        let stamp = view.storage(&PERMISSION, U256::from(slot::NODE_STAMP))?;
        let mut kept = self.kept.lock();
        let kept = match &mut *kept {
            Some(kept) if kept.stamp == stamp => kept,
            other => other.insert(read_all(&view, stamp)?),
        };
        let time_s = (head.block.header().timestamp_ms / 1000).max(clock::wall_ms() / 1000);
        let next = head.height().next();
        let sets = [self.chain.sets.at(next), self.chain.sets.at(next.next())];
        let votes = |key: &PublicKey| sets.iter().flatten().any(|set| set.index_of(key).is_some());
        Ok(list(kept, Moment { height: next, time_s }, votes))
    }

    /// Gives the network the newest list. What cannot be read leaves the one before in force.
    pub fn refresh(&self, network: &NetworkHandle) {
        match self.now() {
            Ok(members) => network.set_members(members),
            Err(e) => tracing::error!("the list of nodes could not be read, the one before stays in force: {e}"),
        }
    }
}

fn read_all(view: &StateView, stamp: U256) -> Result<Kept, StateError> {
    let slot = |s| view.storage(&PERMISSION, s);
    let nodes = read::nodes(slot)?;
    // A key that is no point of the curve can be nobody's.
    let nodes = nodes.into_iter().filter_map(|n| Some((peer_id_of(&n.key)?, n))).collect();
    let organisations = read::organisations(slot)?.into_iter().map(|o| (o.name, o)).collect();
    Ok(Kept { stamp, nodes, organisations })
}

/// An entry admits while it stands, has not ended and its organisation holds; one that speaks for a validator of the present
/// or the next set admits in any case: such a node goes when its validator does.
fn list(kept: &Kept, now: Moment, votes: impl Fn(&PublicKey) -> bool) -> Members {
    let (admitted, former): (Vec<_>, Vec<_>) = kept.nodes.iter().partition(|(_, n)| {
        let organisation = n.organisation.is_none_or(|o| kept.organisations.get(&o).is_some_and(|o| o.holds(now)));
        let stands = !n.removed && n.until.holds(now) && organisation;
        stands || n.role == Role::Validator && n.validator.as_ref().is_some_and(&votes)
    });
    let member = |n: &Node| Member { role: n.role, validator: n.validator, name: n.name.clone() };
    let admitted = admitted.iter().map(|(peer, n)| (*peer, member(n))).collect();
    Members::new(admitted, former.iter().map(|(peer, _)| *peer).collect())
}

/// Says at start what this node is on the network: an operator whose node nobody answers should not have to guess why.
pub fn log_own_standing(members: Option<&Members>, own: &PeerId) {
    let Some(members) = members else { return };
    match members.get(own) {
        Some(m) => tracing::info!(role = %m.role, nodes = members.len(), "permissioned network"),
        None => tracing::warn!(
            peer = %own,
            "permissioned network: this node's key is not on the list of nodes as far as it has synced, so others may not answer; \
             have it admitted with `basalt permission node add`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::{Height, SecretKey, system::permission::Until};

    use super::*;

    fn key(n: u8) -> PublicKey {
        SecretKey::from_bytes(&[n; 32]).public_key()
    }

    fn node(n: u8, role: Role) -> (PeerId, Node) {
        let node = Node {
            key: key(n),
            role,
            removed: false,
            since: Height(0),
            until: Until::default(),
            organisation: None,
            validator: (role == Role::Validator).then(|| key(n + 100)),
            name: String::new(),
        };
        (peer_id_of(&node.key).expect("a point"), node)
    }

    fn kept(nodes: Vec<(PeerId, Node)>) -> Kept {
        Kept { stamp: U256::ZERO, nodes, organisations: HashMap::new() }
    }

    const NOW: Moment = Moment { height: Height(10), time_s: 1000 };

    #[test]
    fn who_is_removed_or_past_its_end_goes_and_is_known_as_former() {
        let mut all: Vec<_> = (1..=4).map(|n| node(n, Role::Full)).collect();
        all[1].1.removed = true;
        all[2].1.until = Until { height: 9, time_s: 0 };
        all[3].1.until = Until { height: 10, time_s: 999 };
        let peers: Vec<_> = all.iter().map(|(p, _)| *p).collect();
        let kept = kept(all);
        let members = list(&kept, NOW, |_| false);
        assert_eq!(members.len(), 1);
        assert!(members.get(&peers[0]).is_some());
        assert!(peers[1..].iter().all(|p| members.is_former(p)));
        let before = Moment { height: Height(9), time_s: 999 };
        assert_eq!(list(&kept, before, |_| false).len(), 3, "the last moment counts");
    }

    #[test]
    fn a_removed_validators_node_stays_until_its_validator_has_left_the_set() {
        let mut all = vec![node(1, Role::Validator), node(2, Role::Full)];
        all.iter_mut().for_each(|(_, n)| n.removed = true);
        let (peer, kept) = (all[0].0, kept(all));
        let members = list(&kept, NOW, |k| *k == key(101));
        assert!(members.get(&peer).is_some());
        assert_eq!(members.len(), 1);
        assert!(list(&kept, NOW, |_| false).is_former(&peer));
    }

    #[test]
    fn a_suspended_or_missing_organisation_takes_its_nodes_with_it() {
        let mut all: Vec<_> = (1..=3).map(|n| node(n, Role::Full)).collect();
        let name = |n: u8| Some(B256::repeat_byte(n));
        all.iter_mut().zip(1..).for_each(|((_, n), i)| n.organisation = name(i));
        let mut kept = kept(all);
        for (n, suspended) in [(1, false), (2, true)] {
            let name = B256::repeat_byte(n);
            let o = Organisation { name, suspended, since: Height(0), until: Until::default() };
            kept.organisations.insert(name, o);
        }
        let members = list(&kept, NOW, |_| false);
        assert_eq!(members.len(), 1);
        assert!(members.get(&kept.nodes[0].0).is_some());
    }
}
