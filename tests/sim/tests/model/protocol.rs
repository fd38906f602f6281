//! The rules of the BFT core, abstracted until every run of them can be visited.
//!
//! Four validators, f = 1: three honest, one Byzantine. What is kept of the engine (`basalt_bft`'s crate documentation names
//! the rules): prepare once per round for a justified proposal (P2), commit and lock on a quorum of prepares (C1), decide on a
//! quorum of commits of any round (D1), leave a round at any moment with a round change that carries the lock (R4, R5),
//! jump with f + 1 (R3) or after a justified proposal (R2), repeat the block of the highest claim verbatim (L2), restart.
//!
//! What is abstracted, always towards *more* behaviour than the engine's:
//! - *The network* is the set of everything ever said. Anybody may act on any of it at any time, so messages are lost, late,
//!   repeated and reordered in every way there is. Nothing needs to be delivered.
//! - *Time* is gone: any round may end at any moment.
//! - *The Byzantine validator* has always voted for everything and claimed everything it can prove; as proposer it proposes
//!   everything it can justify. So it needs no state.
//! - *A block* is the round it was first proposed in, and one of two faces if its proposer is Byzantine.
//! - *A restart* under rule R1 is a move to the next round with the lock kept: the very same as R4, so it is no action of its
//!   own. Without R1 (a broken model) it forgets the vote of its round.
//!
//! Bounds: two heights, [`Rules::rounds`] rounds of each. A height that all honest have left is forgotten: nothing refers to it.

/// Honest validators; the fourth, number 3, is Byzantine.
pub const HONEST: usize = 3;
/// Heights.
pub const HEIGHTS: usize = 2;
/// Room for rounds: those of the bound, and some more to show that any state can be brought to an end.
pub const ROOM: usize = 7;

/// What holds in a model; broken ones must be found out.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Heights, at most [`HEIGHTS`].
    pub heights: u8,
    /// Rounds 0 to this, exclusive, are explored at the first height, and at the second.
    pub rounds: [u8; 2],
    /// Votes that make a quorum.
    pub quorum: u32,
    /// A commit vote locks.
    pub lock: bool,
    /// A restarted validator keeps out of the rounds it may have voted in.
    pub guarded: bool,
    /// A proposal above round 0 needs a quorum of round changes, and repeats the highest claim.
    pub justified: bool,
    /// Which validator proposes first.
    pub offset: u8,
}

/// A prepared block: round it was prepared in, and value.
pub type Claim = (u8, u8);

/// One honest validator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Height it is at; [`HEIGHTS`] when done.
    pub height: u8,
    /// Its round.
    pub round: u8,
    prepared: bool,
    committed: bool,
    proposed: bool,
    lock: Option<Claim>,
}

/// Everything ever said at one height, as sets of values (bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Said {
    proposals: [u16; ROOM],
    prepares: [[u16; HONEST]; ROOM],
    commits: [[u16; HONEST]; ROOM],
    changes: [[Option<Option<Claim>>; HONEST]; ROOM],
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub nodes: [Node; HONEST],
    pub said: [Said; HEIGHTS],
    /// What each honest validator decided at each height; forgotten once all have.
    pub decided: [[Option<u8>; HONEST]; HEIGHTS],
    /// Restarts that forget are few.
    pub restarts: u8,
}

/// What one honest validator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Propose(usize, u8),
    Prepare(usize, u8),
    Commit(usize, u8),
    Decide(usize, u8),
    /// Into a round, with a round change.
    Change(usize, u8),
    /// Into a round, after a justified proposal there.
    Follow(usize, u8),
    /// Forgets what it said in its round.
    Forget(usize),
}

impl Action {
    const fn node(self) -> usize {
        let (Self::Propose(p, _)
        | Self::Prepare(p, _)
        | Self::Commit(p, _)
        | Self::Decide(p, _)
        | Self::Change(p, _)
        | Self::Follow(p, _)
        | Self::Forget(p)) = self;
        p
    }
}

const fn bits(set: u16) -> impl Iterator<Item = u8> {
    Bits(set)
}

struct Bits(u16);

impl Iterator for Bits {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros() as u8)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

impl State {
    pub fn initial() -> Self {
        Self {
            nodes: [Node::default(); HONEST],
            said: [Said::default(); HEIGHTS],
            decided: Default::default(),
            restarts: 1,
        }
    }

    pub fn done(&self, rules: &Rules) -> bool {
        self.nodes.iter().all(|node| node.height == rules.heights)
    }
}

impl Rules {
    /// Who proposes; [`HONEST`] is the Byzantine one.
    fn proposer(&self, height: u8, round: u8) -> usize {
        usize::from((height + round + self.offset) % (HONEST as u8 + 1))
    }

