//! Named scenarios: each makes, of a seed, a network and a plan of what goes wrong in it.
//!
//! A seed is never a number alone: it is a scenario, a seed and, where given, a number of nodes. Every bug found becomes a
//! scenario, or a seed of one, before it is mended.

use basalt_consensus::sim::{Crash, Cut, Lab, Lag, Plan, SetChange, SyncCrash};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{BftLab, Kind, test_params};

type Make = fn(u64, Option<usize>) -> (BftLab, Plan);

/// A family of runs.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    make: Make,
}

impl Scenario {
    const fn new(name: &'static str, about: &'static str, make: Make) -> Self {
        Self { name, about, make }
    }

    /// The network and the plan of a seed. Without a number of nodes the scenario chooses one.
    #[must_use]
    pub fn case(&self, seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
        (self.make)(seed, nodes)
    }

    /// A scenario by its name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }
}

/// Everything at once, drawn from the seed: what CI runs.
pub const CHAOS: Scenario =
    Scenario::new("chaos", "loss, delay, cuts, crashes, clocks, liars, changing sets: drawn from the seed", chaos);

/// All scenarios.
pub const ALL: &[Scenario] = &[
    CHAOS,
    Scenario::new("calm", "nothing goes wrong", calm),
    Scenario::new("reordering", "messages overtake each other by up to 250 ms, many come twice", reordering),
    Scenario::new("delay-spikes", "for seconds everything takes longer than the first round timeout", delay_spikes),
    Scenario::new("one-way-cuts", "partitions in which one side hears the other but is not heard", one_way_cuts),
    Scenario::new("split", "two halves, neither a quorum, for three seconds", split),
    Scenario::new("clocks", "wall clocks are hours off and jump, back and forth", clocks),
    Scenario::new("slow-validators", "f validators take twenty times as long for everything", slow_validators),
    Scenario::new("one-absent", "one validator never starts", one_absent),
    Scenario::new("all-down", "all nodes are killed at once and come back", all_down),
    Scenario::new("all-down-again", "all nodes are killed three times, each at another effect", all_down_again),
    Scenario::new(
        "crash-each",
        "one node dies at one effect boundary: each node, each effect in turn by seed",
        crash_each,
    ),
    Scenario::new("crash-each-absent", "the same with an absent proposer, so round changes are hit", crash_each_absent),
    Scenario::new("torn-record", "nodes die in the middle of writing a record, and half of it stays", torn_record),
    Scenario::new("one-wiped", "one node loses ledger and sign record", one_wiped),
    Scenario::new("f-wiped", "f nodes lose theirs, at different times, while messages get lost", f_wiped),
    Scenario::new("too-many-wiped", "more than f lose their sign records: safe, not live", too_many_wiped),
    Scenario::new("twins", "f keys run in two nodes each", twins),
    Scenario::new("set-join", "a spare node joins", set_join),
    Scenario::new("set-leave", "one validator leaves", set_leave),
    Scenario::new("set-replace", "one key replaces another", set_replace),
    Scenario::new("set-shrink-grow", "the set shrinks to one and grows back", set_shrink_grow),
    Scenario::new("set-churn", "sets follow each other while nodes crash and messages get lost", set_churn),
    Scenario::new("equivocator", "f validators propose one block to half and another to the rest", byzantine::<0>),
    Scenario::new("conflicter", "f validators vote differently to different halves", byzantine::<1>),
    Scenario::new("mute", "f validators hear everything and say nothing", byzantine::<2>),
    Scenario::new("withholder", "f validators speak to few", byzantine::<3>),
    Scenario::new("replayer", "f validators say old things again", byzantine::<4>),
    Scenario::new("yes-sayer", "f validators vote for everything at once", byzantine::<5>),
    Scenario::new("forker", "f validators propose and vote on forks of their own", byzantine::<6>),
    Scenario::new("round-liar", "f validators lie about rounds", byzantine::<7>),
    Scenario::new("forgetter", "f validators conceal what was prepared", byzantine::<8>),
    Scenario::new("inventor", "f validators vote for blocks that do not exist", byzantine::<9>),
    Scenario::new(
        "impostor",
        "f validators show false certificates and give false blocks to who syncs",
        byzantine::<10>,
    ),
    Scenario::new("usurper", "f validators propose in rounds that nobody asked for", byzantine::<11>),
    Scenario::new("fickle", "f validators lie in another way each time", byzantine::<12>),
];

fn chaos(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let lab = BftLab::of_seed(seed, nodes);
    let plan = Plan::chaos(seed, lab.set(), lab.keys().len(), Kind::count());
    (lab, plan)
}

fn calm(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let n = nodes.unwrap_or(4);
    (BftLab::new(&vec![1; n], test_params()), Plan::calm(seed, n))
}

