//! Every situation, from real engines driven into it.

use basalt_bft::{
    Bft, Message, Proposal, Record, Status, Timing, Vote,
    sim::{BftLab, test_params},
};
use basalt_consensus::{Effect, Engine as _, Input, InputOf, Restored, Verdict, sim::Lab as _};
use basalt_primitives::{
    Address, B256, Block, Header, Height, Millis, PublicKey, Round, SealedBlock, header::HEADER_VERSION,
};

use super::*;

/// One engine of a network of four, with what would be recorded of it.
struct Scene {
    lab: BftLab,
    engine: Bft,
    recorder: Recorder,
    now: Millis,
    own: u16,
    connected: Vec<u16>,
    out: Vec<basalt_consensus::EffectOf<Bft>>,
    syncing: Option<(Height, Height)>,
    /// Declared lost by a set override.
    lost: Vec<u16>,
}

impl Scene {
    fn new(own: u16, records: Option<Vec<Record>>) -> Self {
        let lab = BftLab::new(&[1; 4], test_params());
        let engine = lab.engine(own);
        let mut scene = Self {
            lab,
            engine,
            recorder: Recorder::default(),
            now: 1_000,
            own,
            connected: vec![0, 1, 2, 3],
            out: Vec::new(),
            syncing: None,
            lost: Vec::new(),
        };
        let set = scene.lab.set().clone();
        scene.step(Input::Restored(Restored {
            head: scene.lab.genesis().clone(),
            certificate: None,
            had_transactions: false,
            past: Vec::new(),
            sets: vec![(Height(1), set.clone()), (Height(2), set)],
            records,
            nonce: 1,
        }));
        scene
    }

    fn voter(own: u16) -> Self {
        let lab = BftLab::new(&[1; 4], test_params());
        Self::new(own, Some(lab.first_records()))
    }

    fn step(&mut self, input: InputOf<Bft>) {
        let wall = self.lab.genesis().header().timestamp_ms + self.now;
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.engine.step(self.now, wall, input) {
                if let Effect::Send { to: basalt_consensus::Target::All, message } = &effect {
                    let message = self.lab.verified(self.own, message.clone());
                    inputs.push(Input::Message { from: self.own, message });
                }
                self.out.push(effect);
            }
        }
        let status = self.engine.status();
        self.recorder.stepped(self.now, status);
    }

    fn hear(&mut self, from: u16, message: Message) {
        let key = self.key(from);
        self.recorder.heard(self.now, &key);
        let message = self.lab.verified(from, message);
        self.step(Input::Message { from, message });
    }

    fn wait(&mut self, ms: Millis) {
        self.now += ms;
        self.step(Input::Tick);
    }

    fn work(&mut self) {
        self.wait(1_000);
        self.step(Input::Work { pending: true });
    }

    fn key(&self, index: u16) -> PublicKey {
        self.lab.set().get(index).expect("a validator").public_key
    }

    fn block(&self, proposer: u16) -> SealedBlock {
        let parent = self.lab.genesis().header();
        let header = Header {
            version: HEADER_VERSION,
            height: Height(1),
            timestamp_ms: parent.timestamp_ms + self.now,
            parent_hash: self.lab.genesis_hash(),
            proposer: self.lab.set().get(proposer).expect("a validator").address(),
            last_certificate_hash: B256::ZERO,
            ..parent.clone()
        };
        let block = Block { header, last_certificate: None, transactions: Vec::new() };
        SealedBlock::new(block, basalt_primitives::HashFn::Sha256)
    }

    /// The proposal of round 0 of height 1, whose proposer is validator 1.
    fn propose(&mut self) -> B256 {
        let block = self.block(1);
        let hash = block.hash();
        let proposal =
            Proposal { height: Height(1), round: Round::ZERO, block, justification: Vec::new(), prepared: None };
        self.hear(1, Message::Proposal(proposal));
        hash
    }

    fn explain(&self) -> Explanation {
        let name = |key: &PublicKey| format!("node{}", self.lab.set().index_of(key).expect("a validator"));
        let lost: Vec<PublicKey> = self.lost.iter().map(|i| self.key(*i)).collect();
        let set = &self.lab.set().without(&lost, true).expect("somebody remains");
        let account = |a: &Address| {
            let index = set.as_slice().iter().position(|v| v.address() == *a).expect("a validator");
            format!("node{index}")
        };
        explain(&View {
            node: &format!("node{}", self.own),
            now: self.now,
            recorder: &self.recorder,
            set,
            name: &name,
            name_of_account: &account,
            own: Some(self.key(self.own)),
            connected: &|key| self.connected.contains(&set.index_of(key).expect("a validator")),
            round_trip_ms: None,
            params: self.lab.params(),
            work_ms: Some(5),
            syncing: self.syncing,
        })
    }

    fn vote(&mut self, from: u16, kind: fn(Vote) -> Message, block_hash: B256) {
        self.hear(from, kind(Vote { height: Height(1), round: Round::ZERO, block_hash }));
    }
}

