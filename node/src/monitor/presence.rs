//! Since when each expected node has not been seen. Pure; time is handed in.

use std::collections::BTreeMap;

use basalt_primitives::Millis;

/// When each node was last seen, by name. As large as the list of those expected.
#[derive(Debug, Default)]
pub struct Presence {
    last: BTreeMap<String, Millis>,
}

impl Presence {
    /// Notes who is expected and whether it is seen now; gives for how long each has not been seen. One never seen counts
    /// from the first time it was expected; who is not expected any longer is forgotten.
    pub fn update(&mut self, now: Millis, nodes: impl IntoIterator<Item = (String, bool)>) -> Vec<(String, Millis)> {
        let mut next = BTreeMap::new();
        for (name, seen) in nodes {
            let last = if seen { now } else { self.last.get(&name).copied().unwrap_or(now) };
            next.insert(name, last);
        }
        self.last = next;
        self.last.iter().map(|(name, last)| (name.clone(), now.saturating_sub(*last))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_from_when_it_was_last_seen_or_first_expected() {
        let mut p = Presence::default();
        let (a, b) = (|seen| ("a".to_owned(), seen), |seen| ("b".to_owned(), seen));
        let unseen = |a: Millis, b: Millis| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(p.update(1_000, [a(true), b(false)]), unseen(0, 0));
        assert_eq!(p.update(5_000, [a(true), b(false)]), unseen(0, 4_000));
        assert_eq!(p.update(9_000, [a(false), b(true)]), unseen(4_000, 0));
        assert_eq!(p.update(10_000, [b(true)]), [("b".to_owned(), 0)], "who is not expected is forgotten");
        assert_eq!(p.update(11_000, [a(false)]), [("a".to_owned(), 0)]);
    }
}