/// A calm network that is given time, and randomness for what goes wrong in it.
fn troubled(seed: u64, nodes: Option<usize>) -> (BftLab, Plan, ChaCha8Rng) {
    let (lab, mut plan) = calm(seed, nodes);
    (plan.heal_at, plan.bound) = (5_000, 20_000);
    plan.submissions = (0..25).map(|i| (i * 190, i as usize % lab.set().len())).collect();
    (lab, plan, ChaCha8Rng::seed_from_u64(seed ^ 0x5ce0_a710))
}

/// The first f nodes of an order that turns with the seed.
fn some_faulty(lab: &BftLab, seed: u64) -> Vec<usize> {
    let n = lab.set().len();
    (0..lab.set().max_faulty() as usize).map(|i| (seed as usize + i) % n).collect()
}

fn reordering(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, _) = troubled(seed, nodes);
    (plan.delay_min, plan.delay, plan.duplicate) = (0, 250, 0.3);
    (lab, plan)
}

fn delay_spikes(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    for start in [500, 2_200, 3_800] {
        let until = start + rng.random_range(200..1_500);
        plan.lags.push(Lag { from: start, until, extra: rng.random_range(200..2_000) });
    }
    (plan.spike, plan.spike_ms) = (0.05, 3_000);
    (lab, plan)
}

fn one_way_cuts(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    let n = lab.set().len();
    for from in [400, 1_900, 3_300] {
        let deaf: Vec<bool> = (0..n).map(|_| rng.random_bool(0.4)).collect();
        let links = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
        let links = links.filter(|(a, b)| a != b && deaf[*b] && !deaf[*a]).collect();
        plan.cuts.push(Cut { from, until: from + 1_200, links });
    }
    (lab, plan)
}

fn split(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, _) = troubled(seed, nodes);
    let n = lab.set().len();
    let side = |node: usize| (node + seed as usize) % n < n.div_ceil(2);
    let links = (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| side(*a) != side(*b)).collect();
    plan.cuts = vec![Cut { from: 700 + seed % 300, until: 4_000, links }];
    (lab, plan)
}

fn clocks(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    // Not by more at once than leaves a quorum of validators with sound clocks: block time must stay near true time.
    for node in some_faulty(&lab, seed) {
        let mut jump = || (rng.random_range(0..5_000), rng.random_range(-7_200_000..=7_200_000));
        plan.clocks[node] = vec![(0, 0), jump(), jump(), jump()];
        plan.clocks[node].sort_unstable();
    }
    (lab, plan)
}

fn slow_validators(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, _) = troubled(seed, nodes);
    plan.slow = some_faulty(&lab, seed).into_iter().map(|node| (node, 20)).collect();
    (lab, plan)
}

fn one_absent(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    plan.silent = some_faulty(&lab, seed).iter().take(1).map(|node| *node as u16).collect();
    (lab, plan)
}

fn all_down(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    let at = 1_000 + seed % 37;
    plan.crashes = (0..lab.set().len()).map(|node| Crash { at, node, down: 500, ..Crash::default() }).collect();
    (lab, plan)
}

fn all_down_again(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    for at in [600, 2_000, 3_600] {
        for node in 0..lab.set().len() {
            let (fuse, during_sync) = (rng.random_range(0..12), rng.random_bool(0.3));
            plan.crashes.push(Crash {
                at,
                node,
                fuse,
                during_sync,
                down: rng.random_range(1..700),
                ..Crash::default()
            });
        }
    }
    (lab, plan)
}

/// Seed = (effect · 4 + way to die) · n + node. Ways: after the effect, or in the middle of the sync of that number with the
/// record kept, lost or torn; counted from the node's start. Where no crash takes place, the short run has no such effect: all seeds up to there are all.
fn crash_each(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(7, nodes);
    let n = lab.set().len() as u64;
    (plan.heal_at, plan.submissions) = (2_000, (0..5).map(|i| (i * 300, i as usize % n as usize)).collect());
    let (node, way, effect) = ((seed % n) as usize, seed / n % 4, seed / n / 4);
    let record = [None, Some(SyncCrash::Kept), Some(SyncCrash::Lost), Some(SyncCrash::Torn)][way as usize];
    let fuse = u32::try_from(effect + 1).unwrap_or(u32::MAX);
    plan.crashes = vec![Crash { at: 0, node, fuse, during_sync: way > 0, record, down: 30, ..Crash::default() }];
    (lab, plan)
}

fn crash_each_absent(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = crash_each(seed, nodes);
    (plan.heal_at, plan.silent) = (5_000, vec![1 % lab.set().len() as u16]);
    if lab.set().max_faulty() == 0 {
        plan.silent.clear();
    }
    (lab, plan)
}

fn torn_record(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    for _ in 0..8 {
        let (at, node) = (rng.random_range(0..4_500), rng.random_range(0..lab.set().len()));
        let (fuse, record) = (rng.random_range(1..5), Some(SyncCrash::Torn));
        plan.crashes.push(Crash { at, node, fuse, during_sync: true, record, down: 40, ..Crash::default() });
    }
    (lab, plan)
}