fn actions(e: &Explanation) -> Vec<Action> {
    e.advice.iter().map(|a| a.action).collect()
}

#[test]
fn proposers_that_are_skipped_are_named() {
    let scene = Scene::voter(0);
    let mut recorder = scene.recorder.clone();
    recorder.stepped(scene.now, Status { skipped: vec![2], ..scene.engine.status() });
    let e = Scene { recorder, ..scene }.explain();
    assert_eq!(e.skipped, ["node2"]);
    assert!(e.details.iter().any(|d| d.contains("let their turns pass: node2")), "{:?}", e.details);
}

#[test]
fn a_measured_delay_near_the_cap_is_a_warning_with_its_mend() {
    let scene = Scene::voter(0);
    let calm = scene.explain();
    assert!(!calm.details.iter().any(|d| d.contains("roundTimeoutCapMs")), "{:?}", calm.details);
    let mut recorder = scene.recorder.clone();
    let status = scene.engine.status();
    let timing = Timing { typical_ms: Some(1_900), near_cap: true, ..status.timing };
    recorder.stepped(scene.now, Status { timing, ..status });
    let e = Scene { recorder, ..scene }.explain();
    assert!(
        e.details.iter().any(|d| d.contains("takes 1900 ms") && d.contains("raise roundTimeoutCapMs")),
        "{:?}",
        e.details
    );
    assert_eq!(e.timeouts.typical_ms, Some(1_900));
}

#[test]
fn before_the_start_it_says_so() {
    let mut scene = Scene::voter(0);
    scene.recorder = Recorder::default();
    let e = scene.explain();
    assert_eq!((e.situation, e.step.as_str()), (Situation::NotStarted, "not_started"));
    assert_eq!(actions(&e), [Action::Wait]);
}

#[test]
fn an_idle_network_says_why_there_is_no_block() {
    let scene = Scene::voter(0);
    let e = scene.explain();
    assert_eq!(e.situation, Situation::Idle);
    assert!(e.summary.contains("no transactions wait"), "{}", e.summary);
    assert_eq!(actions(&e), [Action::Nothing]);
    assert!(e.details.is_empty() && e.timer.is_none(), "{e:?}");
    assert!(e.votes.missing.is_empty() && e.votes.have.is_empty(), "nobody's vote is waited for: {:?}", e.votes);
}

#[test]
fn an_idle_network_without_a_quorum_warns() {
    let mut scene = Scene::voter(0);
    scene.connected = vec![0, 1];
    let e = scene.explain();
    assert_eq!(e.situation, Situation::Idle);
    assert!(e.details[0].contains("missing: node2 and node3"), "{:?}", e.details);
    assert_eq!(actions(&e), [Action::StartNodes]);
}

#[test]
fn a_set_override_is_named_and_only_those_that_remain_are_missed() {
    let mut scene = Scene::voter(0);
    scene.lost = vec![2, 3];
    scene.connected = vec![0];
    let e = scene.explain();
    assert!(e.details[0].contains("node2 and node3 were declared lost"), "{:?}", e.details);
    assert!(
        e.details[1].contains("1 of 2 voting power is connected and 2 is needed; missing: node1"),
        "{:?}",
        e.details
    );
    scene.connected = vec![0, 1];
    assert!(scene.explain().quorum.reachable);
}

#[test]
fn without_a_quorum_it_names_who_is_missing_and_says_to_start_one() {
    let mut scene = Scene::voter(0);
    scene.connected = vec![0, 1];
    scene.work();
    let e = scene.explain();
    assert_eq!(e.situation, Situation::NoQuorum);
    assert_eq!(e.quorum.unreachable, ["node2", "node3"]);
    assert_eq!((e.quorum.power, e.quorum.needed, e.quorum.reachable), (2, 3, false));
    assert!(e.summary.contains("node2 and node3"), "{}", e.summary);
    assert!(e.advice[0].text.contains("one of node2 and node3"), "{:?}", e.advice);
    assert_eq!(actions(&e), [Action::StartNodes, Action::SetOverride]);
}

#[test]
fn an_absent_proposer_is_named_with_the_time_left() {
    let mut scene = Scene::voter(0);
    scene.connected = vec![0, 2, 3];
    scene.work();
    scene.wait(100);
    let e = scene.explain();
    assert_eq!(e.situation, Situation::AwaitingProposal);
    assert_eq!(e.proposer.as_deref(), Some("node1"));
    let lacking: Vec<_> = e.votes.missing.iter().map(|m| (m.name.as_str(), m.connected)).collect();
    assert_eq!(lacking, [("node1", false)], "only the proposer is waited for");
    assert_eq!(e.timer, Some(Timer { running_ms: 100, timeout_ms: 300, remaining_ms: 200 }));
    assert_eq!(actions(&e), [Action::Wait, Action::StartNodes]);
    // The picture ages: the time that has passed since counts.
    scene.now += 50;
    assert_eq!(scene.explain().timer.map(|t| t.remaining_ms), Some(150));
}