    /// Values with a quorum of votes, the Byzantine one's among them.
    fn quorum_of(&self, votes: &[u16; HONEST]) -> u16 {
        let all = votes.iter().fold(0, |a, b| a | b);
        bits(all)
            .filter(|v| 1 + votes.iter().filter(|set| **set >> v & 1 == 1).count() as u32 >= self.quorum)
            .fold(0, |set, v| set | 1 << v)
    }

    /// What can be proven to be prepared below a round: what the Byzantine validator may claim there.
    fn provable(&self, said: &Said, below: u8) -> impl Iterator<Item = Option<Claim>> {
        let proven = (0..below).flat_map(|r| bits(self.quorum_of(&said.prepares[usize::from(r)])).map(move |v| (r, v)));
        std::iter::once(None).chain(proven.map(Some).collect::<Vec<_>>())
    }

    /// The values that some quorum of round changes justifies in a round. A new block is `fresh`.
    fn justified(&self, said: &Said, round: u8, fresh: u16) -> u16 {
        if round == 0 || !self.justified {
            return fresh;
        }
        let changes = &said.changes[usize::from(round)];
        let mut values = 0;
        for chosen in 1u8..1 << HONEST {
            let members = || (0..HONEST).filter(|p| chosen >> p & 1 == 1);
            let there = members().all(|p| changes[p].is_some());
            if !there || 1 + chosen.count_ones() < self.quorum {
                continue;
            }
            let claimed = members().filter_map(|p| changes[p].flatten()).max();
            for lie in self.provable(said, round) {
                values |= claimed.max(lie).map_or(fresh, |(_, value)| 1 << value);
            }
        }
        values
    }

    /// What can be prepared in a round.
    fn proposals(&self, said: &Said, height: u8, round: u8) -> u16 {
        if self.proposer(height, round) == HONEST {
            self.justified(said, round, 0b11 << (2 * round))
        } else {
            said.proposals[usize::from(round)]
        }
    }

    /// Everything that can happen next, with rounds below `rounds` of each height.
    pub fn enabled(&self, state: &State, rounds: [u8; 2], actions: &mut Vec<Action>) {
        for p in (0..HONEST).filter(|p| state.nodes[*p].height < self.heights) {
            self.enabled_for(state, p, rounds, actions);
        }
    }

    fn enabled_for(&self, state: &State, p: usize, rounds: [u8; 2], actions: &mut Vec<Action>) {
        let node = &state.nodes[p];
        let said = &state.said[usize::from(node.height)];
        let at = usize::from(node.round);
        if !node.proposed && self.proposer(node.height, node.round) == p {
            let values = self.justified(said, node.round, 1 << (2 * node.round));
            actions.extend(bits(values).map(|v| Action::Propose(p, v)));
        }
        if !node.prepared {
            actions.extend(bits(self.proposals(said, node.height, node.round)).map(|v| Action::Prepare(p, v)));
        }
        if !node.committed {
            actions.extend(bits(self.quorum_of(&said.prepares[at])).map(|v| Action::Commit(p, v)));
        }
        let committed = said.commits.iter().map(|votes| self.quorum_of(votes)).fold(0, |a, b| a | b);
        actions.extend(bits(committed).map(|v| Action::Decide(p, v)));
        self.enabled_moves(state, p, rounds, actions);
    }

    fn enabled_moves(&self, state: &State, p: usize, rounds: [u8; 2], actions: &mut Vec<Action>) {
        let node = &state.nodes[p];
        let said = &state.said[usize::from(node.height)];
        for round in node.round + 1..rounds[usize::from(node.height)] {
            // R3: one honest validator that has asked for this round or a later one, and the Byzantine one.
            let asked = said.changes[usize::from(round)..].iter().any(|of_round| of_round.iter().any(Option::is_some));
            if round == node.round + 1 || asked {
                actions.push(Action::Change(p, round));
            }
            if self.proposals(said, node.height, round) != 0 {
                actions.push(Action::Follow(p, round));
            }
        }
        if !self.guarded && state.restarts > 0 && (node.prepared || node.proposed) {
            actions.push(Action::Forget(p));
        }
    }