fn wipe(at: u64, node: usize) -> Crash {
    Crash { at, node, down: 100, lose_record: true, lose_ledger: true, ..Crash::default() }
}

fn one_wiped(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    plan.crashes = some_faulty(&lab, seed).iter().take(1).map(|node| wipe(700 + seed % 101, *node)).collect();
    (lab, plan)
}

fn f_wiped(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    plan.loss = 0.1;
    let wiped = some_faulty(&lab, seed);
    plan.crashes = wiped.iter().map(|node| wipe(rng.random_range(200..4_000), *node)).collect();
    plan.crashes.extend(wiped.iter().map(|node| wipe(rng.random_range(200..4_000), *node)));
    (lab, plan)
}

fn too_many_wiped(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    (plan.safety_only, plan.bound, plan.loss) = (true, 5_000, 0.1);
    let at = rng.random_range(200..4_000);
    for node in 0..lab.set().max_faulty() as usize + 1 {
        let crash = wipe(at, node);
        plan.crashes.push(Crash { lose_ledger: rng.random_bool(0.5), ..crash });
    }
    (lab, plan)
}

fn twins(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan, mut rng) = troubled(seed, nodes);
    plan.twins = some_faulty(&lab, seed).iter().map(|node| *node as u16).collect();
    let all = lab.set().len() + plan.twins.len();
    for from in [300, 1_500, 3_000] {
        let side: Vec<bool> = (0..all).map(|_| rng.random_bool(0.5)).collect();
        let links = (0..all).flat_map(|a| (0..all).map(move |b| (a, b)));
        let links = links.filter(|(a, b)| side[*a] != side[*b]).collect();
        plan.cuts.push(Cut { from, until: from + 1_000, links });
    }
    (lab, plan)
}

/// A network with one spare node, in which the set changes; `sets` name the members by key number.
fn changing(seed: u64, nodes: Option<usize>, sets: impl Fn(u16) -> Vec<Vec<u16>>) -> (BftLab, Plan) {
    let n = nodes.unwrap_or(4);
    let lab = BftLab::with_spare(&vec![1; n], 1, test_params());
    let mut plan = Plan::calm(seed, n + 1);
    (plan.heal_at, plan.bound) = (6_000, 20_000);
    plan.submissions = (0..25).map(|i| (i * 230, i as usize % n)).collect();
    let gap = 700 + seed % 97;
    for (i, members) in sets(n as u16).into_iter().enumerate() {
        let members = members.into_iter().map(|key| (key, 1)).collect();
        plan.changes.push(SetChange { at: 400 + gap * i as u64, node: (seed as usize + i) % n, members });
    }
    (lab, plan)
}

fn set_join(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    changing(seed, nodes, |n| vec![(0..=n).collect()])
}

fn set_leave(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let out = seed as u16;
    changing(seed, nodes, |n| vec![(0..n).filter(|key| n == 1 || *key != out % n).collect()])
}

fn set_replace(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let out = seed as u16;
    changing(seed, nodes, |n| vec![(0..=n).filter(|key| *key != out % n).collect()])
}

fn set_shrink_grow(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let stays = seed as u16;
    changing(seed, nodes, |n| {
        let half = (0..n).filter(|key| key % 2 == stays % 2 || *key == stays % n).collect();
        vec![half, vec![stays % n], vec![stays % n, n], (0..=n).collect()]
    })
}

fn set_churn(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xc4u64);
    let mut sets = Vec::new();
    for _ in 0..6 {
        let keep: Vec<bool> = (0..300).map(|_| rng.random_bool(0.7)).collect();
        sets.push(keep);
    }
    let (lab, mut plan) = changing(seed, nodes, |n| {
        let members = |keep: &Vec<bool>| (0..=n).filter(|key| *key == 0 || keep[usize::from(*key)]).collect();
        sets.iter().map(members).collect()
    });
    plan.loss = 0.05;
    for _ in 0..5 {
        let (at, node) = (rng.random_range(300..5_500), rng.random_range(0..lab.keys().len()));
        plan.crashes.push(Crash { at, node, fuse: rng.random_range(0..5), down: 300, ..Crash::default() });
    }
    (lab, plan)
}

/// f liars of one kind, and enough trouble to give them a chance.
fn byzantine<const KIND: u8>(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let sizes = [4, 7, 5];
    let (lab, mut plan, mut rng) = troubled(seed, Some(nodes.unwrap_or(sizes[(seed % 3) as usize])));
    for node in some_faulty(&lab, seed) {
        plan.byzantine[node] = Some(KIND);
    }
    (plan.loss, plan.delay) = (0.03, 40);
    let crash = Crash { at: rng.random_range(200..4_000), node: seed as usize % lab.set().len(), ..Crash::default() };
    plan.crashes = vec![Crash { fuse: rng.random_range(0..8), down: 200, ..crash }];
    (lab, plan)
}