#[test]
fn a_round_that_failed_is_explained_in_the_timeline() {
    let mut scene = Scene::voter(0);
    scene.work();
    scene.wait(300);
    let e = scene.explain();
    assert_eq!(e.round, Round(1));
    let failed = &e.current.as_ref().expect("a height").failed_rounds;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].why, "no proposal of node1 arrived in time");
    assert_eq!((failed[0].round, failed[0].lasted_ms), (Round(0), 1_300));
    assert_eq!(e.situation, Situation::AwaitingRound);
    assert!(e.votes.missing.iter().any(|m| m.name == "node3" && m.last_heard_ms.is_none()));
    assert!(e.details.iter().any(|d| d.contains("node3 has not been heard")), "{:?}", e.details);
}

#[test]
fn a_proposal_being_judged_and_one_from_the_future_are_told_apart() {
    let mut scene = Scene::voter(0);
    scene.work();
    let hash = scene.propose();
    assert_eq!(scene.explain().situation, Situation::Judging);
    let proposer = scene.block(1).header().proposer;
    let reason = "timestamp is 60000 ms ahead".to_owned();
    scene.recorder.refused(Refused { height: Height(1), proposer, ahead_ms: Some(60_000), reason });
    scene.step(Input::Validated { block: hash, verdict: Verdict::NotYet });
    let e = scene.explain();
    assert_eq!(e.situation, Situation::EarlyProposal);
    assert!(e.summary.contains("proposal of node1") && e.summary.contains("1 min 0 s"), "{}", e.summary);
    assert_eq!(actions(&e), [Action::CheckClocks]);
    assert_eq!(e.advice[0].validators, ["node1"]);
    // The round passes, and the timeline keeps the reason.
    scene.wait(300);
    let failed = scene.explain().current.expect("a height").failed_rounds;
    assert!(failed[0].why.contains("ahead") && failed[0].why.contains("node1"), "{failed:?}");
}

#[test]
fn missing_prepares_and_commits_are_named_with_since_when() {
    let mut scene = Scene::voter(0);
    scene.work();
    let hash = scene.propose();
    scene.step(Input::Validated { block: hash, verdict: Verdict::Valid });
    scene.wait(40);
    let e = scene.explain();
    assert_eq!(e.situation, Situation::Preparing);
    assert_eq!(e.votes.have, ["node0"]);
    let named: Vec<_> = e.votes.missing.iter().map(|m| (m.name.as_str(), m.last_heard_ms)).collect();
    assert_eq!(named, [("node1", Some(40)), ("node2", None), ("node3", None)]);
    scene.vote(1, Message::Prepare, hash);
    scene.vote(2, Message::Prepare, hash);
    let e = scene.explain();
    assert_eq!(e.situation, Situation::Committing);
    assert_eq!((e.votes.power, e.votes.needed), (1, 3));
    assert!(e.summary.contains("1 of the needed 3 commit votes"), "{}", e.summary);
}

#[test]
fn a_decided_block_has_a_timeline() {
    let mut scene = Scene::voter(0);
    scene.work();
    scene.now += 10;
    let hash = scene.propose();
    scene.step(Input::Validated { block: hash, verdict: Verdict::Valid });
    scene.now += 20;
    scene.vote(1, Message::Prepare, hash);
    scene.vote(2, Message::Prepare, hash);
    scene.now += 30;
    scene.vote(1, Message::Commit, hash);
    scene.vote(3, Message::Commit, hash);
    let e = scene.explain();
    assert_eq!((e.situation, e.height), (Situation::Executing, Height(2)));
    scene.now += 40;
    let (round, proposer) = (Round::ZERO, scene.block(1).header().proposer);
    scene.recorder.executed(scene.now, Height(1), round, proposer, Some(120));
    let set = scene.lab.set().clone();
    scene.step(Input::ValidatorSet { height: Height(3), set });
    scene.step(Input::Executed { height: Height(1), block: hash, had_transactions: false, timestamp_ms: 0 });
    scene.now += 500;
    let last = scene.explain().last_block.expect("a block");
    let due = last.due_ms.expect("due");
    let after = |at: Option<Millis>| at.map(|at| at - due);
    assert_eq!((last.height, last.round, last.proposer.as_deref()), (Height(1), Some(Round(0)), Some("node1")));
    assert_eq!(after(last.proposed_ms), Some(10));
    assert_eq!(after(last.prepared_ms), Some(30));
    assert_eq!(after(last.committed_ms), Some(60));
    assert_eq!(after(last.executed_ms), Some(100));
    assert_eq!(last.ago_ms, Some(500));
    assert!(last.text.contains("decided in round 0, 100 ms after it was due"), "{}", last.text);
}