    /// The state after an action that is enabled.
    pub fn apply(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        let p = action.node();
        let node = &mut next.nodes[p];
        let (height, at) = (usize::from(node.height), usize::from(node.round));
        let said = &mut next.said[height];
        match action {
            Action::Propose(_, value) => {
                node.proposed = true;
                said.proposals[at] |= 1 << value;
            }
            Action::Prepare(_, value) => {
                node.prepared = true;
                said.prepares[at][p] |= 1 << value;
            }
            Action::Commit(_, value) => {
                node.committed = true;
                node.lock = Some((node.round, value)).filter(|_| self.lock);
                said.commits[at][p] |= 1 << value;
            }
            Action::Decide(_, value) => {
                *node = Node { height: node.height + 1, ..Node::default() };
                next.decided[height][p] = Some(value);
                next.forget(height);
            }
            Action::Change(_, round) | Action::Follow(_, round) => {
                let lock = node.lock;
                *node = Node { height: node.height, round, lock, ..Node::default() };
                if matches!(action, Action::Change(..)) {
                    said.changes[usize::from(round)][p] = Some(lock);
                }
            }
            Action::Forget(_) => {
                (node.prepared, node.proposed) = (false, false);
                next.restarts -= 1;
            }
        }
        next
    }
}

impl State {
    /// A height that all have decided alike is of no further interest.
    fn forget(&mut self, height: usize) {
        let decided = &mut self.decided[height];
        if decided[0].is_some() && decided.iter().all(|d| *d == decided[0]) {
            *decided = Default::default();
            self.said[height] = Said::default();
        }
    }

    /// Agreement: no two honest validators decide differently at one height.
    pub fn agreement(&self) -> bool {
        self.decided.iter().all(|of_height| {
            let mut values = of_height.iter().flatten();
            let first = values.next();
            values.all(|v| Some(v) == first)
        })
    }

    /// No equivocation: of one kind, an honest validator says one thing per round.
    pub fn no_equivocation(&self) -> bool {
        let one = |votes: &[[u16; HONEST]; ROOM]| votes.iter().flatten().all(|set| set.count_ones() <= 1);
        self.said.iter().all(|said| one(&said.prepares) && one(&said.commits))
    }

    /// No deadlock: the honest alone can bring the height that somebody is still at to its end, whatever the Byzantine one
    /// does or leaves, in one round whose proposer is honest. And what a quorum has committed stays: nothing else comes out.
    pub fn can_end(&self, rules: &Rules) -> bool {
        let Some(height) = self.nodes.iter().map(|n| n.height).min().filter(|h| *h < rules.heights) else {
            return true;
        };
        let behind: Vec<usize> = (0..HONEST).filter(|p| self.nodes[*p].height == height).collect();
        let mut state = self.clone();
        if behind.len() == HONEST {
            let highest = self.nodes.iter().map(|n| n.round).max().unwrap_or_default();
            let Some(round) = (highest + 1..ROOM as u8).find(|r| rules.proposer(height, *r) < HONEST) else {
                return false;
            };
            let proposer = rules.proposer(height, round);
            let changes =
                (0..HONEST).flat_map(|p| (self.nodes[p].round + 1..=round).map(move |r| Action::Change(p, r)));
            let claim = self.nodes.iter().filter_map(|n| n.lock).max();
            let value = claim.map_or(2 * round, |(_, value)| value);
            let votes = |act: fn(usize, u8) -> Action| (0..HONEST).map(move |p| act(p, value));
            let script = changes
                .chain([Action::Propose(proposer, value)])
                .chain(votes(Action::Prepare))
                .chain(votes(Action::Commit))
                .chain(votes(Action::Decide).take(1));
            if !script.into_iter().all(|action| state.take(rules, action)) {
                return false;
            }
        }
        let decided = state.decided[usize::from(height)].iter().flatten().next().copied();
        let rest = (0..HONEST).filter(|p| state.nodes[*p].height == height).collect::<Vec<_>>();
        decided.is_some_and(|value| rest.into_iter().all(|p| state.take(rules, Action::Decide(p, value))))
            && state.agreement()
    }

    /// Does something if it is enabled.
    fn take(&mut self, rules: &Rules, action: Action) -> bool {
        let p = action.node();
        let to = if let Action::Change(_, round) = action { round + 1 } else { 0 };
        let mut actions = Vec::new();
        rules.enabled_for(self, p, [to; 2], &mut actions);
        let enabled = actions.contains(&action);
        if enabled {
            *self = rules.apply(self, action);
        }
        enabled
    }

    /// No committed transaction lost: a value with a quorum of commits is what the locks of the honest say.
    pub fn nothing_lost(&self, rules: &Rules) -> bool {
        let Some(height) = self.nodes.iter().map(|n| n.height).min().filter(|h| *h < rules.heights) else {
            return true;
        };
        let here = self.nodes.iter().all(|n| n.height == height);
        let said = &self.said[usize::from(height)];
        let committed = said.commits.iter().map(|votes| rules.quorum_of(votes)).fold(0, |a, b| a | b);
        let claim = self.nodes.iter().filter_map(|n| n.lock).max();
        !here || committed == 0 || claim.is_some_and(|(_, value)| committed == 1 << value)
    }
}
