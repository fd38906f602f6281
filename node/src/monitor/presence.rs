//! Since when each node of the network has not been seen. Pure; time is handed in.

use std::collections::BTreeMap;

use basalt_primitives::Millis;

use super::alert::NodeSeen;

/// Nodes remembered at most; the ones unseen for longest go first.
const MAX_NODES: usize = 2_048;
/// A node that nobody expects any longer is forgotten when it has not been seen for this long.
const FORGET_MS: Millis = 24 * 60 * 60 * 1000;

/// When each node was last seen, by name.
#[derive(Debug, Default)]
pub struct Presence {
    last: BTreeMap<String, Millis>,
}

impl Presence {
    /// Notes who is seen now (`true`), and who is expected but is not (`false`): one never seen counts from the first time
    /// it is expected.
    pub fn update(&mut self, now: Millis, nodes: impl IntoIterator<Item = (String, bool)>) {
        let mut expected = Vec::new();
        for (name, seen) in nodes {
            let last = self.last.entry(name.clone()).or_insert(now);
            if seen {
                *last = now;
            }
            expected.push(name);
        }
        expected.sort_unstable();
        self.last.retain(|name, last| now.saturating_sub(*last) < FORGET_MS || expected.binary_search(name).is_ok());
        while self.last.len() > MAX_NODES {
            let Some(oldest) = self.last.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone()) else { break };
            self.last.remove(&oldest);
        }
    }

    /// All nodes and for how long they have not been seen.
    #[must_use]
    pub fn nodes(&self, now: Millis) -> Vec<NodeSeen> {
        let seen =
            |(name, last): (&String, &Millis)| NodeSeen { name: name.clone(), unseen_ms: now.saturating_sub(*last) };
        self.last.iter().map(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unseen(p: &Presence, now: Millis) -> Vec<(String, Millis)> {
        p.nodes(now).into_iter().map(|n| (n.name, n.unseen_ms)).collect()
    }

    #[test]
    fn a_node_counts_from_when_it_was_last_seen_or_first_expected() {
        let mut p = Presence::default();
        let (a, b) = (|seen| ("a".to_owned(), seen), |seen| ("b".to_owned(), seen));
        p.update(1_000, [a(true), b(false)]);
        p.update(5_000, [a(true), b(false)]);
        assert_eq!(unseen(&p, 6_000), [("a".into(), 1_000), ("b".into(), 5_000)]);
        p.update(9_000, [b(true)]);
        assert_eq!(unseen(&p, 9_000), [("a".into(), 4_000), ("b".into(), 0)], "who is gone is still known");
        p.update(9_000 + FORGET_MS, [b(false)]);
        assert_eq!(unseen(&p, 9_000 + FORGET_MS), [("b".into(), FORGET_MS)], "expected nodes are never forgotten");
    }

    #[test]
    fn strangers_do_not_make_it_grow() {
        let mut p = Presence::default();
        (0..10).for_each(|t| p.update(t, (0..1_000).map(|i| (format!("{t}-{i}"), true))));
        assert_eq!(p.nodes(10).len(), MAX_NODES);
        assert!(p.nodes(10).iter().any(|n| n.name == "9-999"));
    }
}