#[test]
fn a_lost_record_says_who_must_answer() {
    let mut scene = Scene::new(0, None);
    scene.connected = vec![0, 1];
    let e = scene.explain();
    assert_eq!(e.situation, Situation::Recovering);
    assert_eq!(actions(&e), [Action::StartNodes, Action::ResetRecord]);
    assert!(e.summary.contains("0 of the needed 3 have answered"), "{}", e.summary);
}

#[test]
fn catching_up_goes_before_voting() {
    let mut scene = Scene::voter(0);
    scene.syncing = Some((Height(0), Height(500)));
    let e = scene.explain();
    assert_eq!(e.situation, Situation::CatchingUp);
    assert!(e.summary.contains("peers say 500"), "{}", e.summary);
}

#[test]
fn a_clock_that_is_off_is_told_by_fresh_blocks() {
    let mut scene = Scene::voter(0);
    let proposer = scene.block(1).header().proposer;
    scene.recorder.executed(1_000, Height(0), Round::ZERO, proposer, Some(90_000));
    let e = scene.explain();
    assert!(e.details.iter().any(|d| d.contains("1 min 30 s ahead of")), "{:?}", e.details);
    assert!(actions(&e).contains(&Action::CheckClocks));
}

#[test]
fn an_explanation_survives_json() {
    let mut scene = Scene::voter(0);
    scene.work();
    let e = scene.explain();
    let text = serde_json::to_string(&e).expect("JSON");
    assert_eq!(serde_json::from_str::<Explanation>(&text).expect("reads"), e);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut scene = Scene::voter(0);
    scene.work();
    let picture = |round| Status { round: Round(round), ..scene.engine.status() };
    for round in 0..100 {
        let status = picture(round);
        scene.recorder.stepped(u64::from(round) * 1_000, status);
    }
    let failed = scene.explain().current.expect("a height").failed_rounds;
    assert_eq!(failed.len(), FAILED_ROUNDS);
    assert_eq!(failed.last().map(|f| f.round), Some(Round(98)), "the latest are kept");
}

fn asked(scene: Option<&Scene>, name: &str) -> Asked {
    let running = Some(scene.is_some());
    Asked { name: name.into(), running, crashed: scene.is_none(), error: None, explanation: scene.map(Scene::explain) }
}

#[test]
fn nodes_together_name_those_that_are_down() {
    let (mut a, mut b) = (Scene::voter(0), Scene::voter(1));
    for scene in [&mut a, &mut b] {
        scene.connected = vec![0, 1];
        scene.work();
    }
    let network = merge(
        vec![asked(Some(&a), "node0"), asked(Some(&b), "node1"), asked(None, "node2"), asked(None, "node3")],
        "up!",
    );
    assert!(network.summary.contains("no quorum"), "{}", network.summary);
    assert!(network.summary.contains("Not running here: node2 and node3"), "{}", network.summary);
    assert_eq!(network.advice[0].action, Action::StartNodes);
    assert_eq!(network.advice[0].text, "Start one of node2 and node3: up!.");
}

#[test]
fn nodes_together_tell_a_cut_network_from_one_that_is_down() {
    let scenes: Vec<Scene> = (0..4)
        .map(|own| {
            let mut scene = Scene::voter(own);
            scene.connected = if own < 2 { vec![0, 1] } else { vec![2, 3] };
            scene.work();
            scene
        })
        .collect();
    let all = |s: &[Scene]| merge(s.iter().map(|s| asked(Some(s), &format!("node{}", s.own))).collect(), "up!");
    let network = all(&scenes);
    assert!(
        network.summary.contains("node0 and node1 cannot reach node2 and node3")
            && network.summary.contains("node2 and node3 cannot reach node0 and node1"),
        "{}",
        network.summary
    );
    // Three together have a quorum: only the fourth is cut off.
    let mut scenes = scenes;
    for scene in &mut scenes {
        scene.connected = if scene.own < 3 { vec![0, 1, 2] } else { vec![3] };
    }
    let summary = all(&scenes).summary;
    assert!(summary.contains("node3 runs but cannot reach node0, node1 and node2"), "{summary}");
    assert!(!summary.contains("no quorum"), "{summary}");
}

#[test]
fn a_network_that_does_not_answer_is_to_be_started() {
    let network = merge(vec![asked(None, "node0")], "up!");
    assert_eq!(network.summary, "No node of this network answers.");
    assert_eq!(network.advice[0].text, "Start them: up!.");
}
